"""The composition root: builds the tree of actors from settings, starts it in order, stops it in reverse.

The only place that knows every room. :func:`open_house` runs the tree; :func:`serve` puts Hypercorn in
front of it as its last child. The other launch, :mod:`oblix_actors.asgi`, uses the same two pieces.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import structlog
import trio

from oblix_actors.errors import StartFailed
from oblix_actors.front.house import House
from oblix_actors.settings import ServerSettings, Settings
from oblix_actors.tree import Tree

log = structlog.get_logger("system")

BACKLOG: Final = 1024
"""Connections the kernel holds while the loop is busy: a burst of clients is not refused."""
STOP_SECONDS: Final = 15.0


@asynccontextmanager
async def open_house(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[House]:
    """Run the tree of actors while the block runs; raises :class:`StartFailed` when it cannot go on.

    At the end every open job is told that the server stops, and the actors stop in reverse order.
    """
    try:
        tree = Tree(settings, environ)
        async with tree.http, trio.open_nursery() as nursery:
            await tree.start(nursery)
            try:
                yield tree.house()
            finally:
                with trio.move_on_after(STOP_SECONDS, shield=True):
                    await tree.stop()
                nursery.cancel_scope.cancel(reason="the tree has stopped")
    except BaseExceptionGroup as group:
        # A tree that dies cancels the block: what is left of that is its reason.
        raise next((error for error in leaves(group) if isinstance(error, StartFailed)), group) from None


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The single exceptions inside nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for child in error.exceptions:
            yield from leaves(child)
    else:
        yield error


def listen(server: ServerSettings) -> socket.socket:
    """The listening socket. Raises ``OSError`` at once when the address is taken, before anything is started."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option means "share the port", which nobody wants
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


async def serve(settings: Settings, *, on_ready: Callable[[House], None], environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; returns how many jobs the drain deadline cut (0 is a clean end).

    ``on_ready`` is called once requests are answered. A second signal ends at once. Raises
    :class:`~oblix_actors.errors.StartFailed`, :class:`~oblix_actors.errors.ConfigError`, or ``OSError``
    for an address that cannot be had.
    """
    with listen(settings.server) as sock:
        # Port 0 has become a real one, which is what everybody should be told.
        server = msgspec.structs.replace(settings.server, port=sock.getsockname()[1])
        settings = msgspec.structs.replace(settings, server=server)
        async with open_house(settings, environ) as house:
            # Imported late: the actors look for their upstreams meanwhile.
            from hypercorn.config import Config
            from hypercorn.trio import serve as hypercorn_serve

            from oblix_actors.front.gateway import Gateway, tune

            hypercorn = Config()
            hypercorn.bind = [f"fd://{sock.detach()}"]
            tune(hypercorn, settings.server)
            gateway = Gateway(house)
            stop = trio.Event()

            async def front(*, task_status: trio.TaskStatus[list[str]]) -> None:  # noqa: ASYNC128 - Hypercorn says started
                run = partial(hypercorn_serve, gateway, hypercorn, shutdown_trigger=stop.wait, mode="asgi")
                await run(task_status=task_status)
                nursery.cancel_scope.cancel(reason="the front has stopped")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(gateway.drain_at_the_end)
                nursery.start_soon(_heed_signals, stop, nursery.cancel_scope)
                await nursery.start(front)
                on_ready(house)
    return gateway.cut


async def _heed_signals(stop: trio.Event, scope: trio.CancelScope) -> None:
    """The first SIGTERM or SIGINT stops in good order, the second at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            if stop.is_set():
                scope.cancel(reason=f"{name} came a second time")
            log.info("stopping", signal=name, at_once=stop.is_set())
            stop.set()
