"""Both launches end alike: in good order when they are told to, and with an error when the tree cannot go on."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.server import KEY, LAUNCHES, Launch, free_port, running
from tests.system.gateway import PATIENCE
from tests.system.test_breakage import until_data

DYING = """
import sys
import trio
from oblix_actors.actors.router import Router


async def dying(self, *, task_status):
    await trio.sleep(0.01)
    task_status.started()
    await trio.sleep(1.0)  # long enough to be answering
    raise RuntimeError("the router cannot go on")

Router.run = dying
from oblix_actors.runtime import supervisor
supervisor.FIRST_PAUSE = supervisor.LONGEST_PAUSE = 0.01
original = supervisor.Supervisor.__init__
supervisor.Supervisor.__init__ = lambda self, intensity=None: original(self, supervisor.Intensity(2, 60.0))
"""
START = {
    "oblix serve": """
sys.argv = ["oblix", "serve", "--config", CONFIG]
from oblix_actors.__main__ import main
sys.exit(main())
""",
    "hypercorn": """
import os
os.environ["OBLIX_CONFIG"] = CONFIG
from hypercorn.config import Config
from hypercorn.run import run as start
config = Config()
config.application_path = "oblix_actors.asgi:app"
config.worker_class = "trio"
config.workers = 0
config.bind = [f"127.0.0.1:{PORT}"]
sys.exit(start(config))
""",
}
SMALL = """
[server]
port = {port}
[embedded]
enabled = false
[routing]
discover = false
remember_speeds = false
[[providers]]
name = "script"
kind = "scripted"
"""


def run(program: str) -> tuple[int, str]:
    """Exit code and output of a Python program."""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_stream_ends_whole_when_the_server_is_told_to_stop(launch: Launch, tmp_path: Path) -> None:
    with running(launch, tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        body = {
            "model": "script:slow-200",
            "stream": True,
            "messages": [{"role": "user", "content": "one two three four"}],
        }
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        until_data(response)
        server.process.send_signal(signal.SIGTERM)
        assert b"data: [DONE]" in response.read()
        connection.close()
        assert server.process.wait(timeout=PATIENCE) == 0


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_tree_that_cannot_go_on_takes_the_process_with_it(launch: Launch, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "oblix.toml"
    config.write_text(SMALL.format(port=port))
    program = f"CONFIG, PORT = {str(config)!r}, {port}\n{DYING}\n{START[launch]}"
    code, said = run(program)
    assert code not in {0, -signal.SIGKILL}, said[-2000:]
    assert "router" in said
    assert "more than 2" in said


@pytest.mark.parametrize("launch", LAUNCHES)
def test_a_config_that_is_wrong_starts_nothing_and_says_why(launch: Launch, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "oblix.toml"
    config.write_text(SMALL.format(port=port) + "\n[routng]\n")
    program = f"import sys\nCONFIG, PORT = {str(config)!r}, {port}\n{START[launch]}"
    code, said = run(program)
    assert code not in {0, -signal.SIGKILL}, said[-2000:]
    assert "routng" in said
    assert "did you mean" in said
