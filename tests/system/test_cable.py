"""A pulled cable: the gateway in one network namespace, its cloud in another, and the link between them goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.actors.netns import CLOUD, CLOUD_PORT, Cable, cable, why_not
from tests.system.gateway import PATIENCE

ROOT = Path(__file__).parents[2]
PORT = 62549
CONFIG = f"""
[server]
port = {PORT}

[routing]
discover = false
remember_speeds = false

[log]
format = "json"

[[providers]]
name = "cloud"
kind = "openai"
base_url = "http://{CLOUD}:{CLOUD_PORT}/v1"
models = ["MODEL"]
locality = "cloud"
"""

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "there are namespaces")

CLIENT = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
method, path, body = sys.argv[2:5]
connection.request(method, path, body or None, {"content-type": "application/json"})
response = connection.getresponse()
print(response.status, flush=True)
for line in response:
    print(line.decode().rstrip(), flush=True)
"""


def start(space: str, *words: str) -> subprocess.Popen[str]:
    """Run Python in the namespace ``space``."""
    command = ["ip", "netns", "exec", space, sys.executable, *words]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)


def client(space: str, method: str, path: str, body: dict[str, Any] | None = None) -> subprocess.Popen[str]:
    """A client beside the gateway; it prints the status, then every line as it comes."""
    return start(space, "-c", CLIENT, str(PORT), method, path, "" if body is None else json.dumps(body))


def health(space: str) -> dict[str, Any]:
    """What ``/health`` says; empty while nothing listens."""
    with client(space, "GET", "/health") as process:
        output, _ = process.communicate(timeout=PATIENCE)
    lines = output.splitlines()
    found: dict[str, Any] = json.loads(lines[1]) if len(lines) > 1 else {}
    return found


@contextmanager
def gateway(folder: Path, model: str) -> Iterator[Cable]:
    """A gateway here, and a cloud there that serves ``model``; the embedded model is the last resort."""
    config = folder / "oblix.toml"
    config.write_text(CONFIG.replace("MODEL", model))
    with cable() as link:
        cloud = start(link.there, "-m", "tests.faults", "--host", CLOUD, "--port", str(CLOUD_PORT))
        assert cloud.stdout is not None
        assert cloud.stdout.readline().strip() == str(CLOUD_PORT)
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                ["ip", "netns", "exec", link.here, sys.executable, "-m", "oblix_actors", "serve", "--config", config],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            for _ in range(200):
                if health(link.here).get("providers", {}).get("cloud", {}).get("status") == "ready":
                    break
            yield link
        finally:
            for process in (server, cloud):
                process.kill()
                process.wait()
            cloud.stdout.close()


def chat(stream: bool) -> dict[str, Any]:
    """A request that anybody may answer."""
    return {
        "model": "auto",
        "stream": stream,
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "Say hello."}],
    }


@pytest.mark.parametrize("cut", [Cable.pull, Cable.swallow], ids=["the cable is pulled", "packets are swallowed"])
def test_a_job_that_waits_for_the_cloud_is_moved(cut: Callable[[Cable], None], tmp_path: Path) -> None:
    with gateway(tmp_path, "hang") as link:
        with client(link.here, "POST", "/v1/chat/completions", chat(stream=False)) as waiting:
            while health(link.here)["providers"]["cloud"]["running"] != 1:
                assert waiting.poll() is None
            cut(link)
            output, _ = waiting.communicate(timeout=PATIENCE)
        status, body = output.splitlines()[:2]
        assert status == "200", output
        assert json.loads(body)["model"] == "embedded:smollm2-135m"
        now = health(link.here)
        assert now["connectivity"]["routes"]["internet"] == "disconnected"
        assert now["status"] == "healthy", "the embedded model needs no network"


def test_a_stream_from_the_cloud_is_told_at_once_when_the_interface_goes_down(tmp_path: Path) -> None:
    with gateway(tmp_path, "hang-after-3") as link:
        with client(link.here, "POST", "/v1/chat/completions", chat(stream=True)) as reading:
            assert reading.stdout is not None
            for line in reading.stdout:
                if "w2" in line:
                    break
            link.take_down()
            rest, _ = reading.communicate(timeout=PATIENCE)
        last = json.loads(rest.strip().splitlines()[-1].removeprefix("data: "))
        assert last["error"]["code"] == "route_lost", rest
