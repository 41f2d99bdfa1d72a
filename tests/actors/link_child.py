"""Runs inside a network namespace, for the tests of links: ``python -m tests.actors.link_child monitor|cloud|stamp``.

``monitor`` runs the connectivity monitor and prints its verdicts; the word ``request`` on its standard input makes it
send a request to the cloud. ``cloud`` answers there. ``stamp`` prints when the kernel tells of a change. Times are
``CLOCK_MONOTONIC``, which is the same in every process.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from functools import partial
from typing import Any

import structlog
import trio

from oblix_actors.actors.connectivity_monitor import ConnectivityMonitor
from oblix_actors.core.connectivity import LinkState, first
from oblix_actors.core.hosts import Host
from oblix_actors.core.netlink import GROUPS
from oblix_actors.core.signals import NetSignal, Stalled
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import ConnectivitySettings
from tests.actors.netns import CLOUD, CLOUD_PORT

STALL_SECONDS = 1.0


def tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **fields}), flush=True)


def verdict(link: LinkState) -> None:
    tell("verdict", state=link.state, target=link.target, routes=link.routes, reasons=link.reasons)


async def request(monitor: ConnectivityMonitor) -> None:
    """One request as a provider's adapter makes it, with its passive signals."""
    start = trio.current_time()
    with trio.move_on_after(STALL_SECONDS) as patience:
        stream = await trio.open_tcp_stream(CLOUD, CLOUD_PORT)
        monitor.tell(NetSignal(CLOUD, CLOUD_PORT, "connect", trio.current_time() - start))
        async with stream:
            await stream.send_all(b"POST /v1/chat/completions HTTP/1.1\r\n\r\n")
            await stream.receive_some()
            monitor.tell(NetSignal(CLOUD, CLOUD_PORT, "first_byte", trio.current_time() - start))
    if patience.cancelled_caught:
        monitor.tell(Stalled(CLOUD, CLOUD_PORT, STALL_SECONDS))
        tell("request", outcome="stuck")
    else:
        tell("request", outcome="answered")


async def monitor() -> None:
    watch: Watch[LinkState] = Watch(first(0.0).link)
    actor = ConnectivityMonitor(
        ConnectivitySettings(check_interval=30.0),
        (Host("cloud", CLOUD, CLOUD_PORT, False, "cloud"),),
        watch=watch,
        changed=verdict,
        woke=partial(tell, "woke"),
        network_changed=partial(tell, "network changed"),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        version = watch.version
        while watch.value.hosts[0].reachable is None or set(watch.value.routes.values()) != {"optimal"}:
            _, version = await watch.newer(version)
        tell("ready", health=actor.health())
        stdin = trio.lowlevel.FdStream(0)
        async for words in stdin:
            for _ in range(words.count(b"request")):
                tell("request", outcome="sent")
                nursery.start_soon(request, actor)


async def cloud() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await stream.receive_some()
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, serve, CLOUD_PORT, host=CLOUD))
        tell("ready")


def stamp() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.bind((0, GROUPS))
        tell("ready")
        while True:
            link.recv(65_536)
            tell("kernel")


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    match sys.argv[1:]:
        case ["monitor"]:
            trio.run(monitor)
        case ["cloud"]:
            trio.run(cloud)
        case ["stamp"]:
            stamp()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
