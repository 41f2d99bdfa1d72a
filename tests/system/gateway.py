"""A real gateway in a real process, with the fault server behind it, and what its process holds."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.clients.server import free_port

PATIENCE: Final = 60.0
"""Seconds for a start, a stop or an answer: far more than any needs, so that only a hang is taken for one."""

HEAD: Final = """\
[server]
port = {port}
drain_seconds = 10

[routing]
discover = false
remember_speeds = false

[log]
format = "json"
"""


@dataclass
class Gateway:
    """One running gateway."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def base_url(self) -> str:
        """What a client is told."""
        return f"http://127.0.0.1:{self.port}/v1"

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of one GET."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def ask(self, model: str, *, stream: bool = True, **fields: Any) -> tuple[int, bytes]:
        """Status and whole body of one chat request."""
        connection = self.connect()
        try:
            body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Go."}], **fields}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def children(self) -> list[psutil.Process]:
        """Its child processes: the embedded model's, if it runs."""
        return psutil.Process(self.process.pid).children()

    def holds(self) -> dict[str, int]:
        """What leaks would show in: trio tasks, open files and sockets, threads, open jobs."""
        _, health = self.get("/health")
        process = psutil.Process(self.process.pid)
        return {
            "tasks": health["runtime"]["tasks"],
            "files": process.num_fds(),
            "threads": process.num_threads(),
            "jobs": health["jobs"]["open"],
        }

    def memory(self) -> int:
        """Resident bytes."""
        resident = psutil.Process(self.process.pid).memory_info().rss
        assert isinstance(resident, int)
        return resident

    def until(self, true: Any, what: str) -> None:
        """Ask ``true()`` until it is; fail after a long while."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert self.process.poll() is None, f"the gateway has ended\n{self.tail()}"
            assert time.monotonic() < deadline, f"{what}: still not\n{self.tail()}"

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def running(folder: Path, config: str) -> Iterator[Gateway]:
    """Run ``oblix serve`` with ``config`` below :data:`HEAD`; it must stop cleanly after the block."""
    port = free_port()
    (folder / "oblix.toml").write_text(HEAD.format(port=port) + config)
    log = folder / "gateway.log"
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "oblix_actors", "serve", "--config", str(folder / "oblix.toml")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=keyless,
            cwd=folder,
        )
    gateway = Gateway(port, process, log)
    try:
        gateway.until(lambda: _healthy(gateway), "healthy")
        yield gateway
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=PATIENCE)
        assert code == 0, f"it ended with {code}\n{gateway.tail()}"
    finally:
        process.kill()
        process.wait()


def _healthy(gateway: Gateway) -> bool:
    try:
        return gateway.get("/livez")[0] == 200 and gateway.get("/health")[0] == 200
    except OSError:
        return False
