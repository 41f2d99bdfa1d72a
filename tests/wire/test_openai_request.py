"""Reading a client's request: what is understood, and what is refused with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oblix_actors.core.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    FunctionCall,
    FunctionSpec,
    ImagePart,
    ImageURL,
    InputAudio,
    Message,
    RefusalPart,
    TextPart,
    Tool,
    ToolCall,
)
from oblix_actors.errors import OblixError
from oblix_actors.wire.openai import build_chat_body, parse_chat_request

HELLO = {"role": "user", "content": "Hello"}
FUNCTION = {"name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True}


def parse(**fields: Any) -> ChatRequest:
    return parse_chat_request(json.dumps({"model": "auto", "messages": [HELLO], **fields}).encode())


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def test_the_least_request() -> None:
    request = parse()
    assert request == ChatRequest(
        model="auto", messages=(Message("user", "Hello"),), body={"model": "auto", "messages": [HELLO]}
    )


def test_every_field() -> None:
    request = parse(
        tools=[{"type": "function", "function": FUNCTION}, {"type": "custom", "custom": {"name": "c"}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
        max_tokens=5,
        max_completion_tokens=9,
        temperature=0,
        top_p=0.5,
        presence_penalty=-2,
        frequency_penalty=2,
        stop=["a", "b"],
        seed=7,
        n=2,
        logprobs=True,
        top_logprobs=3,
        reasoning_effort="low",
        user="me",
        stream=True,
        stream_options={"include_usage": True},
        future_field={"x": 1},
    )
    assert request.tools == (
        Tool(function=FunctionSpec("weather", "d", {"type": "object"}, True)),
        Tool(type="custom", custom={"name": "c"}),
    )
    assert request.tool_choice == {"type": "function", "function": {"name": "weather"}}
    assert request.parallel_tool_calls is False
    assert request.max_tokens == 9, "the newer name wins"
    assert (request.temperature, request.top_p) == (0.0, 0.5)
    assert (request.presence_penalty, request.frequency_penalty) == (-2.0, 2.0)
    assert (request.stop, request.seed, request.n) == (("a", "b"), 7, 2)
    assert (request.logprobs, request.top_logprobs) == (True, 3)
    assert (request.reasoning_effort, request.user) == ("low", "me")
    assert request.stream
    assert request.include_usage
    assert request.needs == {"tools", "json_schema", "logprobs", "n"}
    assert request.body["future_field"] == {"x": 1}


def test_nulls_are_not_given() -> None:
    names = ("tools", "tool_choice", "response_format", "max_tokens", "temperature", "stop", "n", "stream", "logprobs",
             "top_logprobs", "stream_options", "seed", "user", "functions", "function_call", "modalities")  # fmt: skip
    request = parse(**dict.fromkeys(names))
    assert request.max_tokens is None
    assert request.stop == ()
    assert request.n == 1
    assert not request.stream
    assert not request.needs


def test_stop_may_be_one_string() -> None:
    assert parse(stop="END").stop == ("END",)


def test_usage_is_for_streams_only() -> None:
    assert not parse(stream_options={"include_usage": True}).include_usage


@pytest.mark.parametrize(
    ("part", "read", "need"),
    [
        ({"type": "text", "text": "a"}, TextPart("a"), None),
        ({"type": "refusal", "refusal": "no"}, RefusalPart("no"), None),
        (
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            ImagePart(ImageURL("https://x/y.png", "low")),
            "images",
        ),
        (
            {"type": "image_url", "image_url": "data:image/png;base64,AA=="},
            ImagePart(ImageURL("data:image/png;base64,AA==")),
            "images",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
            AudioPart(InputAudio("AA==", "wav")),
            "audio",
        ),
        ({"type": "file", "file": {"file_id": "f"}}, FilePart({"file_id": "f"}), "files"),
    ],
)
def test_parts(part: dict[str, Any], read: object, need: str | None) -> None:
    request = parse(messages=user(part))
    assert request.messages[0].content == (read,)
    assert request.needs == ({need} if need else set())


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"response_format": {"type": "json_object"}}, {"json_object"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"modalities": ["text", "audio"]}, {"audio"}),
        ({"functions": [FUNCTION]}, {"tools"}),
        ({"n": 1, "logprobs": False}, set()),
    ],
)
def test_needs(fields: dict[str, Any], needs: set[str]) -> None:
    assert parse(**fields).needs == needs


def test_a_conversation_with_tools() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "run", "input": "x"}}
    request = parse(
        messages=[
            {"role": "developer", "content": "Be brief."},
            HELLO,
            {"role": "assistant", "content": None, "tool_calls": [call, custom], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
            {"role": "assistant", "content": "Rain.", "refusal": None, "tool_calls": []},
        ]
    )
    assert request.messages[2] == Message(
        "assistant",
        tool_calls=(
            ToolCall("c1", FunctionCall("weather", '{"city":"Oslo"}')),
            ToolCall("c2", type="custom", custom={"name": "run", "input": "x"}),
        ),
        reasoning_content="hm",
    )
    assert request.messages[3].tool_call_id == "c1"
    assert request.messages[3].text() == "rain"
    assert request.messages[4] == Message("assistant", "Rain.")


def test_the_legacy_functions_are_tools_and_stay_in_the_body() -> None:
    request = parse(
        functions=[FUNCTION],
        function_call={"name": "weather"},
        messages=[
            HELLO,
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "rain"},
        ],
    )
    assert request.tools[0].function is not None
    assert request.tools[0].function.name == "weather"
    assert request.tool_choice == {"type": "function", "function": {"name": "weather"}}
    assert request.messages[1].tool_calls == (ToolCall("call_weather", FunctionCall("weather", "{}")),)
    assert request.body["functions"] == [FUNCTION]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "is required"),
    ({"model": ""}, "model", "is required"),
    ({"model": 3}, "model", "must be a string, not an integer"),
    ({"model": "x" * 513}, "model", "longer than 512"),
    ({"messages": None}, "messages", "at least one"),
    ({"messages": []}, "messages", "at least one"),
    ({"messages": "hi"}, "messages", "must be an array, not a string"),
    ({"messages": ["hi"]}, "messages[0]", "must be an object, not a string"),
    ({"messages": [{}]}, "messages[0].role", "is required"),
    ({"messages": [HELLO, {"role": "robot", "content": ""}]}, "messages[1].role", "not 'robot'"),
    ({"messages": [{"role": ["user"], "content": ""}]}, "messages[0].role", "must be a string, not an array"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "is required"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "is required"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "a string or an array of parts"),
    ({"messages": [{"role": "user", "content": True}]}, "messages[0].content", "not a boolean"),
    ({"messages": user("x")}, "messages[0].content[0]", "must be an object"),  # type: ignore[arg-type]
    ({"messages": user({"text": "x"})}, "messages[0].content[0].type", "is required"),
    ({"messages": user({"type": "video"})}, "messages[0].content[0].type", "not 'video'"),
    ({"messages": user({"type": "text"})}, "messages[0].content[0].text", "is required"),
    ({"messages": user({"type": "text", "text": 1})}, "messages[0].content[0].text", "must be a string"),
    ({"messages": user({"type": "image_url"})}, "messages[0].content[0].image_url", "is required"),
    (
        {"messages": user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}})},
        "messages[0].content[0].image_url.url",
        "http, https or data",
    ),
    (
        {"messages": user({"type": "input_audio", "input_audio": {"data": "x"}})},
        "messages[0].content[0].input_audio.format",
        "is required",
    ),
    ({"messages": user({"type": "file", "file": "x"})}, "messages[0].content[0].file", "must be an object"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "is required"),
    ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls", "must be an array"),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id", "is required"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}]}]},
        "messages[0].tool_calls[0].function.arguments",
        "a string of JSON, not an object",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "odd"}]}]},
        "messages[0].tool_calls[0].type",
        "not 'odd'",
    ),
    ({"temperature": 2.5}, "temperature", "between 0 and 2"),
    ({"temperature": -0.1}, "temperature", "between 0 and 2"),
    ({"temperature": "hot"}, "temperature", "must be a number, not a string"),
    ({"temperature": True}, "temperature", "must be a number, not a boolean"),
    ({"top_p": 1.01}, "top_p", "between 0 and 1"),
    ({"presence_penalty": 3}, "presence_penalty", "between -2 and 2"),
    ({"frequency_penalty": -3}, "frequency_penalty", "between -2 and 2"),
    ({"n": 0}, "n", "between 1 and 128"),
    ({"n": 129}, "n", "between 1 and 128"),
    ({"n": 1.5}, "n", "must be an integer, not a number"),
    ({"n": True}, "n", "must be an integer, not a boolean"),
    ({"max_tokens": 0}, "max_tokens", "between 1 and"),
    ({"max_tokens": 10**30}, "max_tokens", "between 1 and"),
    ({"max_completion_tokens": -1}, "max_completion_tokens", "between 1 and"),
    ({"seed": 2**70}, "seed", "between"),
    ({"seed": "7"}, "seed", "must be an integer"),
    ({"stop": 5}, "stop", "a string or an array of strings, not an integer"),
    ({"stop": ["a", 1]}, "stop[1]", "must be a string"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "at most 4"),
    ({"stream": "yes"}, "stream", "must be a boolean, not a string"),
    ({"stream": True, "stream_options": []}, "stream_options", "must be an object"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "must be a boolean"),
    ({"logprobs": 5}, "logprobs", "must be a boolean"),
    ({"top_logprobs": 3}, "top_logprobs", "needs logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "between 0 and 20"),
    ({"tools": {}}, "tools", "must be an array"),
    ({"tools": [{}]}, "tools[0].type", "is required"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "is required"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "is required"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": "{}"}}]},
        "tools[0].function.parameters",
        "must be an object",
    ),
    ({"tool_choice": "maybe"}, "tool_choice", "none, auto, required or an object, not 'maybe'"),
    ({"tool_choice": 5}, "tool_choice", "not an integer"),
    ({"tool_choice": {}}, "tool_choice.type", "is required"),
    ({"response_format": "json"}, "response_format", "must be an object"),
    ({"response_format": {}}, "response_format.type", "is required"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "not 'xml'"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "is required"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
        "response_format.json_schema.schema",
        "must be an object",
    ),
]


@pytest.mark.parametrize(("fields", "param", "words"), REFUSED)
def test_what_is_refused(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(OblixError) as caught:
        parse(**fields)
    assert caught.value.code == "invalid_request"
    assert caught.value.param == param
    assert caught.value.message.startswith(param)
    assert words in caught.value.message


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1,", b"nul", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"[" * 100_000, b'{"a":1e999}',
     b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"a":1' + b"0" * 5000 + b"}", b"\xff\xfe{\x00}\x00", b"{} {}"],
)  # fmt: skip
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(OblixError) as caught:
        parse_chat_request(body)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null"])
def test_what_is_json_and_no_object(body: bytes) -> None:
    with pytest.raises(OblixError, match="must be a JSON object") as caught:
        parse_chat_request(body)
    assert caught.value.code == "invalid_request"


def test_nesting_is_bounded_below_what_json_allows() -> None:
    deep = b'{"model":"auto","messages":[],"x":' + b"[" * 200 + b"]" * 200 + b"}"
    with pytest.raises(OblixError, match="nested more than 128") as caught:
        parse_chat_request(deep)
    assert caught.value.code == "invalid_request"


def test_of_duplicated_keys_the_last_counts() -> None:
    request = parse_chat_request(b'{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}')
    assert request.model == "b"


def test_an_unknown_role_is_quoted_shortly() -> None:
    with pytest.raises(OblixError) as caught:
        parse(messages=[{"role": "x" * 10_000, "content": ""}])
    assert len(caught.value.message) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = sorted({name for fields, _, _ in REFUSED for name in fields} | {"functions", "function_call", "modalities"})
PARTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("type", "text", "image_url", "input_audio", "file", "refusal"), JSON)
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system", "function", "x"])},
        optional={
            "content": JSON | st.lists(PARTS, max_size=2),
            "tool_calls": JSON,
            "function_call": JSON,
            "name": JSON,
            "tool_call_id": JSON,
        },
    ),
    max_size=3,
)


@given(st.fixed_dictionaries({}, optional={**dict.fromkeys(NAMES, JSON), "model": st.just("m"), "messages": MESSAGES}))
def test_any_object_is_a_request_or_an_error_of_ours(body: dict[str, Any]) -> None:
    try:
        request = parse_chat_request(json.dumps(body).encode())
    except OblixError as error:
        assert error.code in ("invalid_request", "invalid_json")  # noqa: PT017 # no error is right, too
    else:
        sent = json.loads(build_chat_body(request, "other"))
        assert sent["model"] == "other"


@given(st.binary(max_size=200))
@example(b'{"model":"\xed\xa0\x80"}')
def test_any_bytes_are_an_error_of_ours(body: bytes) -> None:
    with pytest.raises(OblixError):
        parse_chat_request(body)
