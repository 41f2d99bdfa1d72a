"""The connectivity monitor on a clock that jumps: fake links, fake probes, a fake sleep clock."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from oblix_actors.actors.connectivity_monitor import INTAKE, ConnectivityMonitor
from oblix_actors.actors.host_watch import CONFIRM_SECONDS, PROBE_SECONDS
from oblix_actors.actors.netlink import Publish
from oblix_actors.core.connectivity import LinkState, first
from oblix_actors.core.hosts import Host, ProbeResult
from oblix_actors.core.link import DefaultRoute, Interface, LinkSnapshot
from oblix_actors.core.signals import NetSignal, Stalled
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import ConnectivitySettings

A = Host("openai", "a.example", 443, True, "cloud")
B = Host("anthropic", "b.example", 443, True, "cloud")
NAS = Host("nas", "192.0.2.9", 11434, False, "lan")
FORWARDER = Host("tunnel", "127.0.0.1", 8443, True, "cloud")

ETH = Interface(name="eth0", up=True, running=True, carrier=True, addresses=("192.0.2.7/24",))
UP = LinkSnapshot((ETH,), (DefaultRoute(4, "eth0", "192.0.2.1"),))
DOWN = LinkSnapshot((msgspec.structs.replace(ETH, running=False, carrier=False),), UP.defaults)
ELSEWHERE = LinkSnapshot((msgspec.structs.replace(ETH, addresses=("198.51.100.7/24",)),), UP.defaults)
CONTAINERS = LinkSnapshot((ETH, Interface(name="veth1", up=True, running=True, kind="veth")), UP.defaults)

OK = ProbeResult(0.02)
PORTAL = ProbeResult(failure="captive_portal", detail="a redirect to login.example")


class World:
    """The monitor's surroundings: what it is told, and what it said."""

    def __init__(self, *hosts: Host, **settings: float) -> None:
        self.answers: dict[str, ProbeResult | None] = {}
        self.probes: list[tuple[float, str]] = []
        self.told: list[str] = []
        self.slept = 0.0
        self.watch: Watch[LinkState] = Watch(first(0.0).link)
        self._links, self._snapshots = trio.open_memory_channel[LinkSnapshot](16)  # a test's few
        self.monitor = ConnectivityMonitor(
            ConnectivitySettings(**settings),
            hosts,
            watch=self.watch,
            changed=lambda link: self.told.append(link.state),
            woke=lambda: self.told.append("woke"),
            network_changed=lambda: self.told.append("network changed"),
            probe=self._probe,
            links=self._follow,
            suspended=lambda: self.slept,
            random=Random(7),
        )

    async def _probe(self, host: Host) -> ProbeResult:
        self.probes.append((trio.current_time(), host.host))
        answer = self.answers.get(host.host, OK)
        if answer is None:  # packets vanish
            await trio.sleep_forever()
            raise AssertionError
        await trio.sleep(0.02)
        return answer

    async def _follow(self, publish: Publish, *, task_status: trio.TaskStatus[None]) -> None:
        publish(UP)
        task_status.started()
        async for snapshot in self._snapshots:
            publish(snapshot)

    async def links(self, snapshot: LinkSnapshot) -> None:
        self._links.send_nowait(snapshot)
        await trio.testing.wait_all_tasks_blocked()

    @property
    def link(self) -> LinkState:
        return self.watch.value

    async def until(self, state: str) -> float:
        """Wait until the published state is ``state``; returns how long that took."""
        start = trio.current_time()
        with trio.fail_after(600):
            version = self.watch.version
            while self.link.state != state:
                _, version = await self.watch.newer(version)
        return trio.current_time() - start


def passive(host: Host = A, phase: Any = "connect", failure: str | None = None) -> NetSignal:
    return NetSignal(host.host, host.port, phase, 0.02, failure)


async def test_it_is_ready_when_the_links_are_judged(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A)
    await nursery.start(world.monitor.run)
    assert world.told == ["optimal"]
    assert world.link.routes == {"loopback": "optimal", "lan": "optimal", "internet": "optimal"}


async def test_nothing_is_ever_sent_without_a_provider_out_there(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(FORWARDER, Host("ollama", "localhost", 11434, False, "local"))
    await nursery.start(world.monitor.run)
    world.monitor.tell(Stalled("127.0.0.1", 8443, 3.0))
    await trio.sleep(1000)
    assert world.probes == []
    assert "judged from the link alone" in " ".join(world.link.reasons)


async def test_hosts_are_probed_at_intervals_that_jitter(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, check_interval=30.0)
    await nursery.start(world.monitor.run)
    await trio.sleep(3000)
    times = [at for at, _ in world.probes]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == 0.0
    assert all(24.0 <= pause <= 36.1 for pause in pauses)
    assert len({round(pause, 3) for pause in pauses}) > len(pauses) / 2


async def test_real_requests_make_probes_unnecessary(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, check_interval=30.0)
    await nursery.start(world.monitor.run)
    await trio.sleep(1)
    for _ in range(100):
        world.monitor.tell(passive())
        await trio.sleep(10)
    assert len(world.probes) == 1


async def test_the_cable_is_pulled_and_put_back(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    world = World(A)
    await nursery.start(world.monitor.run)
    await trio.sleep(5)
    world.told.clear()
    before = trio.current_time()
    await world.links(DOWN)
    assert world.link.routes == {"loopback": "optimal", "lan": "disconnected", "internet": "disconnected"}
    await world.links(UP)
    assert world.link.routes == {"loopback": "optimal", "lan": "optimal", "internet": "optimal"}
    assert trio.current_time() == before
    assert world.told == ["disconnected", "optimal", "network changed"]


async def test_a_blackholed_route_is_found_by_a_stuck_request(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, B)
    await nursery.start(world.monitor.run)
    await trio.sleep(10)
    world.answers = {"a.example": None, "b.example": None}
    world.monitor.tell(Stalled("a.example", 443, 1.0))
    assert await world.until("disconnected") <= CONFIRM_SECONDS + 0.01
    assert "none of the 2 hosts answers" in world.link.reasons[0]
    assert world.link.routes["lan"] == "optimal"
    # It is looked for again, less and less often, and found.
    world.probes.clear()
    await trio.sleep(120)
    times = [at for at, name in world.probes if name == "a.example"]
    assert 5 <= len(times) <= 9
    world.answers.clear()
    assert await world.until("optimal") < 40


async def test_a_probe_in_flight_is_not_waited_for_longer_than_the_suspicion_allows(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A)
    world.answers = {"a.example": None}
    await nursery.start(world.monitor.run)
    await trio.sleep(0.5)
    assert PROBE_SECONDS > 0.5 + CONFIRM_SECONDS
    world.monitor.tell(Stalled("a.example", 443, 1.0))
    assert await world.until("disconnected") <= CONFIRM_SECONDS + 0.01


async def test_a_slow_model_is_not_a_lost_network(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A)
    await nursery.start(world.monitor.run)
    await trio.sleep(10)
    world.probes.clear()
    for _ in range(20):
        world.monitor.tell(Stalled("a.example", 443, 1.0))
        await trio.sleep(0.1)
    assert world.told == ["optimal"]
    assert 1 <= len(world.probes) <= 3  # one a second, however many wait


async def test_one_provider_down_is_not_the_network(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, B)
    await nursery.start(world.monitor.run)
    await trio.sleep(10)
    world.answers = {"a.example": None}
    for _ in range(30):
        world.monitor.tell(passive(failure="upstream_connect"))
        world.monitor.tell(passive(B))
        await trio.sleep(1)
    assert world.link.state == "optimal"
    assert any("a.example does not answer" in reason for reason in world.link.reasons)


async def test_an_outage_is_found_while_nobody_asks_anything(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, B, check_interval=30.0)
    await nursery.start(world.monitor.run)
    await trio.sleep(10)
    world.answers = {"a.example": None, "b.example": None}
    assert await world.until("disconnected") < 50


async def test_the_local_network_survives_an_outage(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, NAS)
    await nursery.start(world.monitor.run)
    world.answers = {"a.example": None}
    world.monitor.tell(passive(failure="upstream_connect"))
    await world.until("disconnected")
    assert world.link.routes == {"loopback": "optimal", "lan": "optimal", "internet": "disconnected"}
    assert all(name != NAS.host for _, name in world.probes)


async def test_a_lost_lan_host_is_looked_for_until_it_answers(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(NAS)
    await nursery.start(world.monitor.run)
    await trio.sleep(100)
    assert world.probes == []
    world.answers = {NAS.host: None}
    world.monitor.tell(passive(NAS, failure="upstream_connect"))
    await trio.sleep(3)
    assert world.link.routes == {"loopback": "optimal", "lan": "disconnected", "internet": "optimal"}
    world.answers.clear()
    await trio.sleep(60)
    assert world.link.routes == {"loopback": "optimal", "lan": "optimal", "internet": "optimal"}


async def test_a_captive_portal_counts_as_not_connected(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A)
    world.answers = {"a.example": PORTAL}
    await nursery.start(world.monitor.run)
    await world.until("disconnected")
    assert world.link.reasons == ("captive portal: a redirect to login.example at a.example",)
    world.answers.clear()
    await world.until("optimal")


async def test_a_slow_network_is_degraded_after_the_dwell_time(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, dwell_seconds=2.0)
    await nursery.start(world.monitor.run)
    world.answers = {"a.example": ProbeResult(0.5)}
    for _ in range(20):
        world.monitor.tell(NetSignal("a.example", 443, "connect", 0.5))
    assert 2.0 <= await world.until("degraded") <= 3.2
    assert world.link.target == "hybrid"


@pytest.mark.parametrize("noticed_by", ["tick", "link event"])
async def test_after_sleep_everything_starts_over(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, noticed_by: str
) -> None:
    world = World(A, check_interval=300.0)
    await nursery.start(world.monitor.run)
    await trio.sleep(5.5)
    world.told.clear()
    world.probes.clear()
    world.slept = 3600.0
    if noticed_by == "link event":
        await world.links(ELSEWHERE)
        assert world.told == ["woke"]
    await trio.sleep(2)
    assert world.told == ["woke"]
    assert [name for _, name in world.probes] == ["a.example"]
    await trio.sleep(100)
    assert world.told == ["woke"]


async def test_another_network_is_told_and_old_failures_do_not_count_in_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A)
    world.answers = {"a.example": None}
    await nursery.start(world.monitor.run)
    await world.until("disconnected")
    world.told.clear()
    world.answers.clear()
    await world.links(ELSEWHERE)
    assert world.told == ["optimal", "network changed"]
    world.monitor.tell(NetSignal("a.example", 443, "first_byte", 8.0, "upstream_reset"))  # began in the old one
    await trio.sleep(1)
    assert world.link.hosts[0].samples == 1  # the probe


async def test_containers_that_start_are_no_other_network(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A)
    await nursery.start(world.monitor.run)
    await world.links(CONTAINERS)
    assert world.told == ["optimal"]


async def test_a_flood_of_signals_is_bounded_and_the_newest_count(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A)
    for _ in range(10 * INTAKE):
        world.monitor.tell(passive(failure="upstream_reset"))
    for _ in range(INTAKE):
        world.monitor.tell(passive())
    world.monitor.tell(NetSignal("stranger.example", 443, "connect", 0.1, "upstream_dns"))
    await nursery.start(world.monitor.run)
    await trio.sleep(1)
    assert world.link.hosts[0].loss_percent == 0.0


async def test_signals_do_not_wait_and_are_folded_together(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, check_interval=600.0)
    await nursery.start(world.monitor.run)
    await trio.sleep(1)
    version = world.watch.version
    for _ in range(1000):
        world.monitor.tell(passive())
    await trio.sleep(1)
    assert world.watch.version - version <= 2


async def test_providers_of_one_address_share_its_record(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    world = World(A, msgspec.structs.replace(A, provider="second"))
    await nursery.start(world.monitor.run)
    await trio.sleep(1)
    assert len(world.probes) == 1
    assert world.link.hosts[0].providers == ("openai", "second")


async def test_health_is_plain_json(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    world = World(A, NAS)
    await nursery.start(world.monitor.run)
    await trio.sleep(7)
    shown = world.monitor.health()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert (shown["state"], shown["target"], shown["for_seconds"]) == ("optimal", "cloud", 7.0)


async def test_a_host_behind_a_proxy_is_left_to_real_requests(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "b.example")
    world = World(A, B)
    await nursery.start(world.monitor.run)
    await trio.sleep(100)
    assert {name for _, name in world.probes} == {"b.example"}


async def test_a_restart_goes_on_with_what_was_known(autojump_clock: trio.testing.MockClock) -> None:
    world = World(A, check_interval=300.0)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(world.monitor.run)
            await trio.sleep(1)
            nursery.cancel_scope.cancel(reason="the test restarts it")
    assert world.told == ["optimal"]
    assert len(world.probes) == 1
