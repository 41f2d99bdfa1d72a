"""HTTP/1.1 by hand over Trio sockets, so that it can be broken at any byte.

A handler gets an :class:`Exchange`, and writes what it likes to it. When the client goes away while a handler runs, the
handler is cancelled, and that is counted.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

import trio

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}

Handler = Callable[["Exchange"], Awaitable[None]]
Routes = dict[tuple[str, str], Handler]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


class Gone(Exception):
    """The connection is of no use any more."""


class Stats:
    """Counts of what happened: connections ``open`` and ``accepted``, ``requests``, and per model ``started``,
    ``finished`` and ``cancelled`` (the client went away)."""

    def __init__(self) -> None:
        self.open = 0
        self.accepted = 0
        self.requests = 0
        self.models: dict[str, dict[str, int]] = {}
        self._event = trio.Event()

    def count(self, model: str, name: str) -> None:
        counts = self.models.setdefault(model, {"started": 0, "finished": 0, "cancelled": 0})
        counts[name] += 1
        self.touch()

    def counts(self, model: str | None) -> dict[str, int]:
        if model is not None:
            return self.models.get(model, {})
        names = ("started", "finished", "cancelled")
        return {name: sum(counts[name] for counts in self.models.values()) for name in names}

    def touch(self) -> None:
        event, self._event = self._event, trio.Event()
        event.set()

    async def changed(self) -> None:
        await self._event.wait()

    def as_dict(self) -> dict[str, object]:
        connections = {"open": self.open, "accepted": self.accepted, "requests": self.requests}
        return {**connections, **self.counts(None), "models": self.models}


@dataclass
class Exchange:
    """One request and the way to answer it. ``model`` is set by the handler, for the statistics."""

    stream: trio.SocketStream
    request: Request
    stats: Stats
    model: str | None = None
    chunked: bool = field(default=False, init=False)
    keep_alive: bool = field(default=True, init=False)

    def begin(self, model: str) -> None:
        """Say which model this is about: from here on it counts as started."""
        self.model = model
        self.stats.count(model, "started")

    async def respond(
        self, status: int, body: bytes, content_type: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        """A whole answer."""
        await self.raw(
            _head(status, {"content-type": content_type, "content-length": str(len(body)), **(headers or {})})
        )
        await self.raw(body)

    async def start(self, status: int = 200, content_type: str = "text/event-stream", **headers: str) -> None:
        """The head of an answer in chunks: :meth:`send` them, then :meth:`end`."""
        self.chunked = True
        await self.raw(_head(status, {"content-type": content_type, "transfer-encoding": "chunked", **headers}))

    async def send(self, data: bytes) -> None:
        """One HTTP chunk."""
        if data:
            await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The regular end of the body."""
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None

    def drop(self) -> None:
        """Reset the connection: the client sees ECONNRESET, not an end."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()
        self.keep_alive = False

    async def hang(self) -> None:
        """Never do anything again."""
        await trio.sleep_forever()


class Server:
    def __init__(self, routes: Routes) -> None:
        self.stats = Stats()
        self._routes = routes

    async def serve(self, host: str, port: int, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(port, host=host)
        task_status.started(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(self._connection, listeners)

    async def _connection(self, stream: trio.SocketStream) -> None:
        self.stats.open += 1
        self.stats.accepted += 1
        self.stats.touch()
        buffer = bytearray()
        try:
            while await self._exchange(stream, buffer):
                pass
        except (Gone, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.stats.open -= 1
            self.stats.touch()
            await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.SocketStream, buffer: bytearray) -> bool:
        request = await _read_request(stream, buffer)
        if request is None:
            return False
        self.stats.requests += 1
        exchange = Exchange(stream, request, self.stats)
        handler = self._routes.get((request.method, request.path), _nothing_here)
        gone = False
        over = False

        async def watch() -> None:
            """Notice a client that goes away; keep what a client that stays sends ahead."""
            nonlocal gone
            while len(buffer) < MAX_BODY:
                try:
                    data = await stream.receive_some()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                if not data:
                    gone = not over
                    nursery.cancel_scope.cancel()
                    return
                buffer.extend(data)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                try:
                    await handler(exchange)
                except Gone:
                    gone = True
                else:
                    over = True
                nursery.cancel_scope.cancel()
        finally:
            if exchange.model is not None:
                self.stats.count(exchange.model, "cancelled" if gone else "finished")
        return exchange.keep_alive and not gone


async def _nothing_here(exchange: Exchange) -> None:
    await exchange.respond(404, b'{"error":{"message":"nothing here","type":"invalid_request_error","code":null}}')


async def _read_request(stream: trio.SocketStream, buffer: bytearray) -> Request | None:
    while (at := buffer.find(b"\r\n\r\n")) < 0:
        data = await stream.receive_some()
        if not data or len(buffer) > MAX_HEAD:
            return None
        buffer.extend(data)
    lines = bytes(buffer[:at]).decode("latin-1").split("\r\n")
    del buffer[: at + 4]
    method, target, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = int(headers.get("content-length", "0"))
    while len(buffer) < length:
        data = await stream.receive_some()
        if not data or length > MAX_BODY:
            return None
        buffer.extend(data)
    body = bytes(buffer[:length])
    del buffer[:length]
    parts = urlsplit(target)  # absolute when we are used as a proxy
    return Request(method, unquote(parts.path), parse_qsl(parts.query), headers, body)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Something')}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
