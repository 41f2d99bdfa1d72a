"""``oblix route``: through a server, and without one; as tables and as JSON; and what it refuses."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from oblix_actors.cli import plan_table, remote
from oblix_actors.cli.app import app
from oblix_actors.errors import OblixError
from tests.conftest import FaultServer
from tests.front.shapes import Plan, read

ALONE = '[routing]\ndiscover = false\n[embedded]\nenabled = false\n[[providers]]\nname = "script"\nkind = "scripted"\n'
OFF = '[[providers]]\nname = "off"\nkind = "openai"\nbase_url = "http://127.0.0.1:1/v1"\nmodels = ["m"]\n'

PLAN: dict[str, Any] = {
    "routing_decision": {
        "policy": "balanced",
        "target": "cloud",
        "reason": "this machine is critical",
        "privacy": "any",
        "privacy_reason": "no rule restricts it",
        "resource_routing": {"state": "critical", "target": "cloud", "reason": "cpu 95 % > 90 %; memory 40 %"},
        "connectivity_routing": {"state": "optimal", "target": "cloud", "reason": "default route through eth0"},
        "warming": "ollama:big",
    },
    "candidates": [
        {
            "model": "sky:gpt-4o",
            "locality": "cloud",
            "score": 5.6,
            "reason": "cloud; cloud first",
            "expected_seconds": 5.6,
            "expected_cost": 0.00301,
            "excluded": None,
        },
        {
            "model": "ollama:\x1b[31mbig",
            "locality": "local",
            "score": 130.0,
            "reason": "local; cloud first",
            "expected_seconds": 130.0,
            "expected_cost": 0.0,
            "excluded": None,
        },
        {
            "model": "off:*",
            "locality": "lan",
            "score": None,
            "reason": "connection refused",
            "expected_seconds": None,
            "expected_cost": None,
            "excluded": "health",
        },
    ],
}


def route(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["route", *arguments], input=stdin)


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        free: int = listener.getsockname()[1]
        return free


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    """What is asked of a server, which answers with :data:`PLAN`."""
    found: list[tuple[str, str, dict[str, Any]]] = []

    async def post(self: remote.Remote, path: str, body: dict[str, Any]) -> Any:
        found.append((self.url, path, body))
        return PLAN

    monkeypatch.setattr(remote.Remote, "post", post)
    return found


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_decision_as_tables(asked: list[Any]) -> None:
    result = route("Hi", "--url", "h:1/v1")
    assert result.exit_code == 0, result.stderr
    assert lines(result.stdout) == [
        "Machine critical → cloud cpu 95 % > 90 %",
        "memory 40 %",
        "Network optimal → cloud default route through eth0",
        "Policy balanced → cloud this machine is critical",
        "Privacy any no rule restricts it",
        "Warming ollama:big is loaded meanwhile, for the next request",
        "",
        "Model Where Score Expected Cost Why",
        "1 sky:gpt-4o cloud 5.60 5.6 s $0.0030 cloud first",
        "2 ollama:[31mbig local 130.00 2.2 min free cloud first",
        "",
        "Left out Where Rule Why",
        "off:* lan health connection refused",
    ]
    assert result.stderr == "Nothing was generated. Decided by the server at http://h:1\n"


def test_what_is_asked(asked: list[Any]) -> None:
    route(
        "Hi", "--url", "http://h:1", "-m", "auto:fast", "--privacy", "lan",
        "--what-if", " connectivity=disconnected, cpu=95%,", "--what-if", "battery=5.5",
    )  # fmt: skip
    route("-", "--url", "http://h:1", stdin="from a pipe")
    user = {"role": "user", "content": "Hi"}
    what_if = {"connectivity": "disconnected", "cpu": 95.0, "battery": 5.5}
    assert asked == [
        (
            "http://h:1",
            "/v1/route",
            {"model": "auto:fast", "messages": [user], "oblix": {"privacy": "lan", "what_if": what_if}},
        ),
        ("http://h:1", "/v1/route", {"model": "auto", "messages": [{"role": "user", "content": "from a pipe"}]}),
    ]


def test_json_is_the_servers(asked: list[Any]) -> None:
    result = route("Hi", "--url", "http://h:1", "--json")
    assert json.loads(result.stdout) == PLAN
    assert result.stderr == ""


def test_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def post(self: remote.Remote, path: str, body: dict[str, Any]) -> Any:
        return {**PLAN, "candidates": PLAN["candidates"][2:]}

    monkeypatch.setattr(remote.Remote, "post", post)
    result = route("Hi", "--url", "http://h:1")
    assert result.exit_code == 1
    assert "Nobody can answer this now." in result.stderr
    assert "off:* lan health" in "\n".join(lines(result.stdout))
    assert route("Hi", "--url", "http://h:1", "--json").exit_code == 1


@pytest.mark.parametrize("answer", [{}, {"candidates": None, "routing_decision": None}, {"candidates": [{}]}])
def test_a_server_of_another_age_is_no_reason_to_crash(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    async def post(self: remote.Remote, path: str, body: dict[str, Any]) -> Any:
        return answer

    monkeypatch.setattr(remote.Remote, "post", post)
    result = route("Hi", "--url", "http://h:1")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Machine" in result.stdout


def test_a_server_that_refuses(monkeypatch: pytest.MonkeyPatch, fault_server: FaultServer) -> None:
    result = route("Hi", "--url", fault_server.url)  # which has no such path
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")

    async def post(self: remote.Remote, path: str, body: dict[str, Any]) -> Any:
        raise OblixError("busy", "The router is busy.")

    monkeypatch.setattr(remote.Remote, "post", post)
    result = route("Hi", "--url", "http://h:1")
    assert (result.exit_code, result.stderr) == (1, "error: The router is busy.\n")


def test_without_a_server_one_is_started_for_the_look(port: int) -> None:
    Path("oblix.toml").write_text(f"[server]\nport = {port}\n" + ALONE + OFF)
    result = route("Hi", "--json", "--what-if", "connectivity=disconnected,cpu=95")
    assert result.exit_code == 0, result.stderr
    plan = read(json.loads(result.stdout), Plan)
    assert plan.ranked[0].startswith("script:")
    assert [rule for name, rule in plan.out.items() if name.startswith("off:")] == ["health"]
    decision = plan.routing_decision
    assert decision.resource_routing.state == "critical"
    assert "what if: cpu 95 % > 90 %" in decision.resource_routing.reason
    assert decision.connectivity_routing.state == "disconnected"


def test_without_a_server_and_a_model_that_nobody_has(port: int) -> None:
    Path("oblix.toml").write_text(f"[server]\nport = {port}\n" + ALONE)
    result = route("Hi", "-m", "nobody-has-this")
    assert result.exit_code == 1
    assert "nobody-has-this" in result.stdout
    assert f"there is none at http://127.0.0.1:{port}" in result.stderr


@pytest.mark.parametrize(
    ("what_if", "said"),
    [
        ("cpu", "cpu is a number from 0 to 100, not ''"),
        ("cpu=", "cpu is a number from 0 to 100, not ''"),
        ("cpu=nan", "not 'nan'"),
        ("cpu=101", "not '101'"),
        ("battery=-1", "not '-1'"),
        ("memory=x", "not 'x'"),
        ("connectivity=off", "connectivity is optimal, degraded or disconnected, not 'off'"),
        ("cup=3", "there is no 'cup'; there are connectivity, cpu, memory, gpu, battery"),
        ("nonsense", "'nonsense' is not KEY=VALUE"),
    ],
)
def test_what_cannot_be_supposed(what_if: str, said: str) -> None:
    result = route("Hi", "--what-if", what_if)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("arguments", [[], ["Hi", "--privacy", "Local"], ["Hi", "--what-if"]])
def test_usage_errors(arguments: list[str]) -> None:
    assert route(*arguments).exit_code == 2


def test_a_prompt_without_end() -> None:
    result = route("-", stdin="x" * 4_200_000)
    assert result.exit_code == 2
    assert "the prompt is longer than 4194304 characters" in result.stderr


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        (plan_table._seconds, 0.03, "< 0.1 s"),
        (plan_table._seconds, 9.94, "9.9 s"),
        (plan_table._seconds, 42.4, "42 s"),
        (plan_table._seconds, 200.0, "3.3 min"),
        (plan_table._seconds, None, "–"),
        (plan_table._dollars, 0.0, "free"),
        (plan_table._dollars, 0.00001, "< $0.0001"),
        (plan_table._dollars, 1.5, "$1.5000"),
        (plan_table._dollars, None, "–"),
    ],
)
def test_figures(shown: Callable[[Any], str], value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_a_terminal(width: int) -> None:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(plan_table._ranked(PLAN["candidates"][:2], plain=False))
        console.print(plan_table._out(PLAN["candidates"][2:], plain=False))
    text = captured.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
