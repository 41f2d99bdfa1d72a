"""Writing a stream: byte for byte what OpenAI's clients expect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from oblix_actors.core.events import Batch, Delta, Served, ToolCallDelta, Usage
from oblix_actors.errors import OblixError
from oblix_actors.wire.openai import ChatStreamDecoder, ChunkEncoder
from oblix_actors.wire.sse import SSEDecoder

SERVED = Served("ollama", "llama3.2:3b", "local")


def encoder(*, include_usage: bool = False) -> ChunkEncoder:
    return ChunkEncoder("chatcmpl-1", 1700000000, "auto", include_usage=include_usage)


def chunks(data: bytes) -> list[dict[str, Any]]:
    decoder = SSEDecoder()
    return [json.loads(event.data) for event in decoder.feed(data) if event.data != b"[DONE]"]


def test_a_whole_stream() -> None:
    stream = encoder()
    data = stream.encode([SERVED, Delta(text="Hé"), Delta(text='llo "you"\n')])
    data += stream.encode([Delta(finish="stop"), Usage(3, 2)])
    data += stream.finish()
    assert data.endswith(b"data: [DONE]\n\n")
    first, second, third = chunks(data)
    assert first == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "ollama:llama3.2:3b",
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": "Hé"}, "logprobs": None, "finish_reason": None}
        ],
    }
    assert second["choices"] == [
        {"index": 0, "delta": {"content": 'llo "you"\n'}, "logprobs": None, "finish_reason": None}
    ]
    assert third["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert {chunk["id"] for chunk in (first, second, third)} == {"chatcmpl-1"}


def test_served_alone_writes_nothing() -> None:
    assert encoder().encode([SERVED]) == b""
    assert encoder().encode([]) == b""


def test_without_served_the_model_is_the_one_asked_for() -> None:
    assert chunks(encoder().encode([Delta(text="x")]))[0]["model"] == "auto"


def test_who_continues_is_told_in_a_comment() -> None:
    stream = encoder()
    stream.encode([SERVED, Delta(text="a")])
    data = stream.encode([Served("openai", "gpt", "it broke"), Delta(text="b")])
    assert data.startswith(b": continued by openai:gpt\n\n")
    assert chunks(data)[0]["model"] == "ollama:llama3.2:3b", "one answer, one model field"


def test_usage_where_it_is_wanted() -> None:
    stream = encoder(include_usage=True)
    data = stream.encode([Delta(text="a"), Delta(text="b"), Delta(finish="stop"), Usage(3, 2, 1)]) + stream.finish()
    *others, last = chunks(data)
    assert [chunk["usage"] for chunk in others] == [None] * 3
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 3
    assert last["usage"]["total_tokens"] == 5
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
    assert "estimated" not in last["usage"]


def test_an_estimate_stands_in_and_says_so() -> None:
    stream = encoder(include_usage=True)
    stream.encode([Delta(text="a")])
    assert chunks(stream.finish(Usage(1, 1, estimated=True)))[0]["usage"]["estimated"] is True
    assert stream.finish() == b"data: [DONE]\n\n", "and without one there is none"


def test_usage_is_not_sent_where_it_is_not_wanted() -> None:
    stream = encoder()
    assert "usage" not in chunks(stream.encode([Delta(text="a"), Usage(1, 1)]))[0]
    assert stream.finish() == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("delta", "fields"),
    [
        (Delta(reasoning="hm"), {"role": "assistant", "content": None, "reasoning_content": "hm"}),
        (Delta(refusal="no"), {"role": "assistant", "content": None, "refusal": "no"}),
        (Delta(extra={"audio": {"id": "a"}}), {"role": "assistant", "content": "", "audio": {"id": "a"}}),
        (Delta(finish="stop"), {"role": "assistant", "content": ""}),
        (
            Delta(tool_calls=(ToolCallDelta(0, "c1", "f"),)),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
                ],
            },
        ),
        (
            Delta(tool_calls=(ToolCallDelta(1, "c1", "f", "x", "custom"),)),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"index": 1, "id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}}],
            },
        ),
    ],
)
def test_kinds_of_first_pieces(delta: Delta, fields: dict[str, Any]) -> None:
    chunk = chunks(encoder().encode([delta]))[0]
    assert chunk["choices"][0]["delta"] == fields
    if "custom" not in str(fields):  # OpenAI streams them, their client's types do not know them yet
        ChatCompletionChunk.model_validate(chunk)


def test_later_pieces_of_a_tool_call_have_no_id() -> None:
    stream = encoder()
    stream.encode([Delta(tool_calls=(ToolCallDelta(0, "c1", "f"),))])
    chunk = chunks(stream.encode([Delta(tool_calls=(ToolCallDelta(0, arguments='{"a"'),))]))[0]
    assert chunk["choices"][0]["delta"] == {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}


def test_each_choice_has_its_role_and_logprobs_go_through() -> None:
    logprobs = {"content": [{"token": "b", "logprob": -0.5, "bytes": [98], "top_logprobs": []}], "refusal": None}
    data = encoder().encode([Delta(0, "a"), Delta(1, "b", logprobs=logprobs), Delta(1, "c"), Delta(0, "d")])
    deltas = [(chunk["choices"][0]["index"], chunk["choices"][0]["delta"]) for chunk in chunks(data)]
    assert deltas == [
        (0, {"role": "assistant", "content": "a"}),
        (1, {"role": "assistant", "content": "b"}),
        (1, {"content": "c"}),
        (0, {"content": "d"}),
    ]
    assert chunks(data)[1]["choices"][0]["logprobs"] == logprobs


def test_an_error_is_seen_by_both_kinds_of_client() -> None:
    stream = encoder()
    stream.encode([SERVED, Delta(text="a")])
    (chunk,) = chunks(stream.error(OblixError("upstream_stall", "nothing came", provider="ollama")))
    assert chunk["error"] == {
        "message": "nothing came",
        "type": "api_error",
        "param": None,
        "code": "upstream_stall",
        "provider": "ollama",
    }
    assert chunk["choices"][0]["finish_reason"] == "error"
    assert chunk["id"] == "chatcmpl-1"


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5)
DELTAS = st.builds(
    Delta,
    index=st.integers(0, 2),
    text=TEXT,
    reasoning=TEXT,
    refusal=TEXT,
    logprobs=st.none() | st.just({"content": []}),
)


@given(st.lists(st.lists(DELTAS, max_size=4), max_size=4))
def test_what_is_written_is_read_back(batches: list[Batch]) -> None:
    stream, reader = encoder(), ChatStreamDecoder()
    data = b"".join(stream.encode(batch) for batch in batches)
    data += stream.encode([Delta(index, finish="stop") for index in range(3)]) + stream.finish()
    expected = [
        event
        for batch in batches
        for event in batch
        if isinstance(event, Delta) and (event.has_content() or event.logprobs is not None)
    ]
    read = [*reader.feed(data), *reader.close()]
    assert read == [*expected, *(Delta(index, finish="stop") for index in range(3))]
