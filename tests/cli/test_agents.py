"""``oblix agents``: through a server, and without one; as a table and as JSON."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from oblix_actors.cli import agents as agents_module
from oblix_actors.cli import remote
from oblix_actors.cli.app import app
from tests.front.shapes import Agent, read

ALONE = '[routing]\ndiscover = false\n[embedded]\nenabled = false\n[[providers]]\nname = "script"\nkind = "scripted"\n'
RUNNING = {"state": "running", "seconds": 42.4, "restarts": 0, "last_error": None, "mailbox": None, "sample": None}


def agents(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["agents", *arguments])


def answer_with(monkeypatch: pytest.MonkeyPatch, document: Any) -> None:
    async def get(self: remote.Remote, path: str, **_: Any) -> Any:
        assert path == "/v1/agents"
        return document

    monkeypatch.setattr(remote.Remote, "get", get)


def rows(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = {"depth": 1, "size": 372, "refused": 0}
    worker = {"status": "ready", "models": 1, "running": 2, "slots": 16, "waiting": 0}
    listed = [
        {**RUNNING, "name": "resource_monitor", "sample": {"state": "available", "reasons": ["cpu 3 %", "b", "c"]}},
        {**RUNNING, "name": "worker:a", "seconds": 7300, "mailbox": mailbox, "sample": worker},
    ]
    answer_with(monkeypatch, {"object": "list", "data": listed})
    result = agents("--url", "h:1")
    assert result.exit_code == 0
    assert rows(result) == [
        "Agent State Since Restarts Mailbox Last sample",
        "resource_monitor running 42 s 0 – available: cpu 3 %; b",
        "worker:a running 2 h 0 1/372 ready: 1 model, 2 of 16 slots busy",
    ]
    assert result.stderr == "2 actors of the server at http://h:1\n"
    assert json.loads(agents("--url", "h:1", "--json").stdout) == listed


def test_one_that_crashed_is_a_failure_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    full = {"depth": 9, "size": 9, "refused": 4}
    crashed = {
        **RUNNING, "name": "router", "state": "restarting", "restarts": 3, "last_error": "Key\x1b[2JError",
        "mailbox": full,
    }  # fmt: skip
    answer_with(monkeypatch, {"data": [crashed]})
    result = agents("--url", "h:1")
    assert result.exit_code == 1
    assert rows(result)[1] == "router restarting 42 s 3 9/9 (4 refused) –"
    assert "router crashed lately: Key[2JError" in result.stderr
    assert "1 actor of" in result.stderr


@pytest.mark.parametrize("document", [{}, {"data": None}, {"data": ["x", 1]}])
def test_a_server_of_another_age_is_no_reason_to_crash(monkeypatch: pytest.MonkeyPatch, document: Any) -> None:
    answer_with(monkeypatch, document)
    result = agents("--url", "h:1")
    assert result.exit_code == 1
    assert "0 actors" in result.stderr


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (None, "–"),
        ({}, "–"),
        ({"state": "critical", "reasons": []}, "critical"),
        ({"state": "critical", "reasons": ["a\x1b[2J", "b", "c"]}, "critical: a[2J; b"),
        ({"status": "down", "reason": "connection refused", "slots": 1}, "down: connection refused"),
        ({"status": "absent", "reason": "", "slots": 1}, "absent"),
        (
            {"status": "ready", "models": 3, "running": 1, "slots": 1, "waiting": 2},
            "ready: 3 models, 1 of 1 slots busy, 2 waiting",
        ),
        ({"open": 2, "limit": 9, "draining": True}, "2 of 9 jobs open, draining"),
        ({"phase": "ready", "leases": 2}, "ready, 2 requests"),
        ({"phase": "stopped", "leases": 0}, "stopped"),
        ({"some": 1, "thing": "x\x1b[2J", "else": [1], "none": None}, "some 1, thing x[2J"),
    ],
)
def test_a_sample_in_words(sample: Any, words: str) -> None:
    assert agents_module.in_words(sample) == words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (86_400 * 3, "3 d"), (None, "–")],
)
def test_how_long(seconds: float | None, text: str) -> None:
    assert agents_module._age(seconds) == text


def test_without_a_server_one_is_started_for_the_look() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    Path("oblix.toml").write_text(f"[server]\nport = {port}\n" + ALONE)
    result = agents("--json")
    assert result.exit_code == 0, result.stderr
    found = {agent.name: agent for agent in (read(entry, Agent) for entry in json.loads(result.stdout))}
    assert {"resource_monitor", "connectivity", "router", "worker:script"} <= set(found)
    monitor = found["resource_monitor"].sample
    assert monitor is not None
    assert monitor["memory_percent"] is not None
    worker = found["worker:script"]
    assert worker.mailbox is not None
    assert worker.sample is not None
    assert worker.sample["status"] == "ready"
