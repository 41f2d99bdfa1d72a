"""Asking an upstream, and reading what vendors make of the answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Delta, Event, ToolCallDelta, Usage
from oblix_actors.errors import OblixError
from oblix_actors.wire.openai import ChatStreamDecoder, build_chat_body, decode_completion, parse_chat_request

STOP = Delta(finish="stop")
DONE = b"data: [DONE]\n\n"


def frame(*choices: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({"id": "x", "choices": list(choices), **more}).encode() + b"\n\n"


def say(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    return frame({"index": index, "delta": delta or {}, "finish_reason": finish, **more})


def read(*pieces: bytes) -> list[Event]:
    decoder = ChatStreamDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def calls(*events: Event) -> list[ToolCallDelta]:
    return [call for event in events if isinstance(event, Delta) for call in event.tool_calls]


# --- the request ---


def test_the_client_s_body_goes_on_with_three_changes() -> None:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "é", "cache_control": {"type": "ephemeral"}}],
        "oblix": {"explain": True},
        "stream_options": {"x": 1},
        "future": [1.5, 10**25],
    }
    request = parse_chat_request(json.dumps(body).encode())
    sent = json.loads(build_chat_body(request, "gpt-5"))
    assert sent == {
        **{name: value for name, value in body.items() if name != "oblix"},
        "model": "gpt-5",
        "stream": True,
        "stream_options": {"x": 1, "include_usage": True},
    }
    assert request.body == body, "the request itself is as it was"
    assert "stream_options" not in json.loads(build_chat_body(request, "gpt-5", stream_usage=False))


def test_a_request_without_a_body_is_written_from_its_fields() -> None:
    given_body = {
        "model": "auto",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "max_tokens": 5,
        "stop": ["x"],
        "temperature": 0.0,
    }
    request = msgspec.structs.replace(parse_chat_request(json.dumps(given_body).encode()), body={})
    sent = json.loads(build_chat_body(request, "m"))
    assert sent == {**given_body, "model": "m", "stream": True, "stream_options": {"include_usage": True}}


def test_a_body_that_cannot_be_written_is_the_client_s_error() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(OblixError) as caught:
        build_chat_body(ChatRequest(model="m", messages=(), body={"x": nested}), "m")
    assert caught.value.code == "invalid_request"


# --- the stream ---


def test_a_stream_as_openai_sends_it() -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    events = read(
        say({"role": "assistant", "content": "", "refusal": None}),
        say({"content": "Hé"}),
        say({"content": "llo"}),
        say({}, "stop"),
        frame(usage=usage),
        DONE,
    )
    assert events == [Delta(text="Hé"), Delta(text="llo"), STOP, Usage(5, 2, 3, 1, usage)]


def test_nothing_after_done_counts() -> None:
    decoder = ChatStreamDecoder()
    assert decoder.feed(say({"content": "a"}, "stop") + DONE + say({"content": "b"}) + b"data: {\n\n")
    assert decoder.done
    assert decoder.feed(say({"content": "c"})) == []
    assert decoder.close() == []


@pytest.mark.parametrize(
    "ending",
    [
        say({}, "stop") + DONE,
        say({}, "stop"),  # no [DONE]
        say({}, "stop") + b"data: [DONE]",  # no line end
        say({}, "stop") + b"data:[DONE]\r\n\r\n",
        DONE,  # no finish reason
        say({}, "eos") + DONE,
        say({}, "end_turn") + b": bye\n\n" + DONE,
    ],
)
def test_endings(ending: bytes) -> None:
    assert read(say({"content": "a"}), ending) == [Delta(text="a"), STOP]


@pytest.mark.parametrize(
    ("vendor", "ours"),
    [("length", "length"), ("MAX_TOKENS", "length"), ("content_filter", "content_filter"), ("odd", "odd")],
)
def test_finish_reasons(vendor: str, ours: str) -> None:
    assert read(say({"content": "a"}, vendor)) == [Delta(text="a", finish=ours)]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b": nothing\n\n",
        DONE,
        say({"role": "assistant"}),
        say({"content": "a"}),
        say({"content": "a"}, "stop", index=0) + say({"content": "b"}, index=1),
        say({"content": "a"}) + b'data: {"choices":[{"ind',
        say({"content": "a"}) + b'data: {"choices":[{"ind\n',
    ],
)
def test_truncated(stream: bytes) -> None:
    with pytest.raises(OblixError) as caught:
        read(stream)
    assert caught.value.code == "upstream_truncated"


@pytest.mark.parametrize(
    "stream",
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        b"data: \xff\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"choices":["x"]}\n\n',
        say({"content": "x"}, index=10**6),
        say({"content": "x"}, index=-1),
    ],
)
def test_malformed(stream: bytes) -> None:
    with pytest.raises(OblixError) as caught:
        read(stream)
    assert caught.value.code == "upstream_malformed"


@pytest.mark.parametrize(
    ("stream", "message", "status"),
    [
        (b'data: {"error":{"message":"Boom","type":"server_error","code":500}}\n\n', "Boom", 500),
        (b'data: {"error":"Boom"}\n\n', "Boom", None),
        (b'data: {"error":{"code":"x"}}\n\n', "the upstream reported an error without a message", None),
        (b'error: {"code":500,"message":"Boom","type":"server_error"}\n\n', "Boom", None),  # llama.cpp, once
        (b"error: Boom\n\n", "Boom", None),
        (b'event: error\ndata: {"message":"Boom"}\n\n', "Boom", None),
        (b'data: {"object":"error","message":"Boom","code":400}\n\n', "Boom", None),  # vLLM
        (
            frame({"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": {"message": "Boom"}}),
            "Boom",
            None,
        ),
        (say({}, "error"), "the upstream ended its answer with an error", None),
    ],
)
def test_error_frames(stream: bytes, message: str, status: int | None) -> None:
    decoder = ChatStreamDecoder()
    assert decoder.feed(say({"content": "a"})) == [Delta(text="a")]
    with pytest.raises(OblixError) as caught:
        decoder.feed(stream)
    assert (caught.value.code, caught.value.message) == ("upstream_error_frame", message)
    assert caught.value.upstream_status == status


@pytest.mark.parametrize(
    ("delta", "event"),
    [
        ({"reasoning_content": "hm"}, Delta(reasoning="hm")),
        ({"reasoning": "hm", "content": ""}, Delta(reasoning="hm")),
        ({"reasoning": "hm", "reasoning_content": "hm"}, Delta(reasoning="hm")),
        ({"refusal": "no"}, Delta(refusal="no")),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, Delta(text="ab")),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, Delta(reasoning="hm")),
        ({"content": "a", "annotations": [{"x": 1}]}, Delta(text="a", extra={"annotations": [{"x": 1}]})),
        ({"content": "a", "reasoning": None, "reasoning_details": [], "odd": ""}, Delta(text="a")),
        ({"function_call": {"name": "f"}}, Delta(extra={"function_call": {"name": "f"}})),
        ({"content": 5}, None),
        ({"role": "assistant"}, None),
    ],
)
def test_deltas(delta: dict[str, Any], event: Delta | None) -> None:
    decoder = ChatStreamDecoder()
    assert decoder.feed(say(delta)) == ([] if event is None else [event])


def test_logprobs_are_passed_on() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1.0}]}
    assert read(say({"content": "a"}, "stop", logprobs=logprobs)) == [Delta(text="a", logprobs=logprobs, finish="stop")]


def test_choices_without_index_and_null_choices() -> None:
    stream = frame({"delta": {"content": "a"}}, {"delta": {"content": "b"}}) + frame(
        {"delta": {}, "finish_reason": "stop"}, {"delta": None, "finish_reason": "length"}
    )
    events = read(stream, b'data: {"choices":null,"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n', DONE)
    assert events[:4] == [Delta(0, "a"), Delta(1, "b"), Delta(0, finish="stop"), Delta(1, finish="length")]
    assert isinstance(events[4], Usage)


# --- usage ---


@pytest.mark.parametrize(
    ("raw", "counts"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2}, (1, 2, 0, 0)),
        ({"prompt_tokens": 1.0, "completion_tokens": None, "prompt_tokens_details": None}, (1, 0, 0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, (9, 2, 4, 0)),
        ({"completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}, (0, 2, 0, 1)),
        ({"prompt_tokens": -1, "completion_tokens": True}, None),
        ({}, None),
        ("x", None),
        (None, None),
    ],
)
def test_usage(raw: Any, counts: tuple[int, int, int, int] | None) -> None:
    events = read(say({"content": "a"}, "stop"), frame(usage=raw), DONE)
    usages = [event for event in events if isinstance(event, Usage)]
    assert usages == ([] if counts is None else [Usage(*counts, raw)])


def test_usage_in_the_last_choice_chunk() -> None:
    raw = {"prompt_tokens": 1, "completion_tokens": 1}
    last = frame({"index": 0, "delta": {}, "finish_reason": "stop"}, usage=raw)
    assert read(say({"content": "a"}), last) == [Delta(text="a"), STOP, Usage(1, 1, raw=raw)]


def test_usage_of_groq() -> None:
    raw = {"prompt_tokens": 1, "completion_tokens": 1}
    last = frame({"index": 0, "delta": {}, "finish_reason": "stop"}, x_groq={"usage": raw})
    assert read(say({"content": "a"}), last, DONE)[-1] == Usage(1, 1, raw=raw)


def test_a_running_count_is_given_once_at_the_end() -> None:
    counts = [{"prompt_tokens": 1, "completion_tokens": n} for n in range(3)]
    pieces = [frame({"index": 0, "delta": {"content": "a"}}, usage=raw) for raw in counts]
    events = read(*pieces, say({}, "stop"), DONE)
    assert [event for event in events if isinstance(event, Usage)] == [Usage(1, 2, raw=counts[2])]


# --- tool calls ---


def test_tool_calls_as_openai_sends_them() -> None:
    events = read(
        say({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
        say({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
        say({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        say(
            {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]}
        ),
        say({}, "tool_calls"),
        DONE,
    )
    assert calls(*events) == [
        ToolCallDelta(0, "a", "f"),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, "b", "g", "{}"),
    ]
    assert events[-1] == Delta(finish="tool_calls")


def test_the_finish_reason_after_tool_calls_is_always_theirs() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    for finish in ("stop", "tool_calls", "eos"):
        assert read(say({"tool_calls": [call]}), say({}, finish))[-1] == Delta(finish="tool_calls")
    assert read(say({"tool_calls": [call]}), DONE)[-1] == Delta(finish="tool_calls")


def test_calls_without_index_each_with_its_own_id() -> None:
    whole = [{"id": name, "function": {"name": "f", "arguments": {"x": 1}}} for name in ("a", "b")]
    events = read(say({"tool_calls": whole[:1]}), say({"tool_calls": whole[1:]}), say({}, "stop"))
    assert calls(*events) == [ToolCallDelta(0, "a", "f", '{"x":1}'), ToolCallDelta(1, "b", "f", '{"x":1}')]


def test_pieces_without_index_belong_to_the_last_call() -> None:
    events = read(
        say({"tool_calls": [{"id": "a", "function": {"name": "f"}}]}),
        say({"tool_calls": [{"function": {"arguments": "{"}}]}),
        say({"tool_calls": [{"id": "a", "function": {"arguments": "}"}}]}),
        say({}, "tool_calls"),
    )
    assert [call.index for call in calls(*events)] == [0, 0, 0]
    assert [call.id for call in calls(*events)] == ["a", None, None]


def test_calls_that_all_claim_index_0() -> None:
    both = [{"index": 0, "id": name, "function": {"name": "f", "arguments": "{}"}} for name in ("a", "b")]
    assert calls(*read(say({"tool_calls": both}), say({}, "stop"))) == [
        ToolCallDelta(0, "a", "f", "{}"),
        ToolCallDelta(1, "b", "f", "{}"),
    ]


def test_an_id_repeated_with_every_piece_is_one_call() -> None:
    piece = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "1"}}
    assert calls(*read(say({"tool_calls": [piece]}), say({"tool_calls": [piece]}), say({}, "stop"))) == [
        ToolCallDelta(0, "a", "f", "1"),
        ToolCallDelta(0, arguments="1"),
    ]


@pytest.mark.parametrize("call_id", [None, ""])
def test_calls_without_ids_get_one(call_id: str | None) -> None:
    pieces = [{"index": n, "id": call_id, "function": {"name": "f", "arguments": "{}"}} for n in range(2)]
    first, second = calls(*read(say({"tool_calls": pieces}), say({}, "stop")))
    assert first.id
    assert second.id
    assert first.id != second.id


def test_custom_tool_calls() -> None:
    events = read(
        say({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]}),
        say({"tool_calls": [{"index": 0, "custom": {"input": "y"}}]}),
        say({}, "tool_calls"),
    )
    assert calls(*events) == [ToolCallDelta(0, "a", "f", "x", "custom"), ToolCallDelta(0, arguments="y", type="custom")]


# --- the whole answer ---


def test_a_whole_answer() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    body = {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "a", "refusal": None}, "finish_reason": "stop"},
            {
                "index": 1,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "same", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "same", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "finish_reason": None,
            },
        ],
        "usage": usage,
    }
    first, second, end, last = decode_completion(json.dumps(body).encode())
    assert first == Delta(0, "a", finish="stop")
    assert isinstance(second, Delta)
    assert (second.index, second.reasoning) == (1, "hm")
    assert [(call.index, call.name) for call in second.tool_calls] == [(0, "f"), (1, "g")]
    assert second.tool_calls[0].id != second.tool_calls[1].id, "ids are unique, whatever the upstream says"
    assert end == Delta(1, finish="tool_calls")
    assert last == Usage(1, 2, raw=usage)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "upstream_malformed"),
        (b"[]", "upstream_malformed"),
        (b"{}", "upstream_malformed"),
        (b'{"choices":[]}', "upstream_malformed"),
        (b'{"choices":[1]}', "upstream_malformed"),
        (b'{"error":{"message":"x"}}', "upstream_error_frame"),
    ],
)
def test_what_is_no_whole_answer(body: bytes, code: str) -> None:
    with pytest.raises(OblixError) as caught:
        decode_completion(body)
    assert caught.value.code == code


# --- anything at all ---

STREAM = (
    say({"role": "assistant"})
    + say({"content": "é🦉"})
    + say({"reasoning": "hm"})
    + say({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]})
    + say({}, "stop")
    + frame(usage={"prompt_tokens": 1, "completion_tokens": 2})
    + DONE
)


@given(st.integers(1, 40))
def test_the_split_does_not_matter(size: int) -> None:
    assert read(*[STREAM[at : at + size] for at in range(0, len(STREAM), size)]) == read(STREAM)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CALL = st.fixed_dictionaries({}, optional={"index": JSON, "id": JSON, "function": JSON, "custom": JSON, "type": JSON})
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": JSON,
        "finish_reason": JSON,
        "error": JSON,
        "logprobs": JSON,
        "delta": JSON
        | st.fixed_dictionaries({}, optional={"content": JSON, "tool_calls": JSON | st.lists(CALL), "reasoning": JSON}),
    },
)
CHUNK = st.fixed_dictionaries({}, optional={"choices": JSON | st.lists(CHOICE), "usage": JSON, "error": JSON})


@given(st.lists(CHUNK | JSON, max_size=4))
def test_any_events_are_an_answer_or_an_error_of_ours(values: list[Any]) -> None:
    stream = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    try:
        events = read(stream)
    except OblixError as error:
        assert error.code.startswith("upstream_")  # noqa: PT017 # no error is right, too
    else:
        assert any(isinstance(event, Delta) and event.finish for event in events)


@given(st.binary(max_size=100))
def test_any_bytes_are_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(OblixError):
        read(data)
