"""``app``: what ``hypercorn -k trio oblix_actors.asgi:app`` launches.

It answers the ASGI lifespan itself by running the whole tree of actors, and hands http to the QuartTrio
app. ``OBLIX_CONFIG`` names the config file. When the tree dies, so does the process, with a message and
a non-zero exit: a half-dead server never answers 200.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import trio

from oblix_actors import config, logs, system
from oblix_actors.errors import ConfigError, StartFailed
from oblix_actors.front.connection import config_of
from oblix_actors.front.gateway import Gateway, tune


class Application:
    """The ASGI application. One instance serves one Hypercorn worker."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._gateway is not None:
            await self._gateway(scope, receive, send)
        else:
            raise RuntimeError("this server did not run the ASGI lifespan, which starts the actors")

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()  # lifespan.startup
        started = False
        try:
            settings = config.load(None)
            logs.configure(settings.log)
            if (hypercorn := config_of(receive)) is not None:
                tune(hypercorn, settings.server)
            async with system.open_house(settings, os.environ) as house, trio.open_nursery() as nursery:
                self._gateway = Gateway(house)
                nursery.start_soon(self._gateway.drain_at_the_end)
                await send({"type": "lifespan.startup.complete"})
                started = True
                await receive()  # lifespan.shutdown: Hypercorn has closed every connection by now
                nursery.cancel_scope.cancel(reason="the server has stopped")
            await send({"type": "lifespan.shutdown.complete"})
        except* (ConfigError, StartFailed, OSError) as group:
            message = "; ".join(str(error) for error in system.leaves(group))
            # Hypercorn ends the process for these two messages, and for no exception of ours.
            await send({"type": f"lifespan.{'shutdown' if started else 'startup'}.failed", "message": message})


app = Application()

if __name__ == "__main__":  # pragma: no cover
    sys.exit("run `oblix serve`, or `hypercorn -k trio oblix_actors.asgi:app`")
