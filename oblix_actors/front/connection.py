"""The one place that looks behind Hypercorn's ASGI interface, for what ASGI does not offer.

A subclass of its TCP server takes the place of the original (:func:`install`), and two functions find its
configuration and its shutdown event behind the callables that it hands to an application. So both launches
(`oblix serve` and the `hypercorn` command) behave the same. `tests/front/test_connection.py` fails loudly
when a new Hypercorn changes under this file.
"""

from __future__ import annotations

import socket
from typing import Any

import hypercorn.trio.run
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper


class Connection(TCPServer):
    """One client's connection. ``stalled_seconds`` is how long its peer may acknowledge nothing."""

    stalled_seconds: float = 30.0

    async def run(self) -> None:
        """Serve the connection to its end."""
        stream: Any = self.stream
        harden(getattr(stream, "transport_stream", stream), self.stalled_seconds)
        await super().run()

    async def _read_data(self) -> None:
        """Read until the peer closes; then stop waiting for its next request.

        Hypercorn goes on waiting, so that a connection whose client is gone would stay half open for the
        whole keep-alive time, which is long here.
        """
        await super()._read_data()
        await self.idle_task.stop()


def install(stalled_seconds: float) -> None:
    """Make Hypercorn serve every connection of this process with :class:`Connection`."""
    Connection.stalled_seconds = stalled_seconds
    hypercorn.trio.run.TCPServer = Connection  # type: ignore[attr-defined]


def harden(stream: trio.SocketStream, stalled_seconds: float) -> None:
    """Send without delay, and drop a peer that acknowledges nothing for ``stalled_seconds``.

    Hypercorn shields its sends from cancellation, so without the second a client that stops reading
    would keep its connection, and a shutdown, for ever. (Linux: tcp(7), TCP_USER_TIMEOUT.)
    """
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled_seconds * 1000))


def config_of(receive: Any) -> Config | None:
    """Hypercorn's configuration, from the ``receive`` of a lifespan scope; ``None`` under another server."""
    config = getattr(getattr(receive, "__self__", None), "config", None)
    return config if isinstance(config, Config) else None


def terminated_of(send: Any) -> EventWrapper | None:
    """The event that Hypercorn sets when it begins to shut down, from the ``send`` of an http scope."""
    context = getattr(getattr(send, "__self__", None), "context", None)
    terminated = getattr(context, "terminated", None)
    return terminated if isinstance(terminated, EventWrapper) else None
