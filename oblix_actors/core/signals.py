"""What real requests tell about the network: passive signals, made where the wire is touched, judged elsewhere."""

from __future__ import annotations

from typing import Literal

import msgspec

Phase = Literal["dns", "connect", "tls", "first_byte", "transfer"]


class NetSignal(msgspec.Struct, frozen=True):
    """One phase of one request to ``host``:``port``.

    ``seconds`` it took, until success or failure; ``failure`` is a code of :data:`oblix_actors.errors.KINDS`
    (``upstream_dns``, ``upstream_connect``, ``upstream_tls``, ``upstream_reset``…) or ``None``;
    ``received`` counts body bytes (``transfer`` only); ``bulk``: that body was whole before it was sent, so that its
    pace was the network's, as the pace of a token stream is not.
    """

    host: str
    port: int
    phase: Phase
    seconds: float
    failure: str | None = None
    received: int = 0
    bulk: bool = False


class Stalled(msgspec.Struct, frozen=True):
    """A request to ``host``:``port`` is out, and for ``seconds`` nothing has come back: slow, or lost on the way."""

    host: str
    port: int
    seconds: float
