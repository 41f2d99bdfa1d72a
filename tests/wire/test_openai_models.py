"""The list of models: what vendors' lists tell, and what ours looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model as OpenAIModel

from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.errors import OblixError
from oblix_actors.wire.openai import encode_model, encode_models, parse_models


def listing(*entries: Any) -> bytes:
    return json.dumps({"object": "list", "data": list(entries)}).encode()


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1, "owned_by": "x", **more}


@pytest.mark.parametrize(
    ("given_entry", "model"),
    [
        (entry("gpt-5", owned_by="system"), Model("gpt-5")),
        (entry("m", max_model_len=4096), Model("m", context=4096)),
        (entry("m", context_window=8192, active=True), Model("m", context=8192)),
        (
            entry("m.gguf", meta={"n_ctx": 4096, "n_ctx_train": 8192, "size": 98_000_000}),
            Model("m.gguf", context=4096, loaded=True, size_bytes=98_000_000),
        ),
        (entry("m.gguf", meta={"n_ctx_train": 8192}), Model("m.gguf", context=8192, loaded=True)),
        (entry("m.gguf", meta=None), Model("m.gguf")),
        (entry("m", state="not-loaded", max_context_length=32768), Model("m", context=32768, loaded=False)),
        (
            entry(
                "google/gemini-pro",
                context_length=1_000_000,
                architecture={"input_modalities": ["text", "image", "file"], "output_modalities": ["text"]},
                supported_parameters=["tools", "response_format", "structured_outputs", "temperature", "logprobs"],
            ),
            Model(
                "google/gemini-pro",
                capabilities=frozenset({"tools", "images", "files", "json_object", "json_schema", "logprobs"}),
                context=1_000_000,
            ),
        ),
        (entry("m", context_length="many", meta=[]), Model("m")),
        (entry("m", context_length=-1), Model("m")),
        (entry("mistral-embed-x", capabilities={"completion_chat": True}), Model("mistral-embed-x")),
        (entry("some", type="embedding"), Model("some", chat=False)),
        (entry("some", type="chat", context_length=10.0), Model("some", context=10)),
        (
            entry("x/draws", architecture={"output_modalities": ["image"]}),
            Model("x/draws", chat=False),
        ),
    ],
)
def test_what_an_entry_tells(given_entry: dict[str, Any], model: Model) -> None:
    assert parse_models(listing(given_entry)) == (model,)


@pytest.mark.parametrize(
    "name",
    ["text-embedding-3-small", "nomic-embed-text-v1.5", "bge-m3", "whisper-1", "tts-1-hd", "gpt-4o-mini-tts",
     "gpt-4o-transcribe", "dall-e-3", "gpt-image-1", "omni-moderation-latest", "gpt-realtime", "sora-2",
     "BAAI/bge-reranker-v2-m3", "gpt-4o-realtime-preview"],
)  # fmt: skip
def test_what_does_not_chat_anywhere(name: str) -> None:
    assert not parse_models(listing(entry(name)))[0].chat


@pytest.mark.parametrize(
    "name",
    ["babbage-002", "davinci-002", "gpt-3.5-turbo-instruct", "gpt-5-codex", "o1-pro", "gpt-5-pro", "o3-deep-research",
     "computer-use-preview"],
)  # fmt: skip
def test_what_does_not_chat_at_openai(name: str) -> None:
    assert not parse_models(listing(entry(name, owned_by="system")))[0].chat
    assert parse_models(listing(entry(name, owned_by="somebody")))[0].chat


@pytest.mark.parametrize(
    "name",
    ["gpt-5", "gpt-4o", "gpt-4o-audio-preview", "o3", "chatgpt-4o-latest", "gpt-4o-search-preview", "gpt-5-mini",
     "qwen2.5-7b-instruct", "codestral-latest", "SmolLM2-135M-Instruct", "claude-sonnet"],
)  # fmt: skip
def test_what_chats(name: str) -> None:
    assert parse_models(listing(entry(name, owned_by="organization_owner")))[0].chat


def test_order_is_kept_and_doubles_and_strange_entries_are_left_out() -> None:
    body = listing(entry("b"), entry("a"), 5, {}, {"id": 3}, {"id": ""}, entry("b", max_model_len=5), entry("x" * 600))
    assert [model.id for model in parse_models(body)] == ["b", "a"]


def test_a_bare_array_and_an_empty_list() -> None:
    assert parse_models(json.dumps([entry("a")]).encode()) == (Model("a"),)
    assert parse_models(listing()) == ()
    assert parse_models(b'{"object":"list","data":null}') == ()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'"x"', b'{"data":5}', b'{"status":"ok"}', b'{"data":[1,2]}', b"[" * 100_000]
)
def test_a_stranger_is_not_hooked(body: bytes) -> None:
    with pytest.raises(OblixError) as caught:
        parse_models(body)
    assert caught.value.code == "upstream_malformed"


PROVIDERS = (
    ProviderState(
        name="ollama",
        kind="ollama",
        locality="local",
        order=0,
        models=(
            Model("llama3.2:3b", capabilities=frozenset({"tools"}), context=131072, loaded=True),
            Model("e", chat=False),
        ),
    ),
    ProviderState(name="openai", kind="openai", locality="cloud", order=1, models=(Model("gpt-5"),)),
)


def test_our_list() -> None:
    body = json.loads(encode_models(PROVIDERS, 1700000000))
    assert body["object"] == "list"
    assert [each["id"] for each in body["data"]] == ["auto", "ollama:llama3.2:3b", "openai:gpt-5"]
    assert body["data"][1] == {
        "id": "ollama:llama3.2:3b",
        "object": "model",
        "created": 1700000000,
        "owned_by": "ollama",
        "oblix": {
            "locality": "local",
            "status": "starting",
            "context": 131072,
            "capabilities": ["tools"],
            "loaded": True,
        },
    }
    assert body["data"][2]["oblix"] == {
        "locality": "cloud",
        "status": "starting",
        "context": None,
        "capabilities": None,
        "loaded": None,
    }
    for each in body["data"]:
        OpenAIModel.model_validate(each)


def test_one_of_our_models() -> None:
    body = encode_model(PROVIDERS, "openai:gpt-5", 5)
    assert body is not None
    assert json.loads(body)["id"] == "openai:gpt-5"
    assert json.loads(encode_model(PROVIDERS, "auto", 5) or b"")["owned_by"] == "oblix"
    assert encode_model(PROVIDERS, "gpt-5", 5) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "meta", "architecture", "supported_parameters", "context_length", "type", "capabilities", "owned_by")


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)) | JSON))
def test_any_list_is_models_or_an_error_of_ours(entries: list[Any]) -> None:
    try:
        models = parse_models(listing(*entries))
    except OblixError as error:
        assert error.code == "upstream_malformed"  # noqa: PT017 # no error is right, too
    else:
        assert len(models) <= len(entries)
