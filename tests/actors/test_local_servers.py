"""Local model servers are known by their processes' names, while they work for us."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from oblix_actors.actors import local_servers
from oblix_actors.actors.local_servers import LocalServers, find


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is called like one."""
    program = shutil.which("sleep")
    assert program is not None
    shutil.copy(program, tmp_path / "llama-server")
    with subprocess.Popen([tmp_path / "llama-server", "600"]) as process:
        yield process
        process.kill()


def test_a_server_is_found_by_its_name(server: subprocess.Popen[bytes]) -> None:
    assert server.pid in find()


async def test_nothing_is_looked_for_while_nobody_works_for_us(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def look() -> tuple[int, ...]:
        looks.append(1)
        return (4711,)

    monkeypatch.setattr(local_servers, "find", look)
    busy = False
    actor = LocalServers(lambda: busy)
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await trio.sleep(60)
        assert looks == []
        busy = True
        assert await actor.pids.newer(0) == ((4711,), 1)
        busy = False
        assert await actor.pids.newer(1) == ((), 2)
        nursery.cancel_scope.cancel(reason="the test is over")
