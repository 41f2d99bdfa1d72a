"""What is sent to Ollama's ``POST /api/chat``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.errors import OblixError
from oblix_actors.wire.ollama import build_chat_body, fit_num_ctx
from oblix_actors.wire.openai import parse_chat_request

USER = {"role": "user", "content": "Hi"}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "of a city", "parameters": {"type": "object", "properties": {}}},
}


def body(*messages: dict[str, Any], think: tuple[bool | str, ...] | None = None, **fields: Any) -> dict[str, Any]:
    request = parse_chat_request(json.dumps({"model": "auto", "messages": messages or [USER], **fields}).encode())
    built: dict[str, Any] = json.loads(build_chat_body(request, "llama3.2", num_ctx=8192, think=think))
    return built


def test_the_least_request() -> None:
    assert body() == {
        "model": "llama3.2",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "truncate": False,
        "options": {"num_ctx": 8192},
    }


def test_options() -> None:
    fields: dict[str, Any] = {"temperature": 0, "top_p": 0.5, "seed": 7, "max_tokens": 9, "stop": "END"}
    fields |= {"presence_penalty": 1, "frequency_penalty": -1}
    built = body(**fields, options={"num_ctx": 100, "top_k": 5, "temperature": 2}, keep_alive="10m")
    assert built["options"] == {
        "num_ctx": 100,
        "top_k": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 7,
        "num_predict": 9,
        "stop": ["END"],
        "presence_penalty": 1.0,
        "frequency_penalty": -1.0,
    }
    assert built["keep_alive"] == "10m"
    with pytest.raises(OblixError) as caught:
        body(options=[1])
    assert (caught.value.code, caught.value.param) == ("invalid_request", "options")


def test_formats() -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    assert body(response_format={"type": "json_object"})["format"] == "json"
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    assert body(response_format=wanted)["format"] == schema
    assert "format" not in body(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("effort", "values", "think"),
    [
        ("high", None, "high"),
        ("minimal", None, "low"),
        ("none", None, False),
        ("high", (True, False), True),
        ("none", (True, False), False),
        ("high", (), None),
        ("none", ("low", "medium", "high"), "low"),
        ("xhigh", ("low", "medium", "high"), "high"),
        ("max", ("max",), None),
        (None, (True, False), None),
    ],
)
def test_think(effort: str | None, values: tuple[bool | str, ...] | None, think: bool | str | None) -> None:
    assert body(reasoning_effort=effort, think=values).get("think") == think


def test_a_conversation_with_tools() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    odd = {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "Oslo"}}
    built = body(
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": [call, odd], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "function", "name": "clock", "content": "12:00"},
        tools=[TOOL],
    )
    assert built["tools"] == [TOOL]
    assert built["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}},
                {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": {"input": "Oslo"}}},
            ],
        },
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "call_1"},
        {"role": "tool", "content": "12:00", "tool_name": "clock"},
    ]


def test_tool_choice() -> None:
    assert "tools" not in body(tools=[TOOL], tool_choice="none")
    other = {"type": "function", "function": {"name": "clock"}}
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    built = body(tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert built["tools"] == [
        {
            "type": "function",
            "function": {"name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}},
        }
    ]


def test_images() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVs\nbG8="}}
    plain = {"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg/%3E"}}
    content = [{"type": "text", "text": "What"}, image, {"type": "text", "text": "is it?"}, plain]
    assert body({"role": "user", "content": content})["messages"] == [
        {"role": "user", "content": "What\nis it?", "images": ["aGVsbG8=", "PHN2Zy8+"]}
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
    ],
)
def test_what_ollama_cannot_do(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(OblixError) as caught:
        body(**fields)
    assert (caught.value.code, caught.value.param) == ("upstream_unsupported", param)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/owl.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
def test_parts_it_cannot_read(part: dict[str, Any]) -> None:
    with pytest.raises(OblixError) as caught:
        body({"role": "user", "content": [part]})
    assert caught.value.code == "upstream_unsupported"


@pytest.mark.parametrize(
    ("prompt", "answer", "limit", "loaded", "num_ctx"),
    [
        (10, None, 131_072, None, 4096),
        (3000, None, 131_072, None, 4096),
        (3073, None, 131_072, None, 8192),
        (4000, 200, None, None, 8192),
        (100_000, 1000, 131_072, None, 131_072),
        (10, None, 2048, None, 2048),
        (10, 1_000_000, 8192, None, 8192),
        (5000, None, 131_072, 32_768, 32_768),
        (5000, None, 131_072, 4096, 8192),
        (10, None, 131_072, 2048, 2048),
        (5000, None, 8192, 999_999, 8192),
    ],
)
def test_the_context_fits(prompt: int, answer: int | None, limit: int | None, loaded: int | None, num_ctx: int) -> None:
    assert fit_num_ctx(prompt, answer, limit, loaded=loaded) == num_ctx


@given(
    st.integers(0, 200_000), st.none() | st.integers(1, 200_000), st.integers(512, 200_000), st.integers(512, 200_000)
)
def test_a_prompt_is_never_cut(prompt: int, answer: int | None, limit: int, loaded: int) -> None:
    if prompt >= limit:
        with pytest.raises(OblixError, match="context has"):
            fit_num_ctx(prompt, answer, limit, loaded=loaded)
    else:
        assert prompt < fit_num_ctx(prompt, answer, limit, loaded=loaded) <= limit
