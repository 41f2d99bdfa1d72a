"""Reads Ollama's stream of JSON lines from ``POST /api/chat``. Pure.

API: https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion; errors in the stream:
https://docs.ollama.com/api/errors.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

import msgspec

from oblix_actors.core.events import Delta, Event, ToolCallDelta, Usage
from oblix_actors.errors import OblixError
from oblix_actors.wire.ndjson import LineDecoder
from oblix_actors.wire.upstream_errors import classify, error_text

MAX_CALLS: Final = 1024
_NAMED: Final = frozenset({"context_length_exceeded", "upstream_model_not_found", "upstream_unsupported"})
"""What an error's own words may tell; any other is an error frame."""


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: Any = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Line).decode


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"


class ChatStreamDecoder:
    """:meth:`feed` it each read, :meth:`close` it at the end; ``done`` is true once ``"done": true`` was read.

    Ollama sends whole tool calls: each gets the next index and an id, its own where it has one. With
    ``single_call`` only the first is handed on: the API cannot forbid parallel calls. Raises ``upstream_malformed``,
    ``upstream_truncated`` from :meth:`close`, and for an error in the stream ``upstream_error_frame`` or, where its
    words tell, ``context_length_exceeded``, ``upstream_model_not_found`` or ``upstream_unsupported``.
    """

    def __init__(self, *, single_call: bool = False, new_id: Callable[[], str] = _new_id) -> None:
        self.done = False
        self._lines = LineDecoder()
        self._most_calls = 1 if single_call else MAX_CALLS
        self._single = single_call
        self._ids: list[str] = []
        self._new_id = new_id

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        events: list[Event] = []
        for line in self._lines.feed(data):
            if self.done:
                break
            self._read(line, events)
        return events

    def close(self) -> list[Event]:
        """The upstream closed the stream: what was still held back."""
        events: list[Event] = []
        for line in self._lines.close():
            if self.done:
                break
            try:
                self._read(line, events)
            except OblixError as error:
                if error.code != "upstream_malformed":
                    raise
                raise OblixError("upstream_truncated", "the upstream's stream ended inside a line") from None
        if not self.done:
            raise OblixError("upstream_truncated", "the upstream's stream ended before its answer was finished")
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        try:
            line = _decode(data)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, bad UTF-8 is one, too
            raise OblixError("upstream_malformed", f"the upstream sent a line that cannot be read: {error}") from None
        if line.error:
            raise _error_frame(line.error, data)
        text = reasoning = ""
        calls: tuple[ToolCallDelta, ...] = ()
        if line.message is not None:
            text, reasoning = line.message.content or "", line.message.thinking or ""
            if line.message.tool_calls:
                calls = self._calls(line.message.tool_calls)
        finish = None
        if line.done:
            self.done = True
            finish = "length" if line.done_reason == "length" else "tool_calls" if self._ids else "stop"
        if text or reasoning or calls or finish:
            events.append(Delta(text=text, reasoning=reasoning, tool_calls=calls, finish=finish))
        if line.done and line.prompt_eval_count is not None:
            events.append(Usage(max(line.prompt_eval_count, 0), max(line.eval_count or 0, 0)))

    def _calls(self, entries: list[_Call]) -> tuple[ToolCallDelta, ...]:
        deltas: list[ToolCallDelta] = []
        for entry in entries:
            if len(self._ids) >= self._most_calls:
                if self._single:
                    break
                raise OblixError("upstream_malformed", f"the upstream's answer has more than {MAX_CALLS} tool calls")
            call_id = entry.id if entry.id and entry.id not in self._ids else self._new_id()
            deltas.append(ToolCallDelta(len(self._ids), call_id, entry.function.name, _arguments(entry.function)))
            self._ids.append(call_id)
        return tuple(deltas)


def _arguments(function: _Function) -> str:
    if isinstance(function.arguments, str):
        return function.arguments or "{}"
    return msgspec.json.encode(function.arguments if function.arguments is not None else {}).decode()


def _error_frame(value: Any, line: bytes) -> OblixError:
    told = classify(400, {}, line, provider=None)
    if told.code in _NAMED:
        return OblixError(told.code, told.message)
    return OblixError("upstream_error_frame", error_text(value) or "the upstream reported an error without a message")
