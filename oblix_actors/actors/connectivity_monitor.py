"""Watches the network: the kernel's links, what real requests tell, and probes of the hosts when nothing else is fresh.

Everything is folded by :mod:`oblix_actors.core.connectivity`; this file owns when to look and whom to tell. The
verdict is published in a ``Watch`` cell, and its changes are pushed. Nothing here costs a token; without a
provider on the internet or the local network nothing is ever sent. Hosts behind a proxy of the environment are not
probed: they are judged from real requests and the links.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Final, Protocol

import structlog
import trio

from oblix_actors.actors.host_watch import HostWatch, Probe
from oblix_actors.actors.netlink import Publish, follow_links
from oblix_actors.actors.probe import Prober, proxied
from oblix_actors.actors.sleep import suspended_seconds
from oblix_actors.core.connectivity import Judgement, LinkState, as_json, first, judge
from oblix_actors.core.hosts import Host, HostStats, Route
from oblix_actors.core.link import LinkSnapshot, fingerprint
from oblix_actors.core.signals import NetSignal, Stalled
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import ConnectivitySettings

log = structlog.get_logger("connectivity")

INTAKE: Final = 1024
"""Signals that wait to be folded, 20 times a second: some hundred requests' worth. Of more, the newest count."""
FOLD_SECONDS: Final = 0.05
"""Signals are folded in batches: the first at once, those that follow it this much later."""
TICK_SECONDS: Final = 1.0
"""How often dwell times and the sleep clock are looked at."""
SLEPT_SECONDS: Final = 1.0
"""A jump of the sleep clock by more than this is a sleep."""
PROBES_AT_ONCE: Final = 8


class FollowLinks(Protocol):
    """Publishes the links, says ``started`` after the first time, and goes on for ever."""

    async def __call__(self, publish: Publish, *, task_status: trio.TaskStatus[None]) -> None: ...


class ConnectivityMonitor:
    """The actor. ``tell`` may be called from anywhere at any time.

    ``changed`` hears the first verdict and every change of its state, target or routes; ``woke`` that the machine
    was asleep; ``network_changed`` that it is in another network, or back in one. They must not wait.
    """

    def __init__(
        self,
        settings: ConnectivitySettings,
        hosts: tuple[Host, ...],
        *,
        watch: Watch[LinkState],
        changed: Callable[[LinkState], None],
        woke: Callable[[], None],
        network_changed: Callable[[], None],
        probe: Probe | None = None,
        links: FollowLinks = follow_links,
        suspended: Callable[[], float] = suspended_seconds,
        random: Random | None = None,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._changed = changed
        self._woke = woke
        self._network_changed = network_changed
        self._follow_links = links
        self._suspended = suspended
        look = probe or Prober()
        dice = random or Random()  # noqa: S311 - for jitter
        interval = settings.check_interval
        self._hosts = {
            (stats.host.host, stats.host.port): HostWatch(stats, look, interval, dice) for stats in _by_address(hosts)
        }
        self._intake: deque[NetSignal | Stalled] = deque(maxlen=INTAKE)
        self._arrived = trio.Event()
        self._at_once = trio.CapacityLimiter(PROBES_AT_ONCE)
        self._judgement: Judgement | None = None
        self._links = LinkSnapshot()
        self._links_since = 0.0
        self._network: frozenset[str] | None = None
        self._asleep = 0.0

    def tell(self, signal: NetSignal | Stalled) -> None:
        """Take a signal of a real request. Never blocks; the oldest goes when too many wait."""
        self._intake.append(signal)
        self._arrived.set()

    def health(self) -> dict[str, Any]:
        """The section ``connectivity`` of ``/health``."""
        return as_json(self._watch.value, trio.current_time())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch for ever; says ``started`` when the links have been judged for the first time."""
        self._asleep = self._suspended()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow_links, self._links_seen)
            for host in self._hosts.values():
                if host.stats.host.route != "loopback" and not proxied(host.stats.host):
                    nursery.start_soon(host.run, self._at_once, self._probed)
            nursery.start_soon(self._fold_signals)
            nursery.start_soon(self._tick)
            task_status.started()

    def _links_seen(self, links: LinkSnapshot) -> None:
        """The links are so now. Runs in the task that read the event, so that nothing delays it."""
        network = fingerprint(links)
        elsewhere = self._network is not None and network != self._network and bool(network)
        self._network = network
        self._links, self._links_since = links, trio.current_time()
        if self._slept():
            return
        if elsewhere:
            self._start_over("another network", self._network_changed)
        else:
            self._judge()

    def _slept(self) -> bool:
        """Whether the machine was asleep since the last look; if so, everything starts over."""
        before, self._asleep = self._asleep, self._suspended()
        if self._asleep - before <= SLEPT_SECONDS:
            return False
        self._start_over(f"{self._asleep - before:.0f} s of sleep", self._woke)
        return True

    def _start_over(self, why: str, tell: Callable[[], None]) -> None:
        """What was measured says nothing any more: forget it, tell, and look again."""
        log.info("measuring anew", why=why)
        now = trio.current_time()
        for host in self._hosts.values():
            host.stats.renew(now)
        self._judge()
        tell()
        for host in self._hosts.values():
            if host.stats.host.route == "internet":
                host.poke()

    async def _fold_signals(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            suspected: set[Route] = set()
            while self._intake:
                signal = self._intake.popleft()
                host = self._hosts.get((signal.host, signal.port))
                if host is None:
                    continue
                if isinstance(signal, Stalled) or host.stats.signal(signal, trio.current_time()):
                    suspected.add(host.stats.host.route)
            for route in suspected:
                self._suspect(route)
            self._judge()
            await trio.sleep(FOLD_SECONDS)

    def _suspect(self, route: Route, *, but: HostWatch | None = None) -> None:
        """Something does not answer: whether that is its own fault or the network's, its neighbours will show."""
        for host in self._hosts.values():
            if host.stats.host.route == route and host is not but:
                host.stats.suspect()
                host.poke()

    def _probed(self, host: HostWatch) -> None:
        if host.stats.failed_probes == 1:
            self._suspect(host.stats.host.route, but=host)
        self._judge()

    async def _tick(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            if not self._slept() and self._judgement is not None and self._judgement.pending:
                self._judge()

    def _judge(self) -> None:
        """Fold everything into a verdict, publish it, and push what changed."""
        now = trio.current_time()
        before = self._judgement or first(now)
        hosts = tuple(host.stats.summary(now) for host in self._hosts.values())
        after = judge(before, self._links, self._links_since, hosts, self._settings, now)
        news = self._judgement is None or (after.link.state, after.link.routes) != (
            before.link.state,
            before.link.routes,
        )
        self._judgement = after
        if after.link != self._watch.value:
            self._watch.set(after.link)
        if news:
            # That all is well at the start is no news for a person.
            tell = log.debug if before.link.state == after.link.state == "optimal" else log.info
            tell("connectivity", state=after.link.state, routes=after.link.routes, reasons=after.link.reasons)
            self._changed(after.link)


def _by_address(hosts: Iterable[Host]) -> list[HostStats]:
    """One record for each host and port, however many providers share it."""
    found: dict[tuple[str, int], list[Host]] = {}
    for host in hosts:
        found.setdefault((host.host, host.port), []).append(host)
    return [HostStats(same[0], tuple(host.provider for host in same)) for same in found.values()]
