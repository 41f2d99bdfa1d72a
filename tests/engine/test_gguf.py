"""What a model's file tells of it: tables, every truncation, and any bytes at all."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.engine.gguf import ModelFacts, NotGGUF, facts, read_facts
from oblix_actors.engine.models import find_default_model
from tests.engine.gguf_bytes import gguf

WITH_TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}{{ messages }}"
TEXT = {"general.architecture": "llama", "llama.context_length": 2048}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ModelFacts()),
        (TEXT, ModelFacts(context=2048)),
        ({**TEXT, "tokenizer.chat_template": "{{ messages }}"}, ModelFacts(context=2048)),
        ({**TEXT, "tokenizer.chat_template": WITH_TOOLS}, ModelFacts(context=2048, tools=True)),
        ({**TEXT, "tokenizer.chat_template": "{{ toolset }}"}, ModelFacts(context=2048)),
        ({**TEXT, "llama.pooling_type": 2}, ModelFacts(context=2048, chat=False)),
        ({**TEXT, "llama.context_length": "long"}, ModelFacts()),
        (
            {"tokenizer.ggml.tokens": ["a", "bc", ""], "tokenizer.ggml.types": [1, 2, 3], **TEXT},
            ModelFacts(context=2048),
        ),
    ],
    ids=["nothing", "context", "template", "tools", "a word with tools in it", "embeddings", "wrong type", "lists"],
)
def test_facts(values: dict[str, object], expected: ModelFacts) -> None:
    assert facts(gguf(values)) == expected


def test_the_default_model() -> None:
    path = find_default_model()
    assert path is not None, "the default model is not installed"
    assert read_facts(path) == ModelFacts(context=8192, tools=False, chat=True)


FULL = gguf({"tokenizer.ggml.tokens": ["a", "bc"], "tokenizer.ggml.types": [1, 2], **TEXT})


def test_every_truncation_is_told() -> None:
    for length in range(len(FULL)):
        with pytest.raises(NotGGUF):
            facts(FULL[:length])


@pytest.mark.parametrize(
    "data",
    [
        b"GGML" + FULL[4:],
        gguf(TEXT, version=1),
        gguf(TEXT, version=4),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**63),
        struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 2**64 - 1),
        struct.pack("<4sIQQQIIQ", b"GGUF", 3, 0, 1, 0, 9, 8, 2**64 - 1),
        struct.pack("<4sIQQQIIQ", b"GGUF", 3, 0, 1, 0, 9, 4, 2**64 - 1),
        struct.pack("<4sIQQQIIQ", b"GGUF", 3, 0, 1, 0, 9, 9, 1),
        struct.pack("<4sIQQQI", b"GGUF", 3, 0, 1, 0, 77) + bytes(64),
    ],
    ids=["magic", "old", "new", "pairs", "key length", "texts", "numbers", "lists in lists", "type"],
)
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(NotGGUF):
        facts(data)


@given(st.binary(max_size=400), st.integers(0, 20))
def test_any_bytes_are_facts_or_no_model(tail: bytes, pairs: int) -> None:
    with suppress(NotGGUF):
        assert isinstance(facts(struct.pack("<4sIQQ", b"GGUF", 3, 0, pairs) + tail), ModelFacts)


def test_an_empty_file_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.touch()
    with pytest.raises(NotGGUF):
        read_facts(path)
