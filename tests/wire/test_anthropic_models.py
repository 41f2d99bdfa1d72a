"""Anthropic's list of models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core import chat
from oblix_actors.core.catalogue import Model
from oblix_actors.errors import OblixError
from oblix_actors.wire.anthropic import Traits, capabilities, guess_traits, parse_models

ALL = frozenset({chat.TOOLS, chat.IMAGES, chat.FILES, chat.JSON_SCHEMA, chat.JSON_OBJECT})


def support(**given: bool) -> dict[str, Any]:
    return {name: {"supported": value} for name, value in given.items()}


def entry(name: str, types: dict[str, Any], **more: Any) -> dict[str, Any]:
    thinking = {"supported": True, "types": types}
    efforts = {"supported": True, **support(low=True, high=True, max=False)}
    able = {
        **support(image_input=True, pdf_input=False, structured_outputs=True),
        "thinking": thinking,
        "effort": efforts,
    }
    sizes = {"max_input_tokens": 200_000, "max_tokens": 64_000}
    return {"type": "model", "id": name, "lifecycle": "active", "capabilities": able, **sizes, **more}


def listing(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"data": entries, "has_more": False, "first_id": None, "last_id": None, **more}).encode()


def test_capabilities_are_read() -> None:
    page = parse_models(
        listing(
            entry("a", support(adaptive=True, enabled=False, disabled=False)),
            entry("b", support(adaptive=True, enabled=True, disabled=True)),
            entry("c", support(adaptive=False, enabled=True, disabled=True)),
            entry("d", {}),
            entry("e", {}, lifecycle="retired"),
            {"id": "claude-opus-4-5", "type": "model", "display_name": "as it was in 2025"},
            {"id": 3},
            "rubbish",
        )
    )
    efforts = frozenset({"low", "high"})
    assert page.traits == {
        "a": Traits("always", 64_000, False, True, efforts, files=False),
        "b": Traits("adaptive", 64_000, True, True, efforts, files=False),
        "c": Traits("manual", 64_000, True, True, efforts, files=False),
        "d": Traits("none", 64_000, True, True, efforts, files=False),
        "claude-opus-4-5": guess_traits("claude-opus-4-5"),
    }
    assert page.models[0] == Model("a", frozenset({chat.TOOLS, chat.IMAGES, chat.JSON_SCHEMA}), 200_000)
    assert page.models[-1] == Model("claude-opus-4-5", ALL)
    assert page.next_after is None


def test_there_may_be_more() -> None:
    assert parse_models(listing(has_more=True, last_id="z")).next_after == "z"
    assert parse_models(listing(has_more=True)).next_after is None


@pytest.mark.parametrize(
    ("model", "thinking", "sampling", "structured", "prefill"),
    [
        ("claude-3-haiku-20240307", "none", True, False, True),
        ("claude-3-7-sonnet-latest", "manual", True, False, True),
        ("claude-opus-4-1-20250805", "manual", True, False, True),
        ("claude-sonnet-4-20250514", "manual", True, False, True),
        ("claude-haiku-4-5", "manual", True, True, True),
        ("claude-opus-4-6", "adaptive", True, True, False),
        ("claude-opus-4-7", "adaptive", False, True, False),
        ("claude-sonnet-5-5", "adaptive", False, True, False),
        ("claude-opus-5-5", "always", False, True, False),
        ("claude-fable-5-1", "always", False, True, False),
        ("claude-something-9", "adaptive", False, True, False),
        ("deepseek-chat", "manual", True, False, True),
    ],
)
def test_guesses(model: str, thinking: str, sampling: bool, structured: bool, prefill: bool) -> None:
    traits = guess_traits(model)
    assert (traits.thinking, traits.sampling, traits.structured, traits.prefill) == (
        thinking,
        sampling,
        structured,
        prefill,
    )
    assert not capabilities(traits) & {chat.LOGPROBS, chat.CHOICES, chat.AUDIO}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data": 3}'])
def test_strangers(body: bytes) -> None:
    with pytest.raises(OblixError) as caught:
        parse_models(body)
    assert caught.value.code == "upstream_malformed"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["capabilities", "max_tokens", "max_input_tokens", "lifecycle"])


@given(st.dictionaries(FIELDS, JSON_VALUES))
def test_any_entry_is_understood_or_not(changes: dict[str, Any]) -> None:
    assert len(parse_models(listing(entry("a", {}, **changes), {"id": "b"})).models) >= 1
