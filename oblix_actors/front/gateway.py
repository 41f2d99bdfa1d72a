"""The ASGI callable in front of the QuartTrio app: prepares each connection, and drains when Hypercorn stops.

Both launches go through it. It sees only what ASGI and :mod:`oblix_actors.front.connection` show it.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog
import trio
from hypercorn.config import Config

from oblix_actors.errors import OblixError
from oblix_actors.front.app import create_app
from oblix_actors.front.connection import install, terminated_of
from oblix_actors.front.house import House
from oblix_actors.settings import ServerSettings

log = structlog.get_logger("front")

AFTER_DRAIN_SECONDS = 3.0
"""What Hypercorn waits longer than we drain, so that the cut jobs' last words still reach their clients."""


def tune(config: Config, server: ServerSettings) -> None:
    """Set what Hypercorn's defaults get wrong for long streams; see the table of traps in docs/architecture.md."""
    install(server.stalled_client_seconds)
    config.graceful_timeout = server.drain_seconds + AFTER_DRAIN_SECONDS
    config.keep_alive_timeout = server.idle_connection_seconds
    config.keep_alive_max_requests = 2**31
    config.shutdown_timeout = 30.0
    config.include_server_header = False
    config.h11_max_incomplete_size = 64 * 1024
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")  # through our own log, not beside it
    config.errorlog.setLevel(logging.WARNING)  # where it listens is ours to say


class Gateway:
    """One a Hypercorn worker. Call it with http scopes; run :meth:`drain_at_the_end` beside it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._app: Any = create_app(house)
        self._terminated: Any = None
        self._seen = trio.Event()
        self.cut = 0
        """How many jobs were ended by the drain deadline."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one http scope; a websocket is closed at once, nobody speaks it here."""
        if scope["type"] == "lifespan":
            await _nothing_to_start(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        if self._terminated is None and (terminated := terminated_of(send)) is not None:
            self._terminated = terminated
            self._seen.set()
        await self._app(scope, receive, send)

    async def drain_at_the_end(self) -> None:
        """Wait for Hypercorn to stop accepting, then let the open jobs end, and tell those that do not in time."""
        await self._seen.wait()  # without a request there is nothing to drain
        await self._terminated.wait()
        jobs, seconds = self._house.jobs, self._house.settings.drain_seconds
        error = OblixError("shutting_down", "the server is stopping", retry_after=1.0)
        jobs.close(error)
        if len(jobs):
            log.info("draining", jobs=len(jobs), seconds=seconds)
        with trio.move_on_after(seconds):
            await jobs.drained()
        self.cut = jobs.fail_all(error)
        if self.cut:
            log.warning("jobs cut by the drain deadline", jobs=self.cut)


async def _nothing_to_start(receive: Any, send: Any) -> None:
    """Answer a lifespan whose tree runs already, outside."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
