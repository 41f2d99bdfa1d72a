"""Two network namespaces with a cable between them: "here", and a "cloud" that is one hop away.

Everything is made in new namespaces and goes with them; the machine's own interfaces are never touched. Needs root
and iproute2. :mod:`tests.actors.link_child` is what runs inside.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import trio

ROOT = Path(__file__).parents[2]
CLOUD = "203.0.113.10"
CLOUD_PORT = 8000


@cache
def why_not() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "needs Linux with iproute2 (the `ip` command)"
    if os.geteuid() != 0:
        return "needs root, to make network namespaces of its own"
    name = f"oblix-try-{os.getpid()}"
    if ip("netns", "add", name, check=False) != 0:
        return "this system (a container without CAP_SYS_ADMIN?) does not let us make network namespaces"
    works = ip("-n", name, "link", "add", "try0", "type", "veth", "peer", "name", "try1", check=False) == 0
    ip("netns", "del", name)
    return "" if works else "this kernel has no veth interfaces"


def ip(*words: str, check: bool = True) -> int:
    """Run iproute2's ``ip``; it takes some milliseconds."""
    return subprocess.run(["ip", *words], check=check, capture_output=not check).returncode


class Cable:
    """The two namespaces, ``here`` and ``there``, and what can happen to the cable between them."""

    def __init__(self, name: str) -> None:
        self.here, self.there = f"{name}-here", f"{name}-there"

    def build(self) -> None:
        """``cable0`` here has the default route to the cloud's address behind ``cable1`` there."""
        ip("netns", "add", self.here)
        ip("netns", "add", self.there)
        ip("-n", self.here, "link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", self.there)
        ip("-n", self.here, "addr", "add", "10.77.0.1/24", "dev", "cable0")
        ip("-n", self.there, "addr", "add", "10.77.0.2/24", "dev", "cable1")
        ip("-n", self.there, "addr", "add", f"{CLOUD}/32", "dev", "lo")
        for space, interface in (
            (self.here, "lo"),
            (self.there, "lo"),
            (self.there, "cable1"),
            (self.here, "cable0"),
        ):
            ip("-n", space, "link", "set", interface, "up")
        self.add_route()

    def remove(self) -> None:
        """Both namespaces go, with all that is in them."""
        for space in (self.here, self.there):
            ip("netns", "del", space, check=False)

    def add_route(self) -> None:
        ip("-n", self.here, "route", "replace", "default", "via", "10.77.0.2")

    def take_down(self) -> None:
        """As ``ip link set down``, or an administrator, does: the kernel forgets the routes."""
        ip("-n", self.here, "link", "set", "cable0", "down")

    def bring_up(self) -> None:
        ip("-n", self.here, "link", "set", "cable0", "up")
        self.add_route()

    def pull(self) -> None:
        """The other end goes: the carrier is lost, address and routes stay."""
        ip("-n", self.there, "link", "set", "cable1", "down")

    def plug(self) -> None:
        ip("-n", self.there, "link", "set", "cable1", "up")

    def swallow(self) -> None:
        """The link stays up, and nothing comes back any more."""
        ip("-n", self.there, "route", "add", "blackhole", "10.77.0.1/32")

    def give_back(self) -> None:
        ip("-n", self.there, "route", "del", "blackhole", "10.77.0.1/32")


@contextmanager
def cable() -> Iterator[Cable]:
    """A cable of one's own."""
    made = Cable(f"oblix-{os.getpid()}")
    try:
        made.build()
        yield made
    finally:
        made.remove()


class Child:
    """A process inside a namespace that prints one JSON object a line."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._buffer = b""

    async def line(self) -> dict[str, Any]:
        """The next line. Raises ``EOFError`` when the process has ended."""
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            more = await self._process.stdout.receive_some()
            if not more:
                raise EOFError("the process in the namespace has ended")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    async def until(self, **wanted: str) -> list[dict[str, Any]]:
        """Lines up to and including the first that holds ``wanted``."""
        seen = [await self.line()]
        while not wanted.items() <= seen[-1].items():
            seen.append(await self.line())
        return seen

    async def say(self, word: str) -> None:
        """Give the process a command."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{word}\n".encode())


@asynccontextmanager
async def inside(space: str, *words: str) -> AsyncIterator[Child]:
    """Run ``tests.actors.link_child`` with ``words`` in the namespace ``space``; it is ended with the block."""
    command = ["ip", "netns", "exec", space, sys.executable, "-m", "tests.actors.link_child", *words]
    run = partial(
        trio.run_process,
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        try:
            yield Child(process)
        finally:
            nursery.cancel_scope.cancel(reason="the test is done with this process")
