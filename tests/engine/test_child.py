"""The engine's process by itself: what it says, what it hides, and that it never outlives its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import trio

from oblix_actors.engine.models import find_default_model
from oblix_actors.engine.protocol import EngineParams
from tests.conftest import ROOT

SECONDS = 60
KEY = "the key of this test, which nobody else has"
COMMAND = [sys.executable, "-P", "-m", "oblix_actors.engine"]
PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
child.stdin.write(sys.argv[1].encode() + b"\\n")
child.stdin.flush()
print(child.pid, flush=True)
print(child.stdout.readline().decode(), flush=True)
child.wait()
"""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and pidfds")


def params(model: Path | None = None, **changes: Any) -> EngineParams:
    path = model or find_default_model()
    assert path is not None, "the default model is not installed"
    whole = EngineParams(model=str(path), alias="tiny", context=512, slots=1, threads=1, key=KEY, niceness=5)
    return msgspec.structs.replace(whole, **changes)


def spawn(**options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
    )


def answer(child: subprocess.Popen[bytes], line: bytes) -> dict[str, str]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line + b"\n")
    child.stdin.flush()
    said: dict[str, str] = json.loads(child.stdout.readline())
    return said


class Running:
    """A child that answers at ``address``."""

    def __init__(self, child: subprocess.Popen[bytes], address: str) -> None:
        self.process = psutil.Process(child.pid)
        self.address = address

    def status(self, path: str, key: str | None = None) -> int:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.address + path, headers=headers), timeout=SECONDS
            ) as response:
                status: int = response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return status


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with spawn() as child:
        try:
            said = answer(child, msgspec.json.encode(params()))
            assert said["is"] == "loaded", said
            yield Running(child, said["address"])
        finally:
            child.kill()


def test_it_answers_on_loopback_to_its_key_alone(running: Running) -> None:
    assert running.address.startswith("http://127.0.0.1:")
    for path in ("/v1/models", "/props", "/slots", "/metrics"):
        assert running.status(path) == 401
        assert running.status(path, "another key") == 401
        assert running.status(path, KEY) == 200
    assert running.status("/health") == 200


def test_its_key_is_in_no_command_line_and_no_environment(running: Running) -> None:
    assert KEY not in " ".join(running.process.cmdline())
    assert KEY not in str(running.process.environ())


@linux_only
def test_it_steps_back(running: Running) -> None:
    assert running.process.nice() == min(os.nice(0) + 5, 19)
    score = Path(f"/proc/{running.process.pid}/oom_score_adj").read_text()
    assert int(score) == 500


def test_a_signal_to_all_processes_of_a_terminal_or_a_service_does_not_end_it(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGTERM)
    assert running.status("/v1/models", KEY) == 200


@pytest.mark.parametrize("line", [b"hello", b"{}", b'{"model": 1}', b""])
def test_parameters_that_cannot_be_read(line: bytes) -> None:
    with spawn() as child:
        said = answer(child, line)
        assert said["is"] == "refused"
        assert "the parameters cannot be read" in said["reason"]
        assert child.wait(SECONDS) == 3


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            "raise ModuleNotFoundError('No module named xllamacpp', name='xllamacpp')",
            "xllamacpp is not installed: pip install 'oblix-actors[embedded]'",
        ),
        (
            "raise ImportError('libgomp.so.1: cannot open shared object file')",
            "xllamacpp cannot be loaded: libgomp.so.1: cannot open shared object file",
        ),
    ],
)
def test_a_runtime_that_is_not_there(tmp_path: Path, module: str, reason: str) -> None:
    (tmp_path / "xllamacpp.py").write_text(module)
    with spawn(env={**os.environ, "PYTHONPATH": str(tmp_path)}) as child:
        assert answer(child, msgspec.json.encode(params())) == {"is": "refused", "reason": reason}


def test_a_module_in_the_folder_where_the_server_was_started_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('this is not the msgspec you know')")
    with subprocess.Popen(COMMAND, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert answer(child, b"hello")["is"] == "refused"


async def ended(pid: int) -> None:
    """Wait until process ``pid``, which is no child of ours, has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


async def read_line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = await stream.receive_some(1)
        assert piece, "the parent ended"
        line += piece
    return line


@linux_only
@pytest.mark.parametrize("when", ["while it loads", "when it answers"])
async def test_it_ends_with_its_parent(tmp_path: Path, when: str) -> None:
    model = None
    if when == "while it loads":  # llama.cpp opens this one, and reads for ever
        model = tmp_path / "endless.gguf"
        os.mkfifo(model)
    with trio.fail_after(SECONDS):
        line = msgspec.json.encode(params(model)).decode()
        parent = await trio.lowlevel.open_process(
            [sys.executable, "-c", PARENT, line, *COMMAND], stdout=subprocess.PIPE, cwd=ROOT
        )
        try:
            assert parent.stdout is not None
            pid = int(await read_line(parent.stdout))
            if model is None:
                assert b"loaded" in await read_line(parent.stdout)
            else:
                writer = await trio.to_thread.run_sync(lambda: os.open(model, os.O_WRONLY))
        finally:
            parent.kill()
            with trio.move_on_after(SECONDS, shield=True):
                await parent.wait()
        await ended(pid)
        if model is not None:
            os.close(writer)
