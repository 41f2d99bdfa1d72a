"""The one place that looks behind Hypercorn's ASGI interface, for what ASGI does not offer.

Hypercorn hands an application bound methods of its own objects; from those this module finds the TCP
connection, the worker's shutdown event and the configuration, so that both launches (`oblix serve` and
the `hypercorn` command) behave the same. Every function answers ``None`` where a different server is
underneath; `tests/front/test_connection.py` fails loudly when a new Hypercorn changes under it.
"""

from __future__ import annotations

import socket
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import EventWrapper


def config_of(receive: Any) -> Config | None:
    """Hypercorn's configuration, from the ``receive`` of a lifespan scope."""
    config = getattr(getattr(receive, "__self__", None), "config", None)
    return config if isinstance(config, Config) else None


def terminated_of(send: Any) -> EventWrapper | None:
    """The event that Hypercorn sets when it begins to shut down, from the ``send`` of an http scope."""
    context = getattr(getattr(send, "__self__", None), "context", None)
    terminated = getattr(context, "terminated", None)
    return terminated if isinstance(terminated, EventWrapper) else None


def stream_of(send: Any) -> trio.SocketStream | None:
    """The client's TCP connection, from the ``send`` of an http scope; ``None`` under TLS."""
    here: Any = send
    for _ in range(3):  # HTTPStream.app_send -> H11Protocol.stream_send -> TCPServer.protocol_send
        here = getattr(getattr(here, "__self__", None), "send", None) or here
    stream = getattr(getattr(here, "__self__", None), "stream", None)
    return stream if isinstance(stream, trio.SocketStream) else None


def harden(stream: trio.SocketStream, stalled_seconds: float) -> None:
    """Send without delay, and drop a peer that acknowledges nothing for ``stalled_seconds``.

    Hypercorn shields its sends from cancellation, so without the second a client that stops reading
    would keep its connection, and a shutdown, for ever. (Linux: tcp(7), TCP_USER_TIMEOUT.)
    """
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled_seconds * 1000))
