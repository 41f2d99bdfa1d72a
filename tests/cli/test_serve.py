"""``oblix serve`` and ``oblix server`` up to the point where they serve: settings, messages, codes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from oblix_actors import system
from oblix_actors.cli import serve as serve_module
from oblix_actors.cli.app import app
from oblix_actors.cli.welcome import curl, snippet, welcome
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.errors import ConfigError, OblixError, StartFailed
from oblix_actors.settings import ProviderSettings, ServerSettings, Settings


class Served:
    """What the command handed to the composition root, which is told what to answer."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.environ: Mapping[str, str] = {}
        self.answer: int | BaseException = 0

    async def __call__(self, settings: Settings, *, on_ready: Callable[[Any], None], environ: Mapping[str, str]) -> int:
        self.settings, self.environ = settings, environ
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    made = Served()
    monkeypatch.setattr(system, "serve", made)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_options_win_over_the_file(served: Served) -> None:
    Path("oblix.toml").write_text('[server]\nport = 1\nhost = "::1"\nmax_jobs = 7\n[log]\nlevel = "debug"\n')
    assert run("serve").exit_code == 0
    assert (served.settings.server.port, served.settings.embedded.enabled) == (1, True)
    result = run(
        "serve", "--port", "0", "--host", "127.0.0.1", "--no-embedded", "--no-discover", "--log-level", "error"
    )
    assert result.exit_code == 0, result.output
    assert served.settings.server == ServerSettings(port=0, host="127.0.0.1", max_jobs=7)
    assert served.settings.embedded.enabled is False
    assert served.settings.routing.discover is False
    assert served.settings.log.level == "error"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StartFailed("router did not start: X: y"), 1, "error: router did not start: X: y"),
        (ConfigError(["a: b", "c: d"]), 2, "error: a: b\nerror: c: d"),
        (ExceptionGroup("g", [ExceptionGroup("h", [ConfigError(["a: b"])])]), 2, "error: a: b"),
        (OblixError("internal", "no way"), 1, "error: no way"),
        (OSError(errno.EACCES, "Permission denied"), 1, "needs more rights"),
        (OSError(errno.EADDRNOTAVAIL, "x"), 1, "no such address"),
        (socket.gaierror(-2, "x"), 1, "does not resolve"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("g", [KeyboardInterrupt(), StartFailed("x")]), 130, ""),
    ],
)
def test_a_start_that_fails(served: Served, error: BaseException, code: int, said: str) -> None:
    served.answer = error
    result = run("serve")
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_defect_is_not_hidden(served: Served) -> None:
    served.answer = ExceptionGroup("g", [StartFailed("x"), ZeroDivisionError()])
    result = run("serve")
    assert isinstance(result.exception, ExceptionGroup)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve", "--port", str(port))
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1, port {port}: " in result.stderr
    assert f"oblix serve --port {port + 1 if port < 65535 else 62549}" in result.stderr
    assert f"(process {os.getpid()})" in result.stderr


def test_who_listens_may_be_unknown() -> None:
    assert serve_module._listener(0) == ""


def test_answers_that_were_cut_are_no_clean_end(served: Served) -> None:
    served.answer = 2
    result = run("serve")
    assert result.exit_code == 1
    assert "2 answers were cut off" in result.stderr


def test_an_open_door_is_warned_of(served: Served) -> None:
    result = run("serve", "--host", "0.0.0.0")
    assert result.exit_code == 0
    assert "warning: server.host: 0.0.0.0 is open" in result.stderr


# -- the original's words


def test_the_originals_words(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "box:80")
    result = run(
        "server", "--local-model", "ollama:llama3.2:3b", "--cloud-model", "claude:claude-x", "--cloud-api-key",
        "sk-hidden123", "--port", "5", "--host", "127.0.0.2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    local, cloud = served.settings.providers
    assert local == ProviderSettings(name="ollama", kind="ollama", base_url="http://box:80", models=("llama3.2:3b",))
    assert (cloud.name, cloud.kind, cloud.models) == ("claude", "anthropic", ("claude-x",))
    assert served.environ[cloud.api_key_env or ""] == "sk-hidden123"
    assert (served.settings.server.host, served.settings.server.port) == ("127.0.0.2", 5)
    assert "other users of this machine can read it" in result.stderr
    assert "hidden" not in result.output
    assert "hidden" not in str(os.environ)


def test_the_cloud_key_of_the_environment(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert run("server", "--cloud-model", "openai:gpt-x").exit_code == 0
    (cloud,) = served.settings.providers
    assert (cloud.base_url, cloud.api_key_env) == ("https://api.openai.com/v1", "OPENAI_API_KEY")


def test_without_models_it_is_serve(served: Served) -> None:
    assert run("server").exit_code == 0
    assert served.settings == Settings()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--local-model", "llama3"], "--local-model: it must be ollama:MODEL, not 'llama3'"),
        (["--local-model", "openai:x"], "--local-model: it must be ollama:MODEL"),
        (["--cloud-model", "claude:"], "--cloud-model: it must be openai:MODEL or claude:MODEL"),
        (["--cloud-model", "openai:x"], "OPENAI_API_KEY is not set"),
        (["--cloud-model", "claude:x"], "ANTHROPIC_API_KEY is not set"),
        (["--cloud-api-key", "sk-hidden123"], "there is no --cloud-model"),
    ],
)
def test_words_that_make_no_sense(served: Served, arguments: list[str], said: str) -> None:
    result = run("server", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "hidden" not in result.output


# -- what it prints when it serves


def state(name: str, **given: Any) -> ProviderState:
    return ProviderState(name=name, kind="openai", locality=given.pop("locality", "local"), order=0, **given)


def text(settings: Settings, *states: ProviderState, environ: Mapping[str, str] | None = None) -> str:
    console = Console(width=10_000, color_system=None)
    with console.capture() as captured:
        for part in welcome(settings, states, environ or {}, plain=True):
            console.print(part)
    return captured.get()


def test_the_welcome_says_what_was_found_and_what_was_not() -> None:
    models = (Model("a"), Model("b"), Model("embed", chat=False))
    shown = text(
        Settings(),
        state("ollama", status="ready", models=models),
        state("lmstudio", status="absent", reason="connection refused"),
        state("openai", status="down", reason="the key is refused", locality="cloud"),
        state("claude", locality="cloud"),
        state("embedded", status="ready", models=(Model("s"),)),
        environ={"OPENAI_API_KEY": "sk-hidden123", "ANTHROPIC_API_KEY": "x"},
    )
    lines = {line.split()[0]: " ".join(line.split()) for line in shown.splitlines() if line.strip()}
    assert lines["ollama"] == "ollama 2 local ready looked for at 127.0.0.1:11434"
    assert lines["openai"] == "openai – cloud down: the key is refused OPENAI_API_KEY is set"
    assert lines["claude"] == "claude – cloud no answer yet ANTHROPIC_API_KEY is set"
    assert lines["embedded"] == "embedded 1 local ready comes along; the last resort"
    assert lines["Looked"] == "Looked for and not found: lmstudio (127.0.0.1:1234)"
    assert "http://127.0.0.1:62549/v1" in lines["Oblix"]
    assert "hidden" not in shown


def test_the_welcome_when_nobody_can_answer() -> None:
    assert "No model can answer yet" in text(Settings(), state("ollama", status="absent"))


@pytest.mark.parametrize(
    ("host", "root"),
    [
        ("127.0.0.1", "http://127.0.0.1:62549"),
        ("0.0.0.0", "http://127.0.0.1:62549"),
        ("::1", "http://[::1]:62549"),
        ("::", "http://[::1]:62549"),
        ("box.lan", "http://box.lan:62549"),
    ],
)
def test_the_address_is_one_that_a_client_can_use(host: str, root: str) -> None:
    assert f"answers at {root}/v1" in text(Settings(server=ServerSettings(host=host)))


def test_what_there_is_to_try_is_right() -> None:
    import json
    import shlex

    words = shlex.split(curl("http://h", keyed=False))
    assert words[:2] == ["curl", "http://h/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == "auto"
    compile(snippet("http://h", False), "snippet", "exec")
    keyed = ServerSettings(api_keys_env="K")
    shown = text(Settings(server=keyed))
    assert "Authorization: Bearer $OBLIX_API_KEY" in shown
    assert 'api_key=os.environ["OBLIX_API_KEY"]' in shown
    compile(snippet("http://h", True), "snippet", "exec")
