"""Anthropic's event stream, as documented and as broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.events import Delta, Event, ToolCallDelta, Usage
from oblix_actors.errors import OblixError
from oblix_actors.wire.anthropic import MessageStreamDecoder
from oblix_actors.wire.anthropic_request import JSON_TOOL

# https://docs.anthropic.com/en/docs/build-with-claude/streaming#basic-streaming-request
STREAM = """\
event: message_start
data: {"type": "message_start", "message": {"id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", "type": "message", \
"role": "assistant", "content": [], "model": "claude-opus-4-6", "stop_reason": null, "stop_sequence": null, \
"usage": {"input_tokens": 25, "output_tokens": 1}}}

event: content_block_start
data: {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Héllo"}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!"}}

event: content_block_stop
data: {"type": "content_block_stop", "index": 0}

event: message_delta
data: {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence":null}, \
"usage": {"output_tokens": 15}}

event: message_stop
data: {"type": "message_stop"}

""".encode()

# …#streaming-request-with-tool-use and …#streaming-request-with-extended-thinking
TOOLS = rb"""event: message_start
data: {"type":"message_start","message":{"id":"msg_014p7gG3wDgGV9EUtLvnow3U","type":"message","role":"assistant","model":"claude-opus-4-6","stop_sequence":null,"usage":{"input_tokens":472,"cache_creation_input_tokens":10,"cache_read_input_tokens":100,"output_tokens":2},"content":[],"stop_reason":null}}

event: content_block_start
data: {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me see."}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"}}

event: content_block_stop
data: {"type": "content_block_stop", "index": 0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_01T1x1fJ34qAmk2tNTrN7Up6","name":"get_weather","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"location\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":" \"San Francisco, CA\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_02","name":"now","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_03","name":"at","input":{"z":1}}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":20}}}

event: message_stop
data: {"type":"message_stop"}

"""  # noqa: E501 # as the documentation has it


def decode(data: bytes, size: int | None = None) -> list[Event]:
    decoder = MessageStreamDecoder()
    pieces = [data] if size is None else [data[at : at + size] for at in range(0, len(data), size)]
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def fail(data: bytes) -> OblixError:
    with pytest.raises(OblixError) as caught:
        decode(data)
    return caught.value


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def test_text() -> None:
    assert decode(STREAM) == [Delta(text="Héllo"), Delta(text="!"), Delta(finish="stop"), Usage(25, 15)]


def test_tools_and_thinking() -> None:
    assert decode(TOOLS) == [
        Delta(reasoning="Let me see."),
        Delta(tool_calls=(ToolCallDelta(0, "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather"),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments='{"location":'),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments=' "San Francisco, CA"}'),)),
        Delta(tool_calls=(ToolCallDelta(1, "toolu_02", "now"),)),
        Delta(tool_calls=(ToolCallDelta(1, arguments="{}"),)),
        Delta(tool_calls=(ToolCallDelta(2, "toolu_03", "at"),)),
        Delta(tool_calls=(ToolCallDelta(2, arguments='{"z":1}'),)),
        Delta(finish="tool_calls"),
        Usage(582, 89, cached_tokens=100, reasoning_tokens=20),
    ]


def test_a_forced_tool_is_the_json_answer() -> None:
    data = event("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": JSON_TOOL})
    for piece in ("", '{"age":', " 3}"):
        data += event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": piece})
    data += event("content_block_stop", index=0)
    data += event("message_delta", delta={"stop_reason": "tool_use"}) + event("message_stop")
    assert decode(data) == [Delta(text='{"age":'), Delta(text=" 3}"), Delta(finish="stop")]
    at_once = event(
        "content_block_start", index=0, content_block={"type": "tool_use", "name": JSON_TOOL, "input": {"a": 1}}
    )
    at_once += event("content_block_stop", index=0) + event("message_stop")
    assert decode(at_once)[0] == Delta(text='{"a":1}')


@given(st.sampled_from([STREAM, TOOLS, STREAM.replace(b"\n", b"\r\n")]), st.integers(1, 500))
def test_any_split_is_the_same(data: bytes, size: int) -> None:
    assert decode(data, size) == decode(data)


@given(st.integers(0, len(STREAM) - len(b'stop"}\n\n')))
def test_any_cut_is_noticed(at: int) -> None:
    assert fail(STREAM[:at]).code == "upstream_truncated"


@given(st.binary(max_size=200))
def test_any_bytes_end_in_one_way(data: bytes) -> None:
    decoder = MessageStreamDecoder()
    with pytest.raises(OblixError):
        decoder.feed(b"data: " + data + b"\n\n")
        decoder.close()


def test_the_end_is_the_end() -> None:
    decoder = MessageStreamDecoder()
    decoder.feed(STREAM)
    assert decoder.done
    assert decoder.feed(STREAM + b"data: rubbish\n\n") == []
    assert decoder.close() == []


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "stop"),
        ("model_context_window_exceeded", "length"),
        ("something_new", "stop"),
        (None, "stop"),
    ],
)
def test_stop_reasons(reason: str | None, finish: str) -> None:
    data = event("message_delta", delta={"stop_reason": reason}) + event("message_stop")
    assert decode(data) == [Delta(finish=finish)]


def test_a_refusal_says_why() -> None:
    delta = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "Not this."}}
    data = event("message_delta", delta=delta) + event("message_stop")
    assert decode(data) == [Delta(refusal="Not this.", finish="content_filter")]


def test_what_is_new_means_nothing() -> None:
    data = event("news", delta={"type": "text_delta", "text": "no"})
    data += event("content_block_start", index=0, content_block={"type": "server_tool_use", "id": "s", "name": "x"})
    data += event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "{}"})
    data += event("content_block_delta", index=9, delta={"type": "new_delta"})
    data += event("content_block_stop", index=0)
    assert decode(data + STREAM) == decode(STREAM)


@pytest.mark.parametrize(
    ("kind", "message", "code"),
    [
        ("overloaded_error", "Overloaded", "upstream_overloaded"),
        ("rate_limit_error", "Slow down", "upstream_rate_limited"),
        ("api_error", "Internal server error", "upstream_server_error"),
        ("authentication_error", "invalid x-api-key", "upstream_auth"),
        ("billing_error", "no credit", "upstream_auth"),
        ("not_found_error", "model: x", "upstream_model_not_found"),
        ("timeout_error", "too slow", "upstream_server_error"),
        ("invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum", "context_length_exceeded"),
        ("invalid_request_error", "This model does not support assistant message prefill.", "upstream_unsupported"),
        ("invalid_request_error", "messages: bad", "upstream_bad_request"),
        ("something_new", "oh", "upstream_error_frame"),
    ],
)
def test_errors_in_the_stream(kind: str, message: str, code: str) -> None:
    error = fail(
        STREAM.partition(b"event: message_delta")[0] + event("error", error={"type": kind, "message": message})
    )
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize(
    "data", [b"data: {\n\n", b"data: 3\n\n", b"data: \xff\n\n", b'data: {"error": {}}\n\ndata: x\n\n']
)
def test_rubbish(data: bytes) -> None:
    assert fail(data).code == "upstream_malformed"
