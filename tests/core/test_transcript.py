"""Folding events into the whole answer, and counting tokens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from oblix_actors.core.chat import ChatRequest, FunctionSpec, ImagePart, ImageURL, Message, TextPart, Tool
from oblix_actors.core.events import Batch, Delta, Served, ToolCallDelta, Usage
from oblix_actors.core.transcript import (
    IMAGE_TOKENS,
    Transcript,
    estimate_prompt,
    estimate_tokens,
    merge,
    usage_object,
)
from oblix_actors.errors import OblixError

REQUEST = ChatRequest(model="auto", messages=(Message("user", "x" * 40),))


def fold(*events: Any) -> dict[str, Any]:
    transcript = Transcript()
    for event in events:
        transcript.add([event])
    body = transcript.completion(REQUEST, job_id="chatcmpl-1", created=5)
    ChatCompletion.model_validate(body)
    return body


def message(*events: Any) -> Any:
    return fold(*events)["choices"][0]["message"]


def test_a_plain_answer() -> None:
    assert fold(Served("p", "m", "r"), Delta(text="He"), Delta(text="llo", finish="length"), Usage(3, 2)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "p:m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def test_an_answer_of_nothing_is_an_answer() -> None:
    body = fold()
    assert body["model"] == "auto"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "stop"


def test_choices_come_in_order() -> None:
    body = fold(Delta(1, "b"), Delta(0, "a"), Delta(1, finish="length"), Delta(0, finish="stop"))
    assert [(choice["index"], choice["message"]["content"]) for choice in body["choices"]] == [(0, "a"), (1, "b")]
    assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "length"]


def test_tool_calls_are_assembled() -> None:
    assert message(
        Delta(tool_calls=(ToolCallDelta(0, "a", "f"), ToolCallDelta(1, "b", "g", "x", "custom"))),
        Delta(tool_calls=(ToolCallDelta(0, arguments='{"x"'),)),
        Delta(tool_calls=(ToolCallDelta(0, arguments=":1}"), ToolCallDelta(1, arguments="y", type="custom"))),
    ) == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "b", "type": "custom", "custom": {"name": "g", "input": "xy"}},
        ],
    }


def test_reasoning_refusal_and_unknown_fields() -> None:
    transcript = Transcript()
    transcript.add(
        [
            Delta(reasoning="h"),
            Delta(reasoning="m", extra={"odd": [{"x": 1}], "spoken": {"id": "i", "text": "a"}}),
            Delta(refusal="no", extra={"odd": [{"x": 2}], "spoken": {"id": "i", "text": "b"}}),
        ]
    )
    assert transcript.completion(REQUEST, job_id="i", created=5)["choices"][0]["message"] == {
        "odd": [{"x": 1}, {"x": 2}],
        "spoken": {"id": "i", "text": "ab"},
        "role": "assistant",
        "content": None,
        "refusal": "no",
        "reasoning_content": "hm",
    }


def test_a_legacy_function_call_is_assembled() -> None:
    pieces = [{"name": "f", "arguments": ""}, {"arguments": '{"x"'}, {"arguments": ":1}"}]
    body = message(*(Delta(extra={"function_call": piece}) for piece in pieces), Delta(finish="function_call"))
    assert body["function_call"] == {"name": "f", "arguments": '{"x":1}'}


def test_logprobs_are_chained() -> None:
    def one(token: str) -> dict[str, Any]:
        entry = {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []}
        return {"content": [entry], "refusal": None}

    body = fold(Delta(text="a", logprobs=one("a")), Delta(text="b", logprobs=one("b")))
    assert [entry["token"] for entry in body["choices"][0]["logprobs"]["content"]] == ["a", "b"]
    assert body["choices"][0]["logprobs"]["refusal"] is None


def test_what_was_said_so_far() -> None:
    transcript = Transcript()
    transcript.add([Delta(text="a"), Delta(1, "x"), Delta(text="b")])
    assert (transcript.text(), transcript.text(1), transcript.text(7)) == ("ab", "x", "")
    assert transcript.finish() is None
    transcript.add([Delta(finish="stop")])
    assert transcript.finish() == "stop"
    assert transcript.deltas == 3


def test_an_answer_is_bounded() -> None:
    transcript = Transcript(limit=1000)
    with pytest.raises(OblixError) as caught:
        for _ in range(100):
            transcript.add([Delta(text="x" * 20)])
    assert caught.value.code == "upstream_malformed"


def test_usage_of_the_upstream_goes_on_as_it_came() -> None:
    raw = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.1, "prompt_tokens_details": None}
    assert usage_object(Usage(1, 2, raw=raw))["cost"] == 0.1
    assert usage_object(Usage(1, 2, raw=raw))["prompt_tokens_details"] == {"cached_tokens": 0}


def test_usage_is_estimated_where_there_is_none() -> None:
    transcript = Transcript()
    transcript.add([Delta(text="x" * 8, reasoning="y" * 4), Delta(tool_calls=(ToolCallDelta(0, "a", "name", "1234"),))])
    usage = transcript.usage(REQUEST)
    assert usage == Usage(14, 5, reasoning_tokens=1, estimated=True)
    assert usage_object(usage)["estimated"] is True


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("日本語日本語日本", 6), ("\ud800", 1)]
)
def test_estimates(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


def test_the_prompt_is_more_than_its_text() -> None:
    image = Message("user", (TextPart("abcd"), ImagePart(ImageURL("data:image/png;base64," + "A" * 10_000))))
    assert estimate_prompt(ChatRequest(model="m", messages=(image,))) == 4 + 1 + IMAGE_TOKENS
    tools = (Tool(function=FunctionSpec("f", "x" * 400)),)
    assert estimate_prompt(ChatRequest(model="m", messages=(image,), tools=tools)) > 4 + 1 + IMAGE_TOKENS + 100


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([], None),
        ([None], None),
        (["a", None, "b"], "ab"),
        ([1, 2], 2),
        (["a", 1], 1),
        ([[1], [2]], [1, 2]),
        ([{"a": "x"}, {"a": "y", "b": 1}], {"a": "xy", "b": 1}),
        ([{"type": "t", "id": "i"}, {"type": "t", "id": "i"}], {"type": "t", "id": "i"}),
        (
            [[{"index": 0, "text": "a"}], [{"index": 1, "text": "x"}, {"index": 0, "text": "b"}]],
            [{"index": 0, "text": "ab"}, {"index": 1, "text": "x"}],
        ),
    ],
)
def test_merge(pieces: list[Any], whole: Any) -> None:
    assert merge(pieces) == whole


TEXT = st.text(max_size=5)
DELTAS = st.builds(Delta, index=st.integers(0, 2), text=TEXT, reasoning=TEXT, refusal=TEXT)


@given(st.lists(DELTAS), st.integers(1, 5))
def test_batches_do_not_matter_and_nothing_is_lost(deltas: Batch, size: int) -> None:
    whole, pieces = Transcript(), Transcript()
    whole.add(deltas)
    for at in range(0, len(deltas), size):
        pieces.add(deltas[at : at + size])
    assert whole.completion(REQUEST, job_id="i", created=1) == pieces.completion(REQUEST, job_id="i", created=1)
    for index in range(3):
        texts = [delta.text for delta in deltas if isinstance(delta, Delta) and delta.index == index]
        assert whole.text(index) == "".join(texts)
