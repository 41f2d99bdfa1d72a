"""How long until the server is of use, and what it costs to have it: a fresh process each time, nothing configured.

To ``/health`` 200; to the first token of the embedded model (the first loads it); the gateway's own resident
memory after that, without the model's process.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

RUNS: Final = 5
PATIENCE: Final = 60.0
CONFIG: Final = '[server]\nport = {port}\n\n[routing]\ndiscover = false\n\n[log]\nlevel = "error"\n'


def main() -> None:
    """Print the median of each figure over a few starts."""
    rows = [measure() for _ in range(RUNS)]
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"{name:40} median {statistics.median(values):8.2f}   from {min(values):.2f} to {max(values):.2f}")


def measure() -> dict[str, float]:
    """One start."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "oblix.toml"
        config.write_text(CONFIG.format(port=port))
        keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "oblix_actors", "serve", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=keyless,
            cwd=folder,
        )
        try:
            until_healthy(port, process)
            healthy = time.perf_counter() - began
            cold = first_token(port)
            warm = first_token(port)
            memory = psutil.Process(process.pid).memory_info().rss
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE)
    return {
        "start to /health 200, s": healthy,
        "embedded model, first token cold, s": cold,
        "embedded model, first token warm, s": warm,
        "gateway's resident memory, MB": memory / 1e6,
    }


def until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when ``/health`` answers 200."""
    until = time.perf_counter() + PATIENCE
    while time.perf_counter() < until and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.01)
    raise RuntimeError("the server did not become healthy")


def first_token(port: int) -> float:
    """Seconds from sending a short prompt to its first content."""
    body = {"model": "auto", "stream": True, "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    began = time.perf_counter()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        for line in response:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if any(choice["delta"].get("content") for choice in event.get("choices", ())):
                    return time.perf_counter() - began
        raise RuntimeError(f"status {response.status}, and no content")
    finally:
        connection.close()
