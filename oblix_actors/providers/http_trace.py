"""Follows one request over the wire by httpcore's trace events, and tells an observer how each phase went.

The events: https://www.encode.io/httpcore/extensions/#trace. Knows no httpx: it only reads names and times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from oblix_actors.core.signals import NetSignal, Phase
from oblix_actors.providers.http_errors import code_of

_PHASES: Final[dict[str, Phase]] = {
    "connect_tcp": "connect",
    "start_tls": "tls",
    "send_request_headers": "first_byte",
    "send_request_body": "first_byte",
    "receive_response_headers": "first_byte",
    "receive_response_body": "transfer",
}


Observe = Callable[[NetSignal], None]
"""Told of every phase of every request; must not raise or wait."""


class RequestTrace:
    """One request to ``host``:``port``. Called by httpcore.

    ``phase`` is where it is, or where it failed; ``connected``: over a new connection, not one used before.
    """

    __slots__ = ("_observe", "_started", "connected", "host", "phase", "port")

    def __init__(self, host: str, port: int, observe: Observe | None) -> None:
        self.host = host
        self.port = port
        self.phase: Phase = "connect"
        self.connected = False
        self._observe = observe
        self._started = 0.0

    @property
    def where(self) -> str:
        """``host:port``, for messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        _, name, status = event.split(".")
        phase = _PHASES.get(name)
        if phase is None:
            return
        if status == "started":
            if phase != "first_byte" or name == "send_request_headers":
                self._started = trio.current_time()
            self.phase = phase
            self.connected = self.connected or phase == "connect"
        elif phase == "transfer":
            return  # told at the end of the answer, with what was received
        elif status == "complete":
            if phase != "first_byte" or name == "receive_response_headers":
                self._signal(phase)
                self._started = trio.current_time()
        elif isinstance(info.get("exception"), Exception):  # being cancelled says nothing about the network
            code = code_of(info["exception"], phase)
            self._signal("dns" if code == "upstream_dns" else phase, code)

    def transferred(self, received: int, failure: str | None, *, bulk: bool) -> None:
        """The answer was read, or given up: ``received`` bytes of it arrived; ``bulk``: its length was told ahead."""
        self._signal("transfer", failure, received, bulk=bulk)

    def _signal(self, phase: Phase, failure: str | None = None, received: int = 0, *, bulk: bool = False) -> None:
        if self._observe is not None:
            seconds = trio.current_time() - self._started
            self._observe(NetSignal(self.host, self.port, phase, seconds, failure, received, bulk))
