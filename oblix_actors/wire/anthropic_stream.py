"""Reads the event stream of Anthropic's ``POST /v1/messages``. Pure.

Format: https://docs.anthropic.com/en/api/messages-streaming; stop reasons:
https://docs.anthropic.com/en/api/handling-stop-reasons; errors: https://docs.anthropic.com/en/api/errors. New kinds of
events and blocks may come at any time and mean nothing to us.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from oblix_actors.core.events import Delta, Event, ToolCallDelta, Usage
from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext
from oblix_actors.wire.anthropic_request import JSON_TOOL
from oblix_actors.wire.sse import SSEDecoder, SSEEvent
from oblix_actors.wire.upstream_errors import classify, error_text

MAX_CALLS: Final = 1024
_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status that each kind of error has when it comes before the stream."""


class _Text(msgspec.Struct, gc=False):
    type: str
    text: str


class _TextEvent(msgspec.Struct, gc=False):
    """What nearly every event is."""

    type: str
    delta: _Text


_decode_text: Final = msgspec.json.Decoder(_TextEvent).decode


class _Block:
    __slots__ = ("call", "given", "said")

    def __init__(self, call: int | None, given: Any) -> None:
        self.call = call
        """The tool call's index among the calls; ``None`` for the call that is the JSON answer itself."""
        self.given = given
        self.said = False


class MessageStreamDecoder:
    """:meth:`feed` it each read, :meth:`close` it at the end; ``done`` is true once ``message_stop`` was read.

    A call of the tool that :mod:`~oblix_actors.wire.anthropic_request` forces for a JSON answer comes out as text.
    Raises ``upstream_malformed``, ``upstream_truncated`` from :meth:`close`, and for an ``error`` event what its type
    stands for (``overloaded_error`` is ``upstream_overloaded``), ``upstream_error_frame`` where it stands for nothing.
    """

    def __init__(self) -> None:
        self.done = False
        self._sse = SSEDecoder()
        self._blocks: dict[Any, _Block] = {}
        """The tool calls that are being written, by the block's index."""
        self._calls = 0
        self._json = False
        self._finish = "stop"
        self._refusal = ""
        self._usage: dict[str, Any] = {}

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes."""
        events: list[Event] = []
        for frame in self._sse.feed(data):
            if self.done:
                break
            self._read(frame, events)
        return events

    def close(self) -> list[Event]:
        """The upstream closed the stream: what was still held back."""
        events: list[Event] = []
        for frame in self._sse.close():
            if self.done:
                break
            try:
                self._read(frame, events)
            except OblixError as error:
                if error.code != "upstream_malformed":
                    raise
                raise OblixError("upstream_truncated", "the upstream's stream ended inside an event") from None
        if not self.done:
            raise OblixError("upstream_truncated", "the upstream's stream ended before its answer was finished")
        return events

    def _read(self, frame: SSEEvent, events: list[Event]) -> None:
        try:
            quick = _decode_text(frame.data)
        except (ValueError, RecursionError):
            pass
        else:
            if quick.delta.type == "text_delta" and quick.type == "content_block_delta":
                if quick.delta.text:
                    events.append(Delta(text=quick.delta.text))
                return
        self._take(_loads(frame.data), frame.data, events)

    def _take(self, value: dict[str, Any], data: bytes, events: list[Event]) -> None:
        match value.get("type"):
            case "content_block_delta":
                self._delta(value.get("index"), _object(value, "delta"), events)
            case "content_block_start":
                self._start(value.get("index"), _object(value, "content_block"), events)
            case "content_block_stop":
                self._stop(value.get("index"), events)
            case "message_start":
                self._count(_object(value, "message"))
            case "message_delta":
                self._message_delta(value)
            case "message_stop":
                self._end(events)
            case "error":
                raise _error(value, data)
            case _:
                if value.get("error"):
                    raise _error(value, data)

    def _start(self, index: Any, block: dict[str, Any], events: list[Event]) -> None:
        kind = block.get("type")
        if kind == "text" and _string(block, "text"):
            events.append(Delta(text=_string(block, "text")))
        elif kind == "thinking" and _string(block, "thinking"):
            events.append(Delta(reasoning=_string(block, "thinking")))
        elif kind == "tool_use":
            name = _string(block, "name")
            if name == JSON_TOOL:
                self._json = True
                self._blocks[index] = _Block(None, block.get("input"))
                return
            if self._calls >= MAX_CALLS:
                raise OblixError("upstream_malformed", f"the upstream's answer has more than {MAX_CALLS} tool calls")
            self._blocks[index] = _Block(self._calls, block.get("input"))
            events.append(Delta(tool_calls=(ToolCallDelta(self._calls, _string(block, "id"), name),)))
            self._calls += 1

    def _delta(self, index: Any, delta: dict[str, Any], events: list[Event]) -> None:
        kind = delta.get("type")
        if kind == "text_delta" and _string(delta, "text"):
            events.append(Delta(text=_string(delta, "text")))
        elif kind == "thinking_delta" and _string(delta, "thinking"):
            events.append(Delta(reasoning=_string(delta, "thinking")))
        elif kind == "input_json_delta":
            block, piece = self._blocks.get(index), _string(delta, "partial_json")
            if block is not None and piece:
                block.said = True
                events.append(_arguments(block, piece))

    def _stop(self, index: Any, events: list[Event]) -> None:
        block = self._blocks.pop(index, None)
        if block is not None and not block.said:  # no arguments, or all of them at the start
            events.append(_arguments(block, msgspec.json.encode(block.given or {}).decode()))

    def _message_delta(self, value: dict[str, Any]) -> None:
        delta = _object(value, "delta")
        reason = delta.get("stop_reason")
        if isinstance(reason, str):
            self._finish = _FINISH.get(reason, "stop")
            if reason == "refusal":
                self._refusal = _string(_object(delta, "stop_details"), "explanation")
        self._count(value)

    def _count(self, source: dict[str, Any]) -> None:
        """Take in a ``usage``: its numbers are totals so far, and later ones replace earlier ones."""
        self._usage.update({name: value for name, value in _object(source, "usage").items() if value is not None})

    def _end(self, events: list[Event]) -> None:
        self.done = True
        finish = self._finish
        if self._json and finish == "tool_calls" and not self._calls:
            finish = "stop"
        events.append(Delta(refusal=self._refusal, finish=finish))
        usage = _usage(self._usage)
        if usage is not None:
            events.append(usage)


def _loads(data: bytes) -> dict[str, Any]:
    try:
        value = jsontext.loads(data)
    except jsontext.NotJSON as error:
        raise OblixError("upstream_malformed", f"the upstream sent an event that is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise OblixError("upstream_malformed", "the upstream sent an event that is not a JSON object")
    return value


def _arguments(block: _Block, piece: str) -> Delta:
    if block.call is None:
        return Delta(text=piece)
    return Delta(tool_calls=(ToolCallDelta(block.call, arguments=piece),))


def _usage(raw: dict[str, Any]) -> Usage | None:
    """Tokens as OpenAI counts them: what was read from the cache, or written into it, is part of the input."""
    if _number(raw, "input_tokens") is None or _number(raw, "output_tokens") is None:
        return None
    cached = _number(raw, "cache_read_input_tokens") or 0
    written = _number(raw, "cache_creation_input_tokens") or 0
    return Usage(
        (_number(raw, "input_tokens") or 0) + cached + written,
        _number(raw, "output_tokens") or 0,
        cached_tokens=cached,
        reasoning_tokens=_number(_object(raw, "output_tokens_details"), "thinking_tokens") or 0,
    )


def _error(value: dict[str, Any], data: bytes) -> OblixError:
    status = _STATUS.get(_string(_object(value, "error"), "type"))
    if status is None:
        return OblixError(
            "upstream_error_frame", error_text(value) or "the upstream reported an error without a message"
        )
    return classify(status, {}, data, provider=None)


def _object(source: dict[str, Any], name: str) -> dict[str, Any]:
    value = source.get(name)
    return value if isinstance(value, dict) else {}


def _string(source: dict[str, Any], name: str) -> str:
    value = source.get(name)
    return value if isinstance(value, str) else ""


def _number(source: dict[str, Any], name: str) -> int | None:
    value = source.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
