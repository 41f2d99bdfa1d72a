"""What several areas' tests share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What servers under test learn of their models is nothing that the user's own server should find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


class FaultServer:
    """The running fault server (:mod:`tests.faults`): where it is, and what it saw."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def openai_url(self) -> str:
        """The ``base_url`` for OpenAI's dialect."""
        return f"{self.url}/v1"

    async def get(self, path: str) -> Any:
        """One GET over a socket of its own, its answer as JSON."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: faults\r\n\r\n".encode())
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive_some()
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
            while len(body) < length:
                body += await stream.receive_some()
        return json.loads(body)

    async def stats(self) -> Any:
        """What ``GET /_stats`` tells."""
        return await self.get("/_stats")

    async def wait(self, model: str, **counts: int) -> Any:
        """Wait until the counts of ``model`` (``started``, ``finished``, ``cancelled``) are at least these."""
        query = "&".join(f"{name}={least}" for name, least in counts.items())
        return await self.get(f"/_wait?model={model.replace('@', '%40')}&{query}")


@pytest.fixture(scope="session")
def fault_server() -> Iterator[FaultServer]:
    """The fault server, in a process of its own, for the whole session."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline()
            assert line.strip().isdigit(), "the fault server did not start"
            yield FaultServer(int(line))
        finally:
            process.kill()
