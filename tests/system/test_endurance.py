"""Nothing leaks: after a thousand jobs, a hundred of them left by their clients, everything is back where it was."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import FaultServer
from tests.system.gateway import Gateway, running

UPSTREAM = """
[embedded]
enabled = false

[[providers]]
name = "up"
kind = "openai"
base_url = "{url}"
models = ["words-20", "hang"]
"""
AT_ONCE = 16
MEGABYTE = 1 << 20


def test_a_thousand_jobs_leave_nothing_behind(fault_server: FaultServer, tmp_path: Path) -> None:
    with running(tmp_path, UPSTREAM.format(url=fault_server.openai_url)) as gateway:
        many(gateway, 100)
        before, memory = gateway.holds(), gateway.memory()
        many(gateway, 1000)
        gateway.until(lambda: gateway.get("/health")[1]["jobs"]["open"] == 0, "no job open")
        gateway.until(lambda: settled(before, gateway.holds()), "back to where it was")
        grown = gateway.memory() - memory
        assert grown < 12 * MEGABYTE, f"{grown / MEGABYTE:.1f} MB more than before"


def settled(before: dict[str, int], now: dict[str, int]) -> bool:
    """Whether nothing is held that was not held before; a few idle connections and threads come and go."""
    return all(now[name] <= before[name] + 4 for name in before)


def many(gateway: Gateway, count: int) -> None:
    """``count`` jobs, some at once: every second one streamed, every tenth left in the middle."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for answer in pool.map(lambda number: one(gateway, number), range(count)):
            assert answer in {"whole", "left"}


def one(gateway: Gateway, number: int) -> str:
    """One job, as its client sees it."""
    if number % 10 == 9:
        connection = gateway.connect()
        body = {"model": "up:hang", "stream": number % 20 == 9, "messages": [{"role": "user", "content": "Go."}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        connection.close()
        return "left"
    status, body_ = gateway.ask("up:words-20", stream=number % 2 == 0)
    return "whole" if status == 200 and b"w19" in body_ else f"{status} {body_[:200]!r}"
