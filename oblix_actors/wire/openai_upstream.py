"""Writes a Chat Completions request for an upstream, and reads its answer, streamed or whole.

Format: https://platform.openai.com/docs/api-reference/chat. Pure. Vendors differ, and this file is liberal in what
they may send; what it gives is always the same neutral events.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Event, Usage
from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext
from oblix_actors.wire.openai_deltas import Choices
from oblix_actors.wire.sse import SSEDecoder, SSEEvent
from oblix_actors.wire.upstream_errors import error_text

_OURS: Final = ("oblix",)
"""Fields of the body that are for us, and that no upstream knows."""


def build_chat_body(request: ChatRequest, model: str, *, stream_usage: bool = True) -> bytes:
    """The upstream's request body: the client's own object, with the model's name there and streaming asked for.

    ``stream_usage`` false leaves ``stream_options`` out, for upstreams that refuse it. A request without a client's
    object (it came in another dialect) is written from the neutral fields.
    """
    body = dict(request.body) if request.body else neutral_body(request)
    for name in _OURS:
        body.pop(name, None)
    body["model"] = model
    body["stream"] = True
    if stream_usage:
        options = body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    else:
        body.pop("stream_options", None)
    try:
        return msgspec.json.encode(body)
    except RecursionError:
        raise OblixError("invalid_request", "The body is nested too deeply.") from None


def neutral_body(request: ChatRequest) -> dict[str, Any]:
    """The request as an OpenAI object, from its neutral fields alone."""
    body: dict[str, Any] = {"messages": _without_nulls(msgspec.to_builtins(request.messages))}
    if request.tools:
        body["tools"] = _without_nulls([{"type": tool.type, **msgspec.to_builtins(tool)} for tool in request.tools])
    optional = {
        "tool_choice": request.tool_choice,
        "parallel_tool_calls": request.parallel_tool_calls,
        "response_format": request.response_format,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "stop": list(request.stop) or None,
        "seed": request.seed,
        "n": request.n if request.n > 1 else None,
        "logprobs": request.logprobs or None,
        "top_logprobs": request.top_logprobs,
        "reasoning_effort": request.reasoning_effort,
        "user": request.user,
    }
    body.update({name: value for name, value in optional.items() if value is not None})
    return body


def _without_nulls(records: list[dict[str, Any]] | tuple[Any, ...]) -> list[Any]:
    """Our records name what they do not have; upstreams prefer that it is not there."""
    return [
        {
            name: _without_nulls(value) if name == "tool_calls" else value
            for name, value in record.items()
            if value is not None
        }
        for record in records
    ]


class ChatStreamDecoder:
    """Reads an upstream's SSE stream: :meth:`feed` it each read, :meth:`close` it at the end.

    ``done`` is true once ``[DONE]`` was read: what comes after it means nothing. Raises ``upstream_error_frame`` for
    an error inside the stream, ``upstream_malformed`` for what does not parse, and ``upstream_truncated`` from
    :meth:`close` when neither ``[DONE]`` nor a finish reason for every choice was seen.
    """

    def __init__(self) -> None:
        self.done = False
        self._sse = SSEDecoder()
        self._choices = Choices()
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The neutral events that ``data`` completes."""
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
            if not self._choices.all_finished():
                raise OblixError("upstream_truncated", "the upstream's stream ended before its answer was finished")
            self._end(events)
        return events

    def _read(self, frame: SSEEvent, events: list[Event]) -> None:
        data = frame.data
        delta = self._choices.read_token(data)
        if delta is not None:
            events.append(delta)
            return
        if data.strip() == b"[DONE]":
            if not self._choices:
                raise OblixError("upstream_truncated", "the upstream's stream ended without an answer")
            events += self._choices.unfinished()
            self._end(events)
            return
        if not data.strip():
            return
        chunk = _json_object(data, named_error=frame.event == "error")
        choices = chunk.get("choices")
        if isinstance(choices, list):
            events += self._choices.read(choices, "delta")
        usage = read_usage(chunk)
        if usage is not None:
            self._usage = usage
        # Some send a running count with every chunk: one is enough, the last.
        if self._usage is not None and (not choices or self._choices.all_finished()):
            events.append(self._usage)
            self._usage = None

    def _end(self, events: list[Event]) -> None:
        self.done = True
        if self._usage is not None:
            events.append(self._usage)
            self._usage = None


def decode_completion(body: bytes) -> list[Event]:
    """The events of a whole ``chat.completion`` object: from upstreams that do not stream.

    Raises ``upstream_error_frame`` and ``upstream_malformed``.
    """
    answer = _json_object(body)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise OblixError("upstream_malformed", "the upstream's answer has no choices: it is not a chat completion")
    state = Choices()
    events: list[Event] = [*state.read(choices, "message"), *state.unfinished()]
    usage = read_usage(answer)
    if usage is not None:
        events.append(usage)
    return events


def _json_object(data: bytes, *, named_error: bool = False) -> dict[str, Any]:
    try:
        value = jsontext.loads(data)
    except jsontext.NotJSON as error:
        if named_error:
            raise _error_frame(data.decode("utf-8", "replace")) from None
        raise OblixError("upstream_malformed", f"the upstream sent an event that is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise OblixError("upstream_malformed", "the upstream sent an event that is not a JSON object")
    if value.get("error") or named_error or value.get("object") == "error":
        raise _error_frame(value)
    return value


def _error_frame(value: Any) -> OblixError:
    error = value.get("error") if isinstance(value, dict) else None
    status = error.get("code") if isinstance(error, dict) else None
    return OblixError(
        "upstream_error_frame",
        error_text(value) or "the upstream reported an error without a message",
        upstream_status=status if isinstance(status, int) and 100 <= status <= 599 else None,
    )


def read_usage(chunk: dict[str, Any]) -> Usage | None:
    """The ``usage`` of a chunk or an answer (Groq: ``x_groq.usage``), or ``None`` where none can be read."""
    raw = chunk.get("usage")
    if raw is None and isinstance(chunk.get("x_groq"), dict):
        raw = chunk["x_groq"].get("usage")
    if not isinstance(raw, dict):
        return None
    prompt, output = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    if prompt is None and output is None:
        return None
    details, output_details = raw.get("prompt_tokens_details"), raw.get("completion_tokens_details")
    cached = _count(details, "cached_tokens")
    if cached is None:
        cached = _count(raw, "prompt_cache_hit_tokens")  # DeepSeek
    return Usage(prompt or 0, output or 0, cached or 0, _count(output_details, "reasoning_tokens") or 0, raw)


def _count(source: Any, name: str) -> int | None:
    value = source.get(name) if isinstance(source, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
