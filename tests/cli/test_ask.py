"""``oblix ask`` and ``oblix models`` against a server that answers as it is told, and in this very process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner, Result

from oblix_actors.cli import terminal
from oblix_actors.cli.app import app
from tests.conftest import FaultServer

ALONE = '[routing]\ndiscover = false\n[embedded]\nenabled = false\n[[providers]]\nname = "script"\nkind = "scripted"\n'


def ask(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["ask", *arguments], input=stdin)


@pytest.fixture
def url(fault_server: FaultServer) -> str:
    return fault_server.url


def test_the_answer_is_on_stdout_and_who_gave_it_on_stderr(url: str) -> None:
    result = ask("Hi", "--url", url, "-m", "words-3")
    assert (result.exit_code, result.stdout) == (0, "w0 w1 w2\n")
    assert result.stderr.startswith("— words-3; first word after ")


def test_without_streaming(url: str) -> None:
    result = ask("Hi", "--url", f"{url}/v1/", "-m", "json", "--no-stream")
    assert (result.exit_code, result.stdout) == (0, "w0 w1 w2 w3 w4\n")


def test_what_is_asked(url: str) -> None:
    result = ask("Hi", "--system", "Be brief.", "--url", url, "-m", "echo")
    body = json.loads(result.stdout)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert (body["model"], body["stream"]) == ("echo", True)


@pytest.mark.parametrize("arguments", [["-"], []])
def test_a_question_from_standard_input(url: str, arguments: list[str]) -> None:
    result = ask(*arguments, "--url", url, "-m", "echo", stdin="from a pipe\n")
    assert json.loads(result.stdout)["messages"][0]["content"] == "from a pipe\n"


@pytest.mark.parametrize(("arguments", "stdin"), [([""], None), (["-"], " \n"), (["x" * 5_000_000], None)])
def test_no_question(arguments: list[str], stdin: str | None) -> None:
    result = ask(*arguments, stdin=stdin)
    assert result.exit_code == 2
    assert "the question is " in result.stderr


@pytest.mark.parametrize(
    ("model", "shown", "said"),
    [
        ("status-429", "", "status 429 as ordered"),
        ("status-500", "", "status 500 as ordered"),
        ("no-such-model", "", "does not exist"),
        ("drop-after-2", "w0 w1\n", "closed the connection before its answer was complete"),
        ("truncate-after-2", "w0 w1\n", "the connection ended before the answer was complete"),
        ("error-frame-after-2", "w0 w1\n", "error: "),
        ("malformed", "w0 w1 w2\n", "not the JSON it should be"),
    ],
)
def test_failures_end_with_code_1_and_the_reason(url: str, model: str, shown: str, said: str) -> None:
    result = ask("Hi", "--url", url, "-m", model)
    assert result.exit_code == 1
    assert result.stdout == shown
    assert said in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
async def test_ctrl_c_is_quiet(fault_server: FaultServer) -> None:
    command = [sys.executable, "-m", "oblix_actors", "ask", "Hi", "--url", fault_server.url, "-m", "hang-after-2@ask"]
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        shown = b""
        while shown != b"w0 w1":
            shown += await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert [await process.stdout.receive_some(), await process.stdout.receive_some()] == [b"\n", b""]
        assert await process.stderr.receive_some() == b""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_a_server_that_is_named_and_not_there_is_a_failure() -> None:
    result = ask("Hi", "--url", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "connection refused" in result.stderr


def test_the_key_goes_to_the_server_that_it_is_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", "wrong")
    Path("oblix.toml").write_text('[server]\napi_keys_env = "KEYS"\n')
    assert ask("Hi", "--url", url, "-m", "words-1").exit_code == 0  # the configured key is for the configured server
    monkeypatch.setenv("OBLIX_API_KEY", "wrong")
    result = ask("Hi", "--url", url, "-m", "words-1")
    assert result.exit_code == 1
    assert "Incorrect API key" in result.stderr


def test_without_a_server_one_is_started_for_the_question() -> None:
    Path("oblix.toml").write_text(f"[server]\nport = {free_port()}\n" + ALONE)
    result = ask("Hi there", "-m", "script:echo")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "Hi there\n"
    assert "starting one for this question" in result.stderr
    assert "— script:echo (" in result.stderr


@pytest.mark.parametrize("streamed", ["--stream", "--no-stream"])
def test_its_failures_are_told_in_the_same_way(streamed: str) -> None:
    Path("oblix.toml").write_text(f"[server]\nport = {free_port()}\n" + ALONE)
    result = ask("Hi", "-m", "nobody-has-this", streamed)
    assert result.exit_code == 1
    assert "No provider has the model" in result.stderr
    assert "Traceback" not in result.stderr


def test_models_without_a_server() -> None:
    Path("oblix.toml").write_text(f"[server]\nport = {free_port()}\n" + ALONE)
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0, result.stderr
    assert any(line.startswith("script:echo") for line in result.stdout.splitlines())
    rows = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    row = next(row for row in rows if row["model"] == "script:echo")
    assert (row["locality"], row["status"]) == ("local", "ready")


def test_no_models_at_all_is_a_failure() -> None:
    Path("oblix.toml").write_text(
        f"[server]\nport = {free_port()}\n[routing]\ndiscover = false\n[embedded]\nenabled = false\n"
    )
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 1
    assert "There is no model that could answer." in result.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, tab\tand\nline", "plain, tab\tand\nline"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07", "[31mred[0m ]0;title"),
        ("\r\x00\x9b2J", "2J"),
        ("é 🦉 中", "é 🦉 中"),
    ],
)
def test_a_terminal_is_not_driven_by_a_text(text: str, shown: str) -> None:
    assert terminal.printable(text) == shown
