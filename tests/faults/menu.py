"""The menu: a model's name says how the answer goes wrong, in whatever dialect it is asked for.

========================  ======================================================================================
``words-N``               N words, "w0 w1 …", one event each, then the regular end
``slow-N``                the same, 50 ms between words (``slow``: 20 words)
``hang``                  takes the request, and never answers
``hang-after-K``          K words, then nothing more
``drop-after-K``          K words, then a connection reset
``truncate-after-K``      K words, then the end of the body, without the format's terminal marker
``no-done``               everything but the last marker: OpenAI's ``[DONE]``
``linger``                the whole answer, but the connection stays open after it
``malformed``             3 words, then an event that is not JSON (``malformed-after-K``)
``error-frame-after-K``   K words, then an error inside the stream
``status-XXX``            that HTTP status with the dialect's error body (429 with ``retry-after: 7``)
``bytes``                 5 words with an é and an emoji each, one byte of the stream at a time
``crlf``                  words with CRLF line ends
``html``                  200 and a web page
``gzip``                  a whole answer, compressed
``gzip-bomb``             64 MB of spaces in 64 KB
``big-headers``           a response head that does not end
``tools``                 two tool calls
``reasoning``             reasoning, then text
``echo``                  the request's body, as it came, as the content
``json``                  a whole answer at once, although a stream was asked for
========================  ======================================================================================

``@tag`` after the name means nothing to the server: see :mod:`tests.faults.stats`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Then = Literal["finish", "hang", "drop", "truncate", "no-done", "linger", "malformed", "error-frame"]

EXAMPLES = (
    "words-5", "slow", "hang", "hang-after-2", "drop-after-2", "truncate-after-2", "no-done", "linger", "malformed",
    "error-frame-after-2", "status-429", "status-500", "bytes", "crlf", "html", "gzip", "gzip-bomb", "big-headers",
    "tools", "reasoning", "echo", "json",
)  # fmt: skip


@dataclass(frozen=True)
class Dish:
    """``kind`` is the name without its number; ``words`` come first, ``pause`` seconds apart; then comes ``then``."""

    kind: str
    words: tuple[str, ...]
    then: Then = "finish"
    pause: float = 0.0
    status: int = 200


_AFTER = re.compile(r"(hang|drop|truncate|error-frame|malformed)-after-(\d+)")
_NUMBERED = re.compile(r"(words|slow|status)-(\d+)")
_KINDS = frozenset(
    ("hang", "bytes", "crlf", "html", "gzip", "gzip-bomb", "big-headers", "tools", "reasoning", "echo", "json")
)


def words(count: int) -> tuple[str, ...]:
    """``w0``, `` w1``, …: a test that sees them all in order knows that nothing was lost or doubled."""
    return tuple("w0" if n == 0 else f" w{n}" for n in range(count))


def order(model: str) -> Dish | None:
    """What ``model`` stands for, or ``None`` for a model that is not on the menu."""
    name = model.partition("@")[0]
    if match := _AFTER.fullmatch(name):
        return Dish("words", words(int(match[2])), then=match[1])  # type: ignore[arg-type] # the pattern allows no others
    if match := _NUMBERED.fullmatch(name):
        number = int(match[2])
        if match[1] == "status":
            return Dish("status", (), status=number)
        return Dish(match[1], words(number), pause=0.05 if match[1] == "slow" else 0.0)
    if name == "slow":
        return Dish("slow", words(20), pause=0.05)
    if name in ("no-done", "linger"):
        return Dish(name, words(3), then=name)  # type: ignore[arg-type] # as above
    if name == "malformed":
        return Dish(name, words(3), then="malformed")
    if name == "bytes":
        return Dish(name, tuple(f"é{n}🦉 " for n in range(5)))
    return Dish(name, words(5)) if name in _KINDS else None
