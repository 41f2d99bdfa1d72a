"""One request to the application as Hypercorn would make it, without sockets: for virtual clocks and exact moments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from oblix_actors.front.app import create_app
from oblix_actors.front.house import House

Heard = Callable[[dict[str, Any]], Awaitable[None]]


class Exchange:
    """A client that sends a whole request, then listens until :attr:`leave` is set. ``sent`` is what it was sent."""

    def __init__(self, method: str, path: str, body: bytes = b"", *, typed: bool = True) -> None:
        self.scope: Any = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")] if typed else [],
            "http_version": "1.1",
            "scheme": "http",
        }
        self.leave = trio.Event()
        self.sent: list[dict[str, Any]] = []
        self._incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def run(self, house: House, hear: Heard | None = None) -> None:
        """Let the application answer; ``hear`` is called with each message before it counts as sent."""

        async def send(message: dict[str, Any]) -> None:
            await trio.lowlevel.checkpoint()
            if hear is not None:
                await hear(message)
            self.sent.append(message)

        app: Any = create_app(house)
        await app(self.scope, self._receive, send)

    async def _receive(self) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if self._incoming:
            return self._incoming.pop()
        await self.leave.wait()
        return {"type": "http.disconnect"}

    @property
    def status(self) -> int:
        """The status of the one response."""
        (status,) = [message["status"] for message in self.sent if message["type"] == "http.response.start"]
        assert isinstance(status, int)
        return status

    @property
    def body(self) -> bytes:
        """What the response said."""
        return b"".join(message.get("body", b"") for message in self.sent)
