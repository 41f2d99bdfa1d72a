"""The menu of the scripted provider."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.script import NAMES, Script, example_arguments, parse_script, script_words, split_words


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("say", Script("say")),
        ("words", Script("words", words=20)),
        ("words-3", Script("words", words=3)),
        ("slow", Script("slow", pause=0.2)),
        ("slow-50", Script("slow", pause=0.05)),
        ("flaky", Script("flaky", period=2)),
        ("flaky-5", Script("flaky", period=5)),
        ("hang", Script("hang", then="hang")),
        ("drop-0", Script("drop", words=0, then="drop")),
        ("truncate", Script("truncate", words=3, then="truncate")),
        ("malformed-2", Script("malformed", words=2, then="malformed")),
        ("error-frame", Script("error-frame", words=3, then="error-frame")),
        ("error-frame-7", Script("error-frame", words=7, then="error-frame")),
        ("error", Script("error", status=500)),
        ("error:429", Script("error", status=429)),
        ("tools", Script("tools")),
        ("reasoning", Script("reasoning")),
    ],
)
def test_names(name: str, script: Script) -> None:
    assert parse_script(name) == script


@pytest.mark.parametrize(
    "name",
    ["", "nope", "say-3", "hang-2", "words-", "words--1", "words:3", "words-999999", "slow-700000", "flaky-0",
     "error:200", "error:600", "error-429", "error:9999999", "drop-x", "WORDS", "words-3 ", "error-frame:3"],
)  # fmt: skip
def test_what_is_not_on_the_menu(name: str) -> None:
    assert parse_script(name) is None


def test_every_listed_name_is_on_the_menu() -> None:
    assert all(parse_script(name) is not None for name in NAMES)


@given(st.text())
def test_any_name_is_understood_or_not(name: str) -> None:
    script = parse_script(name)
    assert script is None or script.kind in NAMES


@given(st.text())
def test_words_are_the_text(text: str) -> None:
    assert "".join(split_words(text)) == text


def test_echo_repeats_what_the_user_said_last() -> None:
    messages = (Message("user", "one"), Message("user", "two  three\n"), Message("assistant", "no"))
    assert script_words(Script("echo"), ChatRequest(model="echo", messages=messages)) == ["two", "  three", "\n"]


def test_example_arguments_fit_the_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["C", "F"]},
            "days": {"type": ["integer", "null"]},
            "where": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
            "not_needed": {"type": "string"},
        },
        "required": ["city", "unit", "days", "where", "unknown"],
    }
    assert example_arguments(schema) == {"city": "text", "unit": "C", "days": 1, "where": {"x": 1.5}, "unknown": None}
    endless: dict[str, object] = {"type": "object", "required": ["a"]}
    endless["properties"] = {"a": endless}
    assert example_arguments(endless)
    assert example_arguments(None) == {}
