"""What sensing costs the others: latency of ``/health`` under load with the monitors on, as a ratio to without them.

Both servers run at the same time and are asked in turn, so that a machine that is busy is busy for both.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

STREAMS: Final = 8
REQUESTS: Final = 1500
JSON: Final = {"Content-Type": "application/json"}
CONFIG: Final = '[server]\nport = 0\n[embedded]\nenabled = false\n[routing]\ndiscover = false\n[log]\nlevel = "error"\n'
PROVIDER: Final = '[[providers]]\nname = "script"\nkind = "scripted"\n'


def main() -> None:
    """Print the median and the 99th percentile of both, and their ratios."""
    with running(monitors=True) as on, running(monitors=False) as off, load(on), load(off):
        times: dict[int, list[float]] = {on: [], off: []}
        connections = {port: http.client.HTTPConnection("127.0.0.1", port) for port in times}
        for _ in range(REQUESTS):
            for port, connection in connections.items():
                began = time.perf_counter()
                connection.request("GET", "/health")
                connection.getresponse().read()
                times[port].append((time.perf_counter() - began) * 1000)
    print(f"/health under {STREAMS} streams each, ms      p50      p99")
    figures = {}
    for name, port in (("without monitors", off), ("with monitors", on)):
        cuts = statistics.quantiles(times[port], n=100)
        figures[name] = (cuts[49], cuts[98])
        print(f"{name:36} {cuts[49]:8.2f} {cuts[98]:8.2f}")
    ratios = [a / b for a, b in zip(figures["with monitors"], figures["without monitors"], strict=True)]
    print(f"{'ratio':36} {ratios[0]:8.2f} {ratios[1]:8.2f}")


@contextmanager
def running(*, monitors: bool) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    command = [sys.executable, "-m", "bench.health", "--serve", *([] if monitors else ["--without-monitors"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            yield int(process.stdout.readline()) if process.stdout else 0
        finally:
            process.terminate()


@contextmanager
def load(port: int) -> Iterator[None]:
    """Streams that go on for ever, in threads."""
    stop = threading.Event()

    def stream() -> None:
        body = {"model": "script:slow-20", "stream": True, "messages": [{"role": "user", "content": "word " * 200}]}
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port)
            with suppress(OSError, http.client.HTTPException):
                connection.request(
                    "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
                while not stop.is_set() and response.read1(65536):
                    pass
            connection.close()

    threads = [threading.Thread(target=stream, daemon=True) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()


def serve(*, monitors: bool) -> None:
    """The server's process; without monitors their actors start and do nothing."""
    import trio

    from oblix_actors import config, logs, system
    from oblix_actors.actors.connectivity_monitor import ConnectivityMonitor
    from oblix_actors.actors.resource_monitor import ResourceMonitor
    from oblix_actors.front.house import House

    async def nothing(_self: Any, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()

    if not monitors:
        ResourceMonitor.run = nothing  # type: ignore[method-assign, assignment]
        ConnectivityMonitor.run = nothing  # type: ignore[method-assign, assignment]

    def ready(house: House) -> None:
        print(house.settings.port, flush=True)

    settings = config.parse(CONFIG + PROVIDER, "bench")
    logs.configure(settings.log)
    trio.run(lambda: system.serve(settings, on_ready=ready, environ={}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--without-monitors", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(monitors=not arguments.without_monitors)
    else:
        main()
