"""A real server in a real process, launched in either of the two supported ways."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Launch = Literal["oblix serve", "hypercorn"]
LAUNCHES: Final[tuple[Launch, ...]] = ("oblix serve", "hypercorn")

KEY: Final = "a-key-of-the-tests"
EMBEDDED: Final = "embedded:smollm2-135m"
MISSING: Final = "nobody:has-this"
LIMITED: Final = "script:error:429"
BREAKING: Final = "script:truncate-3"
SLOW: Final = "script:slow-60000"
"""A minute between its words."""
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30

CONFIG: Final = """\
[server]
host = "127.0.0.1"
port = {port}
api_keys_env = "OBLIX_TEST_KEYS"
drain_seconds = 10

[embedded]
niceness = 0

[routing]
discover = false

[[providers]]
name = "script"
kind = "scripted"
max_concurrency = 1
"""


@dataclass(frozen=True)
class Server:
    """Where it listens, and what it wrote."""

    launch: Launch
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def base_url(self) -> str:
        """What a client is told."""
        return f"http://127.0.0.1:{self.port}/v1"

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one GET, without a key."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait_until_healthy(self) -> None:
        """Return once ``/health`` answers 200; raise with the log if it does not, or if the process ends."""
        last = "nothing listened"
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                status, body = self.get("/health")
            except OSError as error:
                last = repr(error)
            else:
                if status == 200:
                    return
                last = f"{status} {body[:500]!r}"
            try:
                self.process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        raise AssertionError(f"{self.launch} was not healthy: {last}\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert isinstance(port, int)
        return port


def command(launch: Launch, port: int, config: Path) -> list[str]:
    """The command line of ``launch``."""
    if launch == "oblix serve":
        return [sys.executable, "-m", "oblix_actors", "serve", "--config", str(config)]
    return [sys.executable, "-m", "hypercorn", "-k", "trio", "-b", f"127.0.0.1:{port}", "oblix_actors.asgi:app"]


@contextmanager
def running(launch: Launch, folder: Path) -> Iterator[Server]:
    """Run the server; after the block it is told to stop, and must do so cleanly."""
    port = free_port()
    config = folder / "oblix.toml"
    config.write_text(CONFIG.format(port=port))
    log = folder / "server.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
        "OBLIX_TEST_KEYS": KEY,
        "PYTHONUNBUFFERED": "1",
    }
    if launch == "hypercorn":
        environment["OBLIX_CONFIG"] = str(config)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(launch, port, config),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )
    server = Server(launch, port, process, log)
    try:
        server.wait_until_healthy()
        yield server
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{launch} did not stop within {STOP_SECONDS} s\n{server.tail()}") from None
    assert code == 0, f"{launch} ended with {code}\n{server.tail()}"
