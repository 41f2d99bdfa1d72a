"""What a scripted model does, by its name: the menu of the ``scripted`` provider. Pure.

====================  ==========================================================================================
``say``               one fixed sentence
``echo``              the last user message, word by word
``words-N``           N words: "w0 w1 …" (``words``: 20)
``slow-MS``           the sentence with MS milliseconds between words (``slow``: 200)
``flaky-P``           fails every P-th request before its first word (``flaky``: every second)
``hang``              takes the request and never answers
``drop-K``            K words, then a connection reset (``drop``: 3)
``truncate-K``        K words, then the end of the stream without its terminal marker (``truncate``: 3)
``malformed-K``       K words, then bytes that do not parse (``malformed``: 3)
``error-frame-K``     K words, then an error inside the stream (``error-frame``: 3)
``error:STATUS``      that HTTP status, 400 to 599 (``error``: 500)
``tools``             a call of the first offered tool; its result, once it is there, is repeated
``reasoning``         a thought, then the sentence
====================  ==========================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count, islice
from typing import Any, Final, Literal

import msgspec

from oblix_actors.core.chat import ChatRequest

SENTENCE: Final = "Hello from Oblix Actors. No model wrote this: it is a script, for testing what happens around one."
THOUGHT: Final = "A script has nothing to think about, but it can pretend."
NAMES: Final = (
    "say", "echo", "words", "slow", "flaky", "hang", "drop", "truncate", "malformed", "error", "error-frame", "tools",
    "reasoning",
)  # fmt: skip
MOST_WORDS: Final = 100_000
MOST_MILLISECONDS: Final = 600_000
_NAME: Final = re.compile(r"([a-z]+(?:-[a-z]+)*)(?:([-:])(\d{1,6}))?")
_DEFAULTS: Final = {"words": 20, "slow": 200, "flaky": 2, "drop": 3, "truncate": 3, "malformed": 3, "error-frame": 3}
_MAX_DEPTH: Final = 8

Then = Literal["finish", "hang", "drop", "truncate", "malformed", "error-frame"]


class Script(msgspec.Struct, frozen=True):
    """``kind`` is the name without its number.

    ``words`` come first (``None``: as many as there are), ``pause`` seconds apart, then comes ``then``. Every
    ``period``-th request fails; ``status`` is all there is where it is set.
    """

    kind: str
    words: int | None = None
    pause: float = 0.0
    then: Then = "finish"
    period: int | None = None
    status: int | None = None


def _counted(kind: str, number: int) -> Script | None:
    return Script(kind, words=number) if number <= MOST_WORDS else None


def _slow(kind: str, number: int) -> Script | None:
    return Script(kind, pause=number / 1000) if number <= MOST_MILLISECONDS else None


def _flaky(kind: str, number: int) -> Script | None:
    return Script(kind, period=number) if number else None


def _broken(kind: str, number: int) -> Script | None:
    return Script(kind, words=number, then=kind) if number <= MOST_WORDS else None  # type: ignore[arg-type] # named alike


_NUMBERED: Final[dict[str, Callable[[str, int], Script | None]]] = {
    "words": _counted,
    "slow": _slow,
    "flaky": _flaky,
    "drop": _broken,
    "truncate": _broken,
    "malformed": _broken,
    "error-frame": _broken,
}


def parse_script(name: str) -> Script | None:
    """The script that ``name`` stands for; ``None`` for a name that is not on the menu."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    kind, mark, number = match.groups()
    if kind == "error" and mark != "-":
        status = int(number or 500)
        return Script(kind, status=status) if 400 <= status <= 599 else None
    if kind in _NUMBERED and mark != ":":
        return _NUMBERED[kind](kind, _DEFAULTS[kind] if number is None else int(number))
    if number is not None or kind not in NAMES:
        return None
    return Script(kind, then="hang" if kind == "hang" else "finish")


def script_words(script: Script, request: ChatRequest) -> list[str]:
    """The words of the answer, each with the white space before it."""
    if script.kind == "hang":
        return []
    if script.kind in ("words", "drop", "truncate", "malformed", "error-frame"):
        return ["w0" if n == 0 else f" w{n}" for n in islice(count(), script.words)]
    text = SENTENCE
    if script.kind == "echo":
        text = next((message.text() for message in reversed(request.messages) if message.role == "user"), "")
    elif script.kind == "tools":
        last = request.messages[-1]
        text = f"The tool said: {last.text()}" if last.role in ("tool", "function") else "No tool was offered."
    return split_words(text)[:MOST_WORDS]


def split_words(text: str) -> list[str]:
    """``text`` cut before each run of white space; joined, the pieces are ``text`` again."""
    return re.findall(r"\s*\S+|\s+", text)


def example_arguments(schema: dict[str, Any] | None, depth: int = 0) -> dict[str, Any]:
    """Arguments that fit a simple JSON schema: its required properties, each with the plainest value there is."""
    schema = schema or {}
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list) or depth > _MAX_DEPTH:
        return {}
    return {name: _example(properties.get(name), depth) for name in required if isinstance(name, str)}


def _example(schema: Any, depth: int) -> Any:
    if not isinstance(schema, dict):
        return None
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        return enum[0]
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        kind = kind[0]
    plain: dict[Any, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": []}
    return example_arguments(schema, depth + 1) if kind == "object" else plain.get(kind)
