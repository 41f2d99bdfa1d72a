"""When to probe one host: when nothing fresh is known of it, when somebody is suspicious, and after a failure.

What a probe saw goes into the host's :class:`~oblix_actors.core.hosts.HostStats`; nothing is judged here.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import trio

from oblix_actors.core.hosts import Host, HostStats, ProbeResult

PROBE_SECONDS: Final = 5.0
"""How long a probe may take that nobody waits for."""
CONFIRM_SECONDS: Final = 1.2
"""How long one may take that confirms a suspicion: with a stall of a second before it, that is less than three. Where
connections are slow by nature (satellites) it has four times the usual."""
FIRST_RETRY: Final = 1.0
"""Seconds from a failed probe to the next; doubles up to the check interval. Also the least time between two probes."""
JITTER: Final = 0.2
"""So that many machines, or hosts, are not probed in step."""

Probe = Callable[[Host], Awaitable[ProbeResult]]


class HostWatch:
    """Probes ``stats.host`` when it is due, at most ``interval`` seconds after the last evidence, and calls ``seen``.

    Hosts of the local network are probed only on suspicion, and until they answer again.
    """

    def __init__(self, stats: HostStats, probe: Probe, interval: float, random: Random) -> None:
        self.stats = stats
        self._probe = probe
        self._interval = interval
        self._random = random
        self._poked = trio.Event()
        self._flight: trio.CancelScope | None = None
        self._started = -math.inf

    def poke(self) -> None:
        """Probe now: somebody waits for the answer."""
        self._poked.set()
        if self._flight is not None:
            self._flight.deadline = min(self._flight.deadline, trio.current_time() + self._patience())

    async def run(self, at_once: trio.CapacityLimiter, seen: Callable[[HostWatch], None]) -> None:
        """Probe for ever; ``seen`` is called after each probe and must not wait."""
        while True:
            jitter = self._random.uniform(1 - JITTER, 1 + JITTER)
            while not self._poked.is_set() and (due := self._due(jitter)) > trio.current_time():
                with trio.move_on_at(due):
                    await self._poked.wait()
            await trio.sleep_until(self._started + FIRST_RETRY)
            async with at_once:
                await self._look()
            seen(self)

    def _due(self, jitter: float) -> float:
        """When the next probe is due if nobody pokes."""
        stats = self.stats
        if stats.failed_probes and stats.last_probe is not None:
            pause = min(FIRST_RETRY * 2.0 ** min(stats.failed_probes - 1, 16), self._interval)
            return stats.last_probe + pause * jitter
        if stats.host.route != "internet":
            return math.inf
        if stats.evidence is None:
            return -math.inf
        return stats.evidence + self._interval * jitter

    async def _look(self) -> None:
        patience = self._patience() if self._poked.is_set() else PROBE_SECONDS
        self._poked = trio.Event()
        self._started = started = trio.current_time()
        with trio.move_on_after(patience) as self._flight:
            self.stats.probed(await self._probe(self.stats.host), started, trio.current_time())
        if self._flight.cancelled_caught:
            now = trio.current_time()
            late = ProbeResult(failure="upstream_connect", detail=f"no answer within {now - started:.1f} s")
            self.stats.probed(late, started, now)
        self._flight = None

    def _patience(self) -> float:
        """How long a probe may take that somebody waits for."""
        usual = self.stats.latency or 0.0
        return min(max(CONFIRM_SECONDS, 4 * usual), PROBE_SECONDS)
