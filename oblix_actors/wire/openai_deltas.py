"""Reads the ``choices`` of an upstream's chunks, with the state that vendors' liberties make necessary. Pure.

Known liberties: tool calls without an index, or all with index 0 (Gemini's compatible endpoint), with arguments as
an object, or without an id; ``reasoning`` instead of ``reasoning_content``; content as an array of parts (Mistral);
finish reasons of the vendor's own; ``finish_reason: "stop"`` after tool calls.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from oblix_actors.core.events import Delta, ToolCallDelta
from oblix_actors.errors import OblixError
from oblix_actors.wire.upstream_errors import error_text

MAX_CHOICES: Final = 128
MAX_CALLS: Final = 1024
"""Per choice."""

_FINISH: Final = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "stop_token": "stop",
    "STOP": "stop",
    "COMPLETE": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "MAX_TOKENS": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "safety": "content_filter",
    "SAFETY": "content_filter",
}
_KNOWN: Final = frozenset({"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"})


class _TokenDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: str | None = None
    refusal: None = None
    reasoning: None = None
    reasoning_content: None = None
    tool_calls: None = None


class _TokenChoice(msgspec.Struct, gc=False):
    delta: _TokenDelta
    index: int = 0
    finish_reason: None = None
    logprobs: None = None
    error: None = None


class _Token(msgspec.Struct, gc=False):
    """A chunk with a piece of text and nothing else: what nearly every chunk is."""

    choices: tuple[_TokenChoice]
    usage: None = None
    error: None = None


_decode_token: Final = msgspec.json.Decoder(_Token).decode


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"


class _Calls:
    """The tool calls of one choice: upstream's idea of their order to ours."""

    __slots__ = ("_by_index", "_ids", "_last", "_new_id", "_types")

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._by_index: dict[int, int] = {}
        self._ids: list[str] = []
        self._types: list[str] = []
        self._last = 0
        self._new_id = new_id

    def __bool__(self) -> bool:
        return bool(self._ids)

    def read(self, entries: list[Any], *, whole: bool) -> tuple[ToolCallDelta, ...]:
        """The pieces in ``tool_calls``; in a ``whole`` answer each entry is a call, and its position is its index."""
        return tuple(
            [
                self._read(entry, position if whole else entry.get("index"))
                for position, entry in enumerate(entries)
                if isinstance(entry, dict)
            ]
        )

    def _read(self, entry: dict[str, Any], index: Any) -> ToolCallDelta:
        kind = "custom" if isinstance(entry.get("custom"), dict) else "function"
        inner = entry.get(kind)
        inner = inner if isinstance(inner, dict) else {}
        name = inner.get("name")
        name = name if isinstance(name, str) and name else None
        call_id = entry.get("id")
        call_id = call_id if isinstance(call_id, str) and call_id else None
        at, first = self._place(index, call_id, name)
        if first:
            if call_id is None or call_id in self._ids:
                call_id = self._new_id()
            if len(self._ids) >= MAX_CALLS:
                raise OblixError("upstream_malformed", f"the upstream's answer has more than {MAX_CALLS} tool calls")
            self._ids.append(call_id)
            self._types.append(kind)
        self._last = at
        return ToolCallDelta(
            index=at,
            id=call_id if first else None,
            name=name if first else None,
            arguments=_text_of(inner.get("input" if kind == "custom" else "arguments")),
            type=self._types[at],
        )

    def _place(self, index: Any, call_id: str | None, name: str | None) -> tuple[int, bool]:
        """Our index of the call that a piece belongs to, and whether this is its first piece.

        An id that was not seen before, with a name, is a new call, whatever its index says.
        """
        is_new = call_id is not None and name is not None and call_id not in self._ids
        if isinstance(index, int) and not isinstance(index, bool):
            at = self._by_index.get(index)
            if at is None or is_new:
                at = self._by_index[index] = len(self._ids)
                return at, True
            return at, False
        if call_id is not None and call_id in self._ids:
            return self._ids.index(call_id), False
        if is_new or not self._ids or name is not None:
            return len(self._ids), True
        return self._last, False


def _text_of(arguments: Any) -> str:
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return msgspec.json.encode(arguments).decode()


class _Choice:
    __slots__ = ("calls", "finished")

    def __init__(self, new_id: Callable[[], str]) -> None:
        self.calls = _Calls(new_id)
        self.finished = False


class Choices:
    """All the choices of one answer. ``new_id`` names tool calls that the upstream left without an id."""

    def __init__(self, new_id: Callable[[], str] = _new_id) -> None:
        self._choices: dict[int, _Choice] = {}
        self._new_id = new_id

    def __bool__(self) -> bool:
        return bool(self._choices)

    def all_finished(self) -> bool:
        """Whether there are choices, and each had its finish reason."""
        return bool(self._choices) and all(choice.finished for choice in self._choices.values())

    def unfinished(self) -> Iterator[Delta]:
        """The end of the choices whose upstream forgot to say why they end."""
        for index, choice in self._choices.items():
            if not choice.finished:
                choice.finished = True
                yield Delta(index, finish="tool_calls" if choice.calls else "stop")

    def read_token(self, data: bytes) -> Delta | None:
        """The short way for a chunk that is a piece of text of a choice we know; ``None``: take :meth:`read`."""
        try:
            choice = _decode_token(data).choices[0]
        except (ValueError, RecursionError):
            return None
        text = choice.delta.content
        return Delta(choice.index, text) if text and choice.index in self._choices else None

    def read(self, entries: list[Any], field: str) -> list[Delta]:
        """The deltas in one chunk's ``choices``; ``field`` is ``delta``, or ``message`` in a whole answer.

        Pieces that say nothing (a role alone) give no delta. Raises ``upstream_error_frame`` and
        ``upstream_malformed``.
        """
        deltas: list[Delta] = []
        for position, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise OblixError("upstream_malformed", "the upstream sent a choice that is not an object")
            index = entry.get("index")
            if not isinstance(index, int) or isinstance(index, bool):
                index = position
            choice = self._choices.get(index)
            if choice is None:
                if not 0 <= index < MAX_CHOICES:
                    raise OblixError("upstream_malformed", f"the upstream sent a choice with index {index}")
                choice = self._choices[index] = _Choice(self._new_id)
            delta = self._read(entry, index, choice, field)
            if delta is not None:
                deltas.append(delta)
        return deltas

    def _read(self, entry: dict[str, Any], index: int, choice: _Choice, field: str) -> Delta | None:
        piece, finish, logprobs = entry.get(field), entry.get("finish_reason"), entry.get("logprobs")
        if entry.get("error") and finish in ("error", None):
            raise OblixError("upstream_error_frame", error_text(entry) or "the upstream failed while it answered")
        piece = piece if isinstance(piece, dict) else {}
        text, reasoning = _content(piece.get("content"))
        calls = piece.get("tool_calls")
        delta = Delta(
            index=index,
            text=text,
            reasoning=reasoning or _string(piece.get("reasoning_content")) or _string(piece.get("reasoning")),
            refusal=_string(piece.get("refusal")),
            tool_calls=choice.calls.read(calls, whole=field == "message") if isinstance(calls, list) else (),
            logprobs=logprobs,
            extra={name: value for name, value in piece.items() if name not in _KNOWN and _says(value)} or None,
            finish=self._finish(finish, choice),
        )
        return delta if delta.has_content() or delta.finish or delta.logprobs is not None else None

    @staticmethod
    def _finish(finish: Any, choice: _Choice) -> str | None:
        if not isinstance(finish, str) or not finish:
            return None
        choice.finished = True
        if finish == "error":
            raise OblixError("upstream_error_frame", "the upstream ended its answer with an error")
        finish = _FINISH.get(finish, finish)
        return "tool_calls" if finish == "stop" and choice.calls else finish


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _says(value: Any) -> bool:
    """Whether an unknown field holds anything: vendors like to send empty ones with every token."""
    return bool(value) or isinstance(value, int | float)


def _content(content: Any) -> tuple[str, str]:
    """Text and reasoning text: of a string, or of an array of ``text`` and ``thinking`` parts."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return "", ""
    text: list[str] = []
    reasoning: list[str] = []
    for part in content:
        if not isinstance(part, dict):
            continue
        text.append(_string(part.get("text")))
        thinking = part.get("thinking")
        reasoning.append(_content(thinking)[0] if isinstance(thinking, list) else _string(thinking))
    return "".join(text), "".join(reasoning)
