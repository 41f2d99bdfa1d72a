"""The entry: version and help, and that neither waits for what it does not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from oblix_actors import __version__
from oblix_actors.cli.app import app

COMMANDS = ("serve", "ask", "models", "route", "agents", "check", "pull", "server")


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environ},
    )


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str) -> None:
    result = python("-m", "oblix_actors", option)
    assert (result.returncode, result.stdout) == (0, f"oblix {__version__}\n")


def test_version_imports_nothing() -> None:
    code = (
        "import sys; sys.argv[1:] = ['--version']; from oblix_actors.__main__ import main; main(); "
        "sys.exit(sum(name in sys.modules for name in ('typer', 'rich', 'trio', 'msgspec', 'httpx', 'structlog')))"
    )
    assert python("-c", code).returncode == 0


def test_help_imports_neither_the_server_nor_its_libraries() -> None:
    code = (
        "import sys; import oblix_actors.cli.app; "
        "sys.exit(sum(name in sys.modules for name in ('trio', 'httpx', 'quart', 'hypercorn', 'structlog', 'psutil')))"
    )
    assert python("-c", code).returncode == 0


def test_version_beside_other_options() -> None:
    result = CliRunner().invoke(app, ["--version", "serve"])
    assert (result.exit_code, result.stdout) == (0, f"oblix {__version__}\n")


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(f" {command} " in result.stdout for command in COMMANDS)


def test_without_arguments_there_is_help() -> None:
    result = CliRunner().invoke(app, [])
    assert "Usage" in result.output
    assert result.exit_code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_has_a_help_text(command: str) -> None:
    import typer

    group = typer.main.get_command(app)
    found = group.commands[command]  # type: ignore[attr-defined]
    assert found.help
    assert found.help.strip().splitlines()[0].endswith(".")
    assert [option.name for option in found.params if not getattr(option, "help", None)] == []
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["serv"])
    assert result.exit_code == 2
    assert "serve" in result.output


def test_an_encoding_that_lacks_a_character_is_no_reason_to_crash() -> None:
    result = python("-m", "oblix_actors", "check", "--config", "/no/such/…", PYTHONIOENCODING="ascii")
    assert result.returncode == 2
    assert "there is no such file" in result.stderr
    assert "Traceback" not in result.stderr
