"""Where the model's file is looked for, and what is said of one that cannot be used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from oblix_actors.engine import models
from oblix_actors.engine.models import ModelFile
from oblix_actors.errors import ConfigError, OblixError
from oblix_actors.settings import EmbeddedSettings
from tests.engine.gguf_bytes import gguf


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without the default model's wheel; the folder where ``oblix pull`` would put it."""
    monkeypatch.setattr(models, "PACKAGE", "a_package_that_nobody_has")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return models.data_dir()


def test_the_default_model_is_in_its_wheel() -> None:
    found = models.resolve(EmbeddedSettings())
    assert found is not None
    assert found.name == "smollm2-135m"
    assert found.path.is_absolute()
    assert found.path.stat().st_size == models.DEFAULT_BYTES
    with found.path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == models.DEFAULT_SHA256


def test_a_pulled_model_is_found(bare: Path) -> None:
    assert models.resolve(EmbeddedSettings()) is None
    bare.mkdir(parents=True)
    (bare / models.DEFAULT_FILE).write_bytes(gguf({}))
    assert models.resolve(EmbeddedSettings()) == ModelFile(models.DEFAULT_NAME, bare / models.DEFAULT_FILE)


@pytest.mark.parametrize(
    ("file", "name"),
    [("Qwen3-0.6B-Q8_0.gguf", "qwen3-0.6b-q8_0"), ("My Model (2).gguf", "my-model--2-"), ("A:b.gguf", "a-b")],
)
def test_a_configured_model_is_called_after_its_file(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / file).write_bytes(gguf({}))
    assert models.resolve(EmbeddedSettings(model=str(tmp_path / file))) == ModelFile(name, tmp_path / file)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read: No such file"), (b"hello", "is not a GGUF model"), (b"", "is not")]
)
def test_a_configured_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        models.resolve(EmbeddedSettings(model=str(path)))
    (problem,) = caught.value.problems
    assert problem.startswith(f"embedded.model: {path}: ")
    assert said in problem


def said_of(model: ModelFile | None) -> str:
    with pytest.raises(OblixError) as caught:
        models.look_into(model)
    assert caught.value.code == "engine_unavailable"
    return caught.value.message


def test_what_is_missing_is_told_without_naming_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    assert "oblix pull" in said_of(None)
    gone = said_of(ModelFile("model", path))
    assert "model.gguf cannot be read" in gone
    path.write_bytes(b"hello, I am no model at all, and long")
    text = said_of(ModelFile("model", path))
    assert "model.gguf is not a GGUF model" in text
    assert not any(str(tmp_path) in said for said in (gone, text))
    path.write_bytes(gguf({}))
    facts, size = models.look_into(ModelFile("model", path))
    assert facts.chat
    assert size == path.stat().st_size
    monkeypatch.setattr(models, "RUNTIME", "a_package_that_nobody_has")
    assert "pip install 'oblix-actors[embedded]'" in said_of(ModelFile("model", path))
