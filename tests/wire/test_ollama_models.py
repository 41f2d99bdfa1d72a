"""What an Ollama server says of its models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core import chat
from oblix_actors.core.catalogue import Model
from oblix_actors.errors import OblixError
from oblix_actors.wire.ollama import Details, Listed, describe, parse_ps, parse_show, parse_tags

# https://github.com/ollama/ollama/blob/main/docs/api.md#list-local-models
TAGS = b"""{"models": [
  {"name": "deepseek-r1:latest", "model": "deepseek-r1:latest", "modified_at": "2025-05-10T08:06:48.639712648-07:00",
   "size": 4683075271, "digest": "0a8c266910232fd3291e71e5ba1e058cc5af9d411192cf88b6d30e92b6e73163",
   "details": {"parent_model": "", "format": "gguf", "family": "qwen2", "parameter_size": "7.6B"}},
  {"name": "codellama:13b", "modified_at": "2023-11-04T14:56:49.277302595-07:00", "size": 7365960935,
   "digest": "9f438cb9cd581fc025612d27f7c1a6669ff83a8bb0ed86c94fcf4c5440555697", "details": {"families": null}},
  {"name": "gpt-oss:120b-cloud", "remote_host": "https://ollama.com:443", "size": 384, "digest": "ab"},
  {"name": ""}, 7]}"""
PS = b"""{"models": [{"name": "mistral:latest", "model": "mistral:latest", "size": 5137025024, "digest": "2ae6",
  "expires_at": "2024-06-04T14:38:31.83753-07:00", "size_vram": 5137025024, "context_length": 4096},
  {"name": "old"}]}"""
SHOW: dict[str, Any] = {
    "parameters": 'num_keep                       24\nnum_ctx                        16384\nstop    "<|eot_id|>"',
    "model_info": {"general.architecture": "llama", "llama.context_length": 8192, "tokenizer.ggml.tokens": []},
    "capabilities": ["completion", "vision", "tools", "insert"],
}
JSON = {chat.JSON_OBJECT, chat.JSON_SCHEMA}


def show(**changes: Any) -> Details:
    return parse_show(json.dumps({**SHOW, **changes}).encode(), "llama3.2")


def test_tags() -> None:
    assert parse_tags(TAGS) == (
        Listed("deepseek-r1:latest", "0a8c266910232fd3291e71e5ba1e058cc5af9d411192cf88b6d30e92b6e73163", 4683075271),
        Listed("codellama:13b", "9f438cb9cd581fc025612d27f7c1a6669ff83a8bb0ed86c94fcf4c5440555697", 7365960935),
        Listed("gpt-oss:120b-cloud", "ab", 384, remote=True),
    )
    assert parse_tags(b'{"models": null}') == ()


def test_ps() -> None:
    assert parse_ps(PS) == {"mistral:latest": 4096, "old": None}


def test_show() -> None:
    assert show() == Details(frozenset({*JSON, chat.TOOLS, chat.IMAGES}), context=8192, num_ctx=16384, think=())
    assert show(capabilities=["embedding"]).chat is False
    old = show(capabilities=None)
    assert (old.capabilities, old.chat, old.think) == (None, True, None)
    assert show(capabilities=None, model_info={"general.architecture": "nomic-bert"}).chat is False
    assert show(model_info=None, parameters=None) == Details(show().capabilities, think=())


def test_nothing_ollama_cannot_do_is_a_capability() -> None:
    known = show().capabilities
    assert known is not None
    assert not known & {chat.LOGPROBS, chat.CHOICES, chat.AUDIO, chat.FILES}


def test_thinking() -> None:
    assert show(capabilities=["completion", "thinking"]).think is None
    assert show(thinking={"values": ["low", "medium", 3], "default": "medium"}).think == ("low", "medium")
    assert show(thinking={"values": [False]}).think == ()


def test_describe() -> None:
    listed = Listed("a:latest", "d", 5)
    assert describe(listed, None, loaded=None) == Model("a:latest", size_bytes=5)
    assert describe(Listed("nomic-embed-text"), None, loaded=False).chat is False
    details = Details(frozenset(JSON), context=2048)
    assert describe(listed, details, loaded=True) == Model("a:latest", frozenset(JSON), 2048, True, 5)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"models": 3}', b'{"data": []}'])
def test_strangers(body: bytes) -> None:
    with pytest.raises(OblixError) as caught:
        parse_tags(body)
    assert caught.value.code == "upstream_malformed"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["capabilities", "model_info", "parameters", "thinking"])


@given(st.dictionaries(FIELDS, JSON_VALUES))
def test_any_description_is_understood_or_not(changes: dict[str, Any]) -> None:
    assert isinstance(show(**changes), Details)
