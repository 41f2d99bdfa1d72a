"""``oblix check``: every problem, or what the configuration comes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from oblix_actors.cli.app import app

GOOD = """
[[providers]]
name = "box"
kind = "openai"
base_url = "http://box.lan:8000/v1"
api_key_env = "BOX_KEY"
"""


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def test_without_a_file() -> None:
    result = check()
    assert result.exit_code == 0
    assert "No config file: the defaults hold." in result.stdout
    assert "looked for at 127.0.0.1:11434" in result.stdout
    assert "Not set: OPENAI_API_KEY, ANTHROPIC_API_KEY" in result.stdout
    assert "embedded" in result.stdout


def test_a_good_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOX_KEY", "sk-hidden123")
    Path("oblix.toml").write_text(GOOD)
    result = check()
    assert result.exit_code == 0
    assert "oblix.toml is right." in result.stdout
    row = next(line.split() for line in result.stdout.splitlines() if line.startswith("box"))
    assert row == ["box", "openai", "lan", "box.lan:8000", "BOX_KEY", "configured"]
    assert "ollama" not in result.stdout
    assert "hidden" not in result.output


def test_a_bad_file() -> None:
    Path("bad.toml").write_text("[server]\nport = 'x'\nhots = 1\n")
    result = check("--config", "bad.toml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "error: bad.toml: server.port: it must be a whole number" in result.stderr
    assert "error: bad.toml: server.hots: unknown key; did you mean host?" in result.stderr
    assert "2 problems: the server would not start." in result.stderr


def test_what_lies_outside_the_file_is_looked_at_too() -> None:
    Path("oblix.toml").write_text(
        GOOD + '[server]\napi_keys_file = "none"\nhost = "0.0.0.0"\n[embedded]\nmodel = "none.gguf"\n'
    )
    result = check()
    assert result.exit_code == 2
    assert "provider 'box': the environment variable BOX_KEY is not set" in result.stderr
    assert "[server]: the key file" in result.stderr
    assert "embedded.model: " in result.stderr
    assert "3 problems" in result.stderr


def test_a_bad_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "api.example.org/v1")
    result = check()
    assert result.exit_code == 2
    assert "OPENAI_BASE_URL: it must begin with http:// or https://" in result.stderr


def test_warnings_are_no_errors() -> None:
    Path("oblix.toml").write_text('[server]\nhost = "0.0.0.0"\n')
    result = check()
    assert result.exit_code == 0
    assert "warning: server.host: 0.0.0.0 is open to other machines" in result.stderr


def test_json() -> None:
    found = json.loads(check("--json").stdout)
    assert found["ok"] is True
    assert found["file"] is None
    assert [row["name"] for row in found["providers"]] == ["ollama", "lmstudio", "llamacpp", "vllm", "embedded"]
    assert found["not_set"] == ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]
    Path("oblix.toml").write_text("port = 3\n")
    result = check("--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert found["problems"] == ["oblix.toml: port: unknown key; it belongs into [server]"]


@pytest.mark.parametrize("command", [["serve"], ["ask", "x"], ["models"]])
def test_no_command_starts_with_a_bad_file(command: list[str]) -> None:
    Path("oblix.toml").write_text("[server]\nport = 'x'\n")
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "oblix.toml: server.port" in result.stderr
