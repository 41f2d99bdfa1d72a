"""The verdict on the network: each row is a situation and what is said about it."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.connectivity import NO_PROVIDERS, Judgement, State, as_json, first, judge
from oblix_actors.core.hosts import Failure, HostSummary, Route
from oblix_actors.core.link import DefaultRoute, Interface, LinkSnapshot
from oblix_actors.settings import ConnectivitySettings

SETTINGS = ConnectivitySettings()
LO = Interface(name="lo", up=True, running=True, loopback=True)
ETH = Interface(name="eth0", up=True, running=True, carrier=True, addresses=("192.0.2.7/24",))
UP = LinkSnapshot((LO, ETH), (DefaultRoute(4, "eth0", "192.0.2.1"),))
PULLED = LinkSnapshot((LO, msgspec.structs.replace(ETH, running=False, carrier=False)), UP.defaults)
LAN_ONLY = LinkSnapshot((LO, ETH), ())
NOTHING = LinkSnapshot((LO,), ())
GONE = Failure("upstream_connect", 1.0, "no answer within 1.2 s")


def host(name: str = "a.example", route: Route = "internet", **figures: Any) -> HostSummary:
    figures.setdefault("reachable", True)
    return HostSummary(host=name, port=443, route=route, providers=(name[0],), **figures)


def dead(name: str = "a.example", route: Route = "internet", **figures: Any) -> HostSummary:
    return host(name, route, reachable=False, last_failure=figures.pop("last_failure", GONE), **figures)


def verdict(
    hosts: tuple[HostSummary, ...], links: LinkSnapshot = UP, *, before: Judgement | None = None, now: float = 100.0
) -> Judgement:
    return judge(before or first(0.0), links, 50.0, hosts, SETTINGS, now)


def settled(hosts: tuple[HostSummary, ...], links: LinkSnapshot = UP, *, before: Judgement | None = None) -> Judgement:
    """The verdict once the dwell time is over."""
    early = verdict(hosts, links, before=before, now=100.0)
    return verdict(hosts, links, before=early, now=100.0 + SETTINGS.dwell_seconds)


LOGIN = Failure("captive_portal", 1.0, "a certificate that is not a.example's")

TABLE: list[tuple[str, LinkSnapshot, tuple[HostSummary, ...], State, State, State, str]] = [
    # situation, links, hosts, overall, internet, lan, a reason
    ("all is well", UP, (host(latency_ms=35.0),), "optimal", "optimal", "optimal", "latency 35 ms"),
    ("nothing measured yet", UP, (host(reachable=None),), "optimal", "optimal", "optimal", "default route through"),
    ("slow", UP, (host(latency_ms=412.0),), "degraded", "degraded", "optimal", "latency 412 ms > 200 ms (a.example)"),
    ("lossy", UP, (host(loss_percent=25.0, samples=20),), "degraded", "degraded", "optimal", "loss 25 % > 10 %"),
    ("too few to call it loss", UP, (host(loss_percent=25.0, samples=4),), "optimal", "optimal", "optimal", "default"),
    ("thin", UP, (host(bandwidth_mbps=1.25),), "degraded", "degraded", "optimal", "bandwidth 1.25 Mbps < 5 Mbps"),
    (
        "one host is far away, the network is fine",
        UP,
        (host(latency_ms=900.0), host("b.example", latency_ms=20.0)),
        "optimal",
        "optimal",
        "optimal",
        "latency 20 ms",
    ),
    (
        "one of two hosts is down",
        UP,
        (dead(), host("b.example", latency_ms=20.0)),
        "optimal",
        "optimal",
        "optimal",
        "a.example does not answer (no answer within 1.2 s)",
    ),
    ("one dead, one not known", UP, (dead(), host("b.example", reachable=None)), "optimal", "optimal", "optimal", ""),
    (
        "none answers",
        UP,
        (dead(), dead("b.example")),
        "disconnected",
        "disconnected",
        "optimal",
        "none of the 2 hosts answers",
    ),
    ("the only one does not", UP, (dead(),), "disconnected", "disconnected", "optimal", "the only host"),
    (
        "a hotel's login page",
        UP,
        (dead(captive=True, last_failure=LOGIN), dead("b.example")),
        "disconnected",
        "disconnected",
        "optimal",
        "captive portal: a certificate that is not a.example's at a.example",
    ),
    ("the cable", PULLED, (host(),), "disconnected", "disconnected", "disconnected", "eth0 has no carrier"),
    (
        "the internet is out, the local network works",
        UP,
        (dead(), host("nas", "lan")),
        "disconnected",
        "disconnected",
        "optimal",
        "the only host",
    ),
    ("no way out, only a local network", LAN_ONLY, (host(),), "disconnected", "disconnected", "optimal", "no default"),
    ("a way out that routes hide", LAN_ONLY, (host(connected=60.0),), "optimal", "optimal", "optimal", "and yet a.ex"),
    ("a proof of before", LAN_ONLY, (host(connected=40.0),), "disconnected", "disconnected", "optimal", "no default"),
    ("no providers, a link", UP, (), "optimal", "optimal", "optimal", NO_PROVIDERS),
    ("no providers, local network", LAN_ONLY, (), "optimal", "disconnected", "optimal", NO_PROVIDERS),
    ("no providers, no link", NOTHING, (), "disconnected", "disconnected", "disconnected", NO_PROVIDERS),
    ("only LAN providers", UP, (host("nas", "lan"),), "optimal", "optimal", "optimal", NO_PROVIDERS),
    (
        "a LAN provider that is switched off",
        UP,
        (dead("nas", "lan"), host()),
        "optimal",
        "optimal",
        "disconnected",
        "local network: the only host does not answer",
    ),
    (
        "a local server that is not there",
        UP,
        (dead("localhost", "loopback"), host()),
        "optimal",
        "optimal",
        "optimal",
        "",
    ),
]


@pytest.mark.parametrize(
    ("links", "hosts", "state", "internet", "lan", "reason"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_situations(
    links: LinkSnapshot, hosts: tuple[HostSummary, ...], state: State, internet: State, lan: State, reason: str
) -> None:
    link = settled(hosts, links).link
    assert link.state == state
    assert link.routes == {"loopback": "optimal", "internet": internet, "lan": lan}
    assert link.target == {"optimal": "cloud", "degraded": "hybrid", "disconnected": "local"}[state]
    assert any(reason in each for each in link.reasons), link.reasons


SLOW, FAST, BETTER = (host(latency_ms=ms) for ms in (400.0, 50.0, 180.0))


def test_one_slow_sample_changes_nothing_but_the_reasons() -> None:
    early = verdict((SLOW,), now=100.0)
    assert early.link.state == "optimal"
    assert early.pending
    assert early.link.reasons[-1] == "degraded when that lasts 2 s"
    back = verdict((FAST,), before=early, now=101.0)
    assert not back.pending
    again = verdict((SLOW,), before=back, now=101.5)
    assert verdict((SLOW,), before=again, now=103.0).link.state == "optimal"
    assert verdict((SLOW,), before=again, now=103.5).link.state == "degraded"


def test_spikes_of_one_second_never_flip_it() -> None:
    judgement = first(0.0)
    for second in range(200):
        judgement = verdict((SLOW if second % 2 else FAST,), before=judgement, now=float(second))
        assert judgement.link.state == "optimal"


def test_degraded_ends_only_when_figures_are_clearly_better() -> None:
    degraded = settled((SLOW,))
    assert degraded.link.state == "degraded"
    assert settled((BETTER,), before=degraded).link.state == "degraded"
    assert settled((FAST,), before=degraded).link.state == "optimal"


def test_disconnected_and_its_end_count_at_once() -> None:
    fine = verdict((FAST,), now=100.0)
    pulled = verdict((FAST,), PULLED, before=fine, now=100.001)
    assert (pulled.link.state, pulled.link.since) == ("disconnected", 100.001)
    assert not pulled.pending
    back = verdict((FAST,), before=pulled, now=100.002)
    assert (back.link.state, back.link.since) == ("optimal", 100.002)


def test_since_is_when_the_state_began() -> None:
    one = verdict((FAST,), PULLED, now=100.0)
    two = verdict((FAST,), NOTHING, before=one, now=200.0)
    assert (two.link.state, two.link.since) == ("disconnected", 100.0)
    assert two.link.reasons != one.link.reasons


def test_health_has_plain_values() -> None:
    link = settled((host(latency_ms=35.0, last_success=99.0), dead("b.example"))).link
    shown = as_json(link, 110.0)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert {"state", "target", "reasons", "routes", "hosts"} <= shown.keys()
    good, bad = shown["hosts"]
    assert (good["latency_ms"], good["bandwidth_mbps"], good["last_success_seconds_ago"]) == (35.0, "unknown", 11.0)
    assert bad["last_failure"] == {"code": "upstream_connect", "seconds_ago": 109.0}


figures = st.one_of(st.none(), st.floats(0, 1e7))
summaries = st.builds(
    HostSummary,
    host=st.sampled_from(["a.example", "192.0.2.9", ""]),
    port=st.integers(0, 65535),
    route=st.sampled_from(["loopback", "lan", "internet"]),
    providers=st.just(("a",)),
    reachable=st.sampled_from([True, False, None]),
    captive=st.booleans(),
    latency_ms=figures,
    loss_percent=st.one_of(st.none(), st.floats(0, 100)),
    samples=st.integers(0, 20),
    bandwidth_mbps=figures,
    last_success=figures,
    last_failure=st.one_of(st.none(), st.just(GONE)),
    connected=figures,
)


@given(
    st.lists(
        st.tuples(st.sampled_from([UP, PULLED, LAN_ONLY, NOTHING]), st.lists(summaries, max_size=3), st.floats(0, 10)),
        max_size=20,
    )
)
def test_the_verdict_is_sound_whatever_happens(moments: list[tuple[LinkSnapshot, list[HostSummary], float]]) -> None:
    judgement, now = first(0.0), 0.0
    for links, hosts, pause in moments:
        before, now = judgement, now + pause
        judgement = judge(before, links, now, tuple(hosts), SETTINGS, now)
        link = judgement.link
        json.dumps(as_json(link, now), allow_nan=False)
        assert link.reasons
        assert all(reason and "nan" not in reason for reason in link.reasons)
        assert math.isfinite(link.since)
        for name, route in judgement.routes.items():
            moved = {route.state, before.routes[name].state}
            dwelt = before.routes[name].pending == route.state
            assert len(moved) == 1 or "disconnected" in moved or dwelt
        if links is NOTHING and not any(host.connected is not None and host.connected > now for host in hosts):
            assert link.state == "disconnected"
