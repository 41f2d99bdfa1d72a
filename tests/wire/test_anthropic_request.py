"""What is sent to Anthropic's ``POST /v1/messages``."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.errors import OblixError
from oblix_actors.wire.anthropic import Traits, build_messages_body
from oblix_actors.wire.anthropic_messages import CONTINUE, OPENING, tool_id
from oblix_actors.wire.anthropic_request import JSON_TOOL
from oblix_actors.wire.anthropic_schema import fit_schema
from oblix_actors.wire.openai import parse_chat_request

USER = {"role": "user", "content": "Hi"}
OLD = "claude-opus-4-5"
NEW = "claude-sonnet-5-5"
ALWAYS = "claude-opus-5-5"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "description": "in years"}},
    "required": ["age"],
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}


def body(*messages: dict[str, Any], model: str = OLD, traits: Traits | None = None, **fields: Any) -> dict[str, Any]:
    request = parse_chat_request(json.dumps({"model": "auto", "messages": messages or [USER], **fields}).encode())
    built: dict[str, Any] = json.loads(build_messages_body(request, model, default_max_tokens=32_000, traits=traits))
    return built


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def refused(*messages: dict[str, Any], **fields: Any) -> str | None:
    with pytest.raises(OblixError) as caught:
        body(*messages, **fields)
    assert caught.value.code == "upstream_unsupported"
    return caught.value.param


def test_the_least_request() -> None:
    assert body() == {
        "model": OLD,
        "max_tokens": 32_000,
        "messages": [{"role": "user", "content": [text("Hi")]}],
        "stream": True,
    }


def test_plain_fields() -> None:
    built = body(max_tokens=100, temperature=1.7, stop=["END", "STOP"], user="u-1", seed=3, presence_penalty=1)
    assert built["max_tokens"] == 100
    assert built["temperature"] == 1.0
    assert built["stop_sequences"] == ["END", "STOP"]
    assert built["metadata"] == {"user_id": "u-1"}
    assert "metadata" not in body(user="somebody@example.com")
    assert body(top_p=0.5)["top_p"] == 0.5
    assert "top_p" not in body(top_p=0.5, temperature=0.1), "models refuse both at once"
    assert body(max_tokens=1_000_000)["max_tokens"] == 64_000, "what the model can give"
    assert refused(stop="\n") == "stop"


def test_newer_models_get_no_temperature() -> None:
    built = body(model=NEW, temperature=0.2, top_p=0.9)
    assert not {"temperature", "top_p"} & built.keys()


def test_system_and_turns() -> None:
    built = body(
        {"role": "system", "content": "One."},
        {"role": "user", "content": "a"},
        {"role": "developer", "content": [text("Two."), text(" ")]},
        {"role": "user", "content": "b", "name": "Bo"},
        {"role": "assistant", "content": "", "refusal": "No."},
        {"role": "assistant", "content": "c", "reasoning_content": "hm"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "d"},
    )
    assert built["system"] == [text("One."), text("Two.")]
    assert built["messages"] == [
        {"role": "user", "content": [text("a"), text("b")]},
        {"role": "assistant", "content": [text("No."), text("c")]},
        {"role": "user", "content": [text("d")]},
    ]


def test_a_conversation_begins_with_the_user() -> None:
    opening = {"role": "user", "content": [text(OPENING)]}
    assert body({"role": "assistant", "content": "Hello"}, USER)["messages"][0] == opening
    alone = body({"role": "system", "content": "Say hi."})
    assert alone["messages"] == [{"role": "user", "content": [text("Say hi.")]}]
    assert "system" not in alone
    assert body({"role": "user", "content": " "})["messages"] == [opening]


def test_an_answer_that_has_begun() -> None:
    begun = {"role": "assistant", "content": "The sky is "}
    assert body(USER, begun)["messages"][-1] == {"role": "assistant", "content": [text("The sky is")]}
    newer = body(USER, begun, model=NEW)["messages"]
    assert newer[-2:] == [
        {"role": "assistant", "content": [text("The sky is ")]},
        {"role": "user", "content": [text(CONTINUE)]},
    ]


def test_tool_calls_and_results() -> None:
    built = body(
        USER,
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                {"id": "functions.weather:1", "type": "function", "function": {"name": "weather", "arguments": ""}},
            ],
        },
        {"role": "user", "content": "quick!"},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "rain"},
        {"role": "tool", "tool_call_id": "functions.weather:1", "content": [text("sun")]},
        {"role": "function", "name": "clock", "content": None},
        tools=[TOOL],
    )
    other = tool_id("functions.weather:1")
    assert built["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                text("Let me look."),
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": other, "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("rain")]},
                {"type": "tool_result", "tool_use_id": other, "content": [text("sun")]},
                {"type": "tool_result", "tool_use_id": "call_clock"},
                text("quick!"),
            ],
        },
    ]
    assert built["tools"] == [
        {"name": "weather", "description": "of a city", "input_schema": TOOL["function"]["parameters"]}  # type: ignore[index] # an object
    ]


@given(st.text(min_size=1), st.text(min_size=1))
def test_tool_ids(one: str, two: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", tool_id(one))
    assert tool_id(one) == tool_id(one)
    assert tool_id(tool_id(one)) == tool_id(one)
    if re.fullmatch(r"[a-zA-Z0-9_-]+", one):
        assert tool_id(one) == one


def test_different_ids_stay_different() -> None:
    assert tool_id("a.b") != tool_id("a:b")


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, {"type": "tool", "name": "weather"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_tool_choice(fields: dict[str, Any], choice: dict[str, Any] | None) -> None:
    assert body(tools=[TOOL], **fields).get("tool_choice") == choice


def test_forced_tools_and_thinking_exclude_each_other() -> None:
    assert refused(tools=[TOOL], tool_choice="required", model=ALWAYS) == "tool_choice"
    assert body(tools=[TOOL], tool_choice="required", model=NEW)["thinking"] == {"type": "disabled"}
    assert "thinking" not in body(tools=[TOOL], tool_choice="required", reasoning_effort="high")


def test_a_choice_of_nothing_on_offer() -> None:
    with pytest.raises(OblixError) as caught:
        body(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "clock"}})
    assert (caught.value.code, caught.value.param) == ("invalid_request", "tool_choice")


@pytest.mark.parametrize(
    ("model", "fields", "thinking", "effort"),
    [
        (OLD, {}, None, None),
        (OLD, {"reasoning_effort": "high"}, {"type": "enabled", "budget_tokens": 16_000}, None),
        (OLD, {"reasoning_effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, None),
        (OLD, {"reasoning_effort": "high", "max_tokens": 4096}, {"type": "enabled", "budget_tokens": 2048}, None),
        (OLD, {"reasoning_effort": "high", "max_tokens": 1000}, None, None),
        (OLD, {"reasoning_effort": "none"}, None, None),
        ("claude-3-5-haiku-20241022", {"reasoning_effort": "high"}, None, None),
        (NEW, {}, None, None),
        (NEW, {"reasoning_effort": "high"}, {"type": "adaptive", "display": "summarized"}, "high"),
        (NEW, {"reasoning_effort": "xhigh"}, {"type": "adaptive", "display": "summarized"}, "high"),
        (NEW, {"reasoning_effort": "none"}, {"type": "disabled"}, None),
        (ALWAYS, {}, {"type": "adaptive", "display": "summarized"}, None),
        (ALWAYS, {"reasoning_effort": "none"}, {"type": "adaptive", "display": "summarized"}, "low"),
    ],
)
def test_thinking(model: str, fields: dict[str, Any], thinking: dict[str, Any] | None, effort: str | None) -> None:
    built = body(model=model, **fields)
    assert built.get("thinking") == thinking
    assert built.get("output_config", {}).get("effort") == effort


def test_a_manual_budget_needs_what_openai_cannot_carry() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c", "content": "rain"}
    messages = (USER, {"role": "assistant", "content": None, "tool_calls": [call]}, result)
    assert "thinking" not in body(*messages, reasoning_effort="high")
    assert "thinking" in body(*messages, reasoning_effort="high", model=NEW)
    assert "thinking" not in body(USER, {"role": "assistant", "content": "The"}, reasoning_effort="high")
    assert "temperature" not in body(temperature=0.3, reasoning_effort="high"), "thinking excludes it"


def test_a_json_schema() -> None:
    assert body(response_format=SCHEMA)["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"age": {"type": "integer", "description": 'in years\n\n{"minimum":0}'}},
                "required": ["age"],
                "additionalProperties": False,
            },
        }
    }
    both = body(response_format=SCHEMA, reasoning_effort="low", model=ALWAYS)["output_config"]
    assert both.keys() == {"format", "effort"}


def test_json_by_a_forced_tool() -> None:
    built = body(response_format=SCHEMA, model="claude-3-5-haiku-20241022")
    assert built["tools"][0]["name"] == JSON_TOOL
    assert built["tools"][0]["input_schema"] == PERSON
    assert built["tool_choice"] == {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}
    loose = body(response_format={"type": "json_object"}, model=NEW, reasoning_effort="high")
    assert loose["tools"][0]["input_schema"] == {"type": "object"}
    assert loose["thinking"] == {"type": "disabled"}
    assert refused(response_format={"type": "json_object"}, tools=[TOOL]) == "response_format"
    assert refused(response_format={"type": "json_object"}, model=ALWAYS) == "response_format"


def test_schemas_lose_what_is_refused_and_nothing_else() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        "oneOf": [{"type": "string", "format": "email", "maxLength": 3}, {"type": "string", "format": "color"}],
        "items": {"type": "array", "minItems": 1, "maxItems": 9, "items": {"enum": [1, 2]}},
    }
    before = json.dumps(schema)
    assert fit_schema(schema) == {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/node"}},
                "additionalProperties": False,
            }
        },
        "anyOf": [
            {"type": "string", "format": "email", "description": '{"maxLength":3}'},
            {"type": "string", "description": '{"format":"color"}'},
        ],
        "items": {"type": "array", "minItems": 1, "items": {"enum": [1, 2]}, "description": '{"maxItems":9}'},
    }
    assert json.dumps(schema) == before


def test_images_and_files() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/owl.png"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:text/markdown;base64,IyBIw6k="}},
    ]
    assert body({"role": "user", "content": parts})["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "aGk="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/owl.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# Hé"}},
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,AAAA"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}},
    ],
)
def test_parts_it_cannot_read(part: dict[str, Any]) -> None:
    assert refused({"role": "user", "content": [part]}) == "messages[0].content[0]"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
    ],
)
def test_what_the_api_cannot_do(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields) == param


def test_known_traits_win_over_the_name() -> None:
    known = Traits("adaptive", 1000, False, True, frozenset({"low", "max"}))
    built = body(traits=known, temperature=0.1, reasoning_effort="high", max_tokens=2000)
    assert built["max_tokens"] == 1000
    assert built["output_config"] == {"effort": "low"}
    assert "temperature" not in built


CONTENT = st.text(max_size=5) | st.lists(st.builds(text, st.text(max_size=5)), max_size=3)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": CONTENT}), min_size=1
)


@given(MESSAGES, st.sampled_from([OLD, NEW]))
def test_the_rules_hold_for_any_conversation(messages: list[dict[str, Any]], model: str) -> None:
    turns = body(*messages, model=model)["messages"]
    roles = [turn["role"] for turn in turns]
    assert roles[0] == "user"
    assert all(one != two for one, two in pairwise(roles))
    assert all(block["text"].strip() for turn in turns for block in turn["content"])
    if roles[-1] == "assistant":
        assert model == OLD
        assert not turns[-1]["content"][-1]["text"][-1].isspace()
