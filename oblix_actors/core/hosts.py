"""What is known of one upstream host: latency, loss, bandwidth, and whether it can be reached at all.

Folded from real requests (passive) and probes (active); times are seconds of one monotonic clock, handed in. A
failure of a request is a suspicion, because it may be the host's own; a failed probe confirms it.
"""

from __future__ import annotations

import ipaddress
import math
from collections import deque
from typing import Final, Literal

import msgspec

from oblix_actors.core.catalogue import Locality
from oblix_actors.core.signals import NetSignal
from oblix_actors.errors import KINDS, Fault

Route = Literal["loopback", "lan", "internet"]
ROUTE_OF: Final[dict[Locality, Route]] = {"local": "loopback", "lan": "lan", "cloud": "internet"}

WINDOW: Final = 64
"""Connect times that p95 is taken over."""
LOSS_WINDOW: Final = 20
LOSS_SECONDS: Final = 300.0
"""Loss is the share of failures among the last 20 attempts of the last five minutes."""
LOSS_LEAST: Final = 5
"""With fewer attempts there is no loss figure: one of two is not 50 %."""
EWMA_WEIGHT: Final = 0.25
BULK_BYTES: Final = 65_536
"""A smaller body is over before TCP has found the path's pace."""
BULK_WINDOW: Final = 8
LONGEST: Final = 600.0
"""Seconds: no phase of a request is believed to take longer, so that no sum here can overflow."""

_SLOW: Final = frozenset({"upstream_first_token_timeout", "upstream_stall"})
"""Slow, or lost on the way: only a probe can tell."""

Meaning = Literal["worked", "failed", "suspicious", "nothing"]


class Host(msgspec.Struct, frozen=True):
    """Where a provider lives. ``tls``: its API is https."""

    provider: str
    host: str
    port: int
    tls: bool
    locality: Locality

    @property
    def route(self) -> Route:
        """The class of routes that connections to it take.

        That is the loopback for a forwarder to the cloud on this machine: what it accepts says nothing of the way
        behind it.
        """
        return "loopback" if self._on_loopback else ROUTE_OF[self.locality]

    @property
    def _on_loopback(self) -> bool:
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class Failure(msgspec.Struct, frozen=True):
    """``code`` is one of :data:`oblix_actors.errors.KINDS` or ``captive_portal``; ``detail`` is for people."""

    code: str
    at: float
    detail: str = ""


class ProbeResult(msgspec.Struct, frozen=True):
    """What a probe saw: ``connect_seconds`` of one TCP handshake, or a ``failure`` (a code as in :class:`Failure`).

    ``refused``: the host itself said no, so at least the way to it is open.
    """

    connect_seconds: float | None = None
    failure: str | None = None
    detail: str = ""
    refused: bool = False


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One host at one moment.

    ``reachable`` is ``None`` while nobody knows; ``None`` in a figure means "unknown"; ``connected`` is when the last
    successful connection attempt **began**; ``samples`` is how many attempts ``loss_percent`` is of.
    """

    host: str
    port: int
    route: Route
    providers: tuple[str, ...]
    reachable: bool | None = None
    captive: bool = False
    latency_ms: float | None = None
    latency_p95_ms: float | None = None
    loss_percent: float | None = None
    samples: int = 0
    bandwidth_mbps: float | None = None
    last_success: float | None = None
    last_failure: Failure | None = None
    connected: float | None = None

    @property
    def name(self) -> str:
        """``host``, with its port where that is not the usual one."""
        return self.host if self.port == 443 else f"{self.host}:{self.port}"


def meaning(signal: NetSignal) -> Meaning:
    """What a passive signal says about the network: an upstream's own error came over a network that works."""
    if signal.failure is None:
        return "worked"
    if signal.failure in _SLOW:
        return "suspicious"
    kind = KINDS.get(signal.failure)
    if kind is None or kind.fault in (Fault.CLIENT, Fault.GATEWAY):
        return "nothing"
    return "failed" if kind.fault is Fault.NETWORK else "worked"


class HostStats:
    """The fold for one host and port. ``providers`` share it when they live at the same address."""

    def __init__(self, host: Host, providers: tuple[str, ...] | None = None) -> None:
        self.host = host
        self.providers = providers or (host.provider,)
        self.last_success: float | None = None
        self.last_failure: Failure | None = None
        self.renew(-math.inf)

    def renew(self, now: float) -> None:
        """Forget what another network said; what began before ``now`` does not count any more."""
        self.epoch = now
        self.failures = 0
        self.failed_probes = 0
        self.last_probe: float | None = None
        self._suspect = False
        self._captive = False
        self._evidence: float | None = None
        self._connected: float | None = None
        self._ewma: float | None = None
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._attempts: deque[tuple[float, bool]] = deque(maxlen=LOSS_WINDOW)
        self._pace: deque[float] = deque(maxlen=BULK_WINDOW)

    def signal(self, signal: NetSignal, now: float) -> bool:
        """Take a passive signal in; true: it is a reason to probe."""
        seconds = _clean(signal.seconds)
        if seconds is None or now - seconds < self.epoch:
            return False
        what = meaning(signal)
        if what == "suspicious":
            self.suspect()
        elif what == "failed":
            self._attempts.append((now, False))
            self._failed(Failure(signal.failure or "", now))
        elif what == "worked":
            self._worked(now)
            if signal.phase in ("connect", "first_byte"):
                self._attempts.append((now, True))
            if signal.phase == "connect" and signal.failure is None:
                self._connect(seconds, now)
            if signal.bulk and signal.phase == "transfer" and signal.failure is None:
                self._transferred(signal.received, seconds)
        return what in ("suspicious", "failed")

    def probed(self, result: ProbeResult, started: float, now: float) -> None:
        """Take a probe's result in."""
        if started < self.epoch:
            return
        self.last_probe = now
        answered = result.failure is None or (result.refused and self.host.route == "lan")
        if answered:
            self._worked(now)
            self._attempts.append((now, True))
            if result.connect_seconds is not None and (seconds := _clean(result.connect_seconds)) is not None:
                self._connect(seconds, now)
            return
        self._attempts.append((now, False))
        self.failed_probes += 1
        self._captive = result.failure == "captive_portal"
        self._failed(Failure(result.failure or "upstream_connect", now, result.detail))

    def suspect(self) -> None:
        """Something on this route does not answer: the next failed probe is believed at once."""
        self._suspect = True

    @property
    def reachable(self) -> bool | None:
        """False once a probe has confirmed a suspicion or another failure, or met a captive portal."""
        if self._captive or (self.failed_probes and (self._suspect or self.failures > 1)):
            return False
        return None if self._evidence is None else True

    @property
    def evidence(self) -> float | None:
        """When it last worked, or last failed a probe: what decides when the next probe is due."""
        seen = [at for at in (self._evidence, self.last_probe) if at is not None]
        return max(seen, default=None)

    @property
    def latency(self) -> float | None:
        """Connect time in seconds, exponentially weighted."""
        return self._ewma

    def summary(self, now: float) -> HostSummary:
        """Everything that is worth knowing, as a value. Figures are finite or ``None``."""
        recent = [worked for at, worked in self._attempts if now - at <= LOSS_SECONDS]
        enough = len(recent) >= LOSS_LEAST
        return HostSummary(
            host=self.host.host,
            port=self.host.port,
            route=self.host.route,
            providers=self.providers,
            reachable=self.reachable,
            captive=self._captive,
            latency_ms=_ms(self._ewma),
            latency_p95_ms=_ms(_p95(self._latencies)),
            loss_percent=round(100 * recent.count(False) / len(recent), 1) if enough else None,
            samples=len(recent),
            bandwidth_mbps=round(max(self._pace), 3) if self._pace else None,
            last_success=self.last_success,
            last_failure=self.last_failure,
            connected=self._connected,
        )

    def _worked(self, now: float) -> None:
        if self.reachable is False:  # an outage that is over is no loss of the network that is back
            self._attempts.clear()
        self.last_success = self._evidence = now
        self.failures = self.failed_probes = 0
        self._suspect = self._captive = False

    def _failed(self, failure: Failure) -> None:
        self.last_failure = failure
        self.failures += 1

    def _connect(self, seconds: float, now: float) -> None:
        self._connected = now - seconds
        self._latencies.append(seconds)
        self._ewma = seconds if self._ewma is None else self._ewma + EWMA_WEIGHT * (seconds - self._ewma)

    def _transferred(self, received: int, seconds: float) -> None:
        if received >= BULK_BYTES and seconds >= 0.001:
            self._pace.append(min(received, 2**40) * 8 / seconds / 1e6)


def _clean(seconds: float) -> float | None:
    return min(seconds, LONGEST) if math.isfinite(seconds) and seconds >= 0 else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _p95(values: deque[float]) -> float | None:
    """Nearest rank: the smallest value that 95 % do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1] if values else None
