"""One host's record: what counts as evidence, and figures that stay finite whatever comes in."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.catalogue import Locality
from oblix_actors.core.hosts import LOSS_SECONDS, Host, HostStats, Meaning, ProbeResult, Route, meaning
from oblix_actors.core.signals import NetSignal, Phase
from oblix_actors.errors import KINDS

CLOUD = Host("openai", "api.example.com", 443, True, "cloud")
LAN = Host("nas", "192.0.2.9", 11434, False, "lan")
DEAD = ProbeResult(failure="upstream_connect", detail="no answer within 1.2 s")


def signal(phase: Phase = "connect", seconds: float = 0.05, failure: str | None = None) -> NetSignal:
    return NetSignal("api.example.com", 443, phase, seconds, failure)


def stats(host: Host = CLOUD) -> HostStats:
    return HostStats(host)


@pytest.mark.parametrize(
    ("host", "locality", "route"),
    [
        ("api.example.com", "cloud", "internet"),
        ("192.0.2.9", "lan", "lan"),
        ("127.0.0.1", "local", "loopback"),
        # A forwarder on this machine accepts connections whatever happened to the network behind it.
        ("127.0.0.1", "cloud", "loopback"),
        ("::1", "cloud", "loopback"),
        ("localhost", "lan", "loopback"),
        ("llm.localhost", "cloud", "loopback"),
    ],
)
def test_the_route_to_a_host(host: str, locality: Locality, route: Route) -> None:
    assert Host("any", host, 443, True, locality).route == route


@pytest.mark.parametrize(
    ("failure", "what"),
    [
        (None, "worked"),
        ("upstream_dns", "failed"),
        ("upstream_connect", "failed"),
        ("upstream_tls", "failed"),
        ("upstream_reset", "failed"),
        # Slow or lost: only a probe can tell.
        ("upstream_first_token_timeout", "suspicious"),
        ("upstream_stall", "suspicious"),
        # An upstream's own trouble came over a network that works.
        ("upstream_server_error", "worked"),
        ("upstream_rate_limited", "worked"),
        ("upstream_auth", "worked"),
        ("client_stalled", "nothing"),
        ("busy", "nothing"),
        ("no such code", "nothing"),
    ],
)
def test_what_a_signal_says_about_the_network(failure: str | None, what: Meaning) -> None:
    assert meaning(signal(failure=failure)) == what


def test_every_failure_of_the_taxonomy_has_a_meaning() -> None:
    assert {meaning(signal(failure=code)) for code in KINDS} == {"worked", "failed", "suspicious", "nothing"}


def test_nobody_knows_before_anything_was_tried() -> None:
    assert stats().reachable is None


def test_a_request_that_works_is_proof() -> None:
    host = stats()
    assert not host.signal(signal(), 10.0)
    assert host.reachable is True
    assert host.summary(10.0).latency_ms == 50.0
    assert host.summary(10.0).connected == pytest.approx(9.95)


def test_failing_requests_are_suspicions_and_no_more() -> None:
    host = stats()
    host.signal(signal(), 1.0)
    for at in range(50):
        assert host.signal(signal(failure="upstream_connect"), 2.0 + at)
    assert host.reachable is True


def test_a_failed_probe_alone_has_to_be_confirmed() -> None:
    host = stats()
    host.signal(signal(), 1.0)
    host.probed(DEAD, 2.0, 7.0)
    assert host.reachable is True
    host.probed(DEAD, 8.0, 9.2)
    assert host.reachable is False


@pytest.mark.parametrize("suspicion", ["request", "slow", "neighbour"])
def test_a_failed_probe_confirms_a_suspicion_at_once(suspicion: str) -> None:
    host = stats()
    match suspicion:
        case "request":
            host.signal(signal(failure="upstream_reset"), 1.0)
        case "slow":
            host.signal(signal("first_byte", failure="upstream_stall"), 1.0)
        case _:
            host.suspect()
    host.probed(DEAD, 1.0, 2.2)
    assert host.reachable is False
    assert host.summary(3.0).last_failure is not None


@pytest.mark.parametrize("by_probe", [True, False])
def test_a_success_of_either_sort_ends_it(by_probe: bool) -> None:
    host = stats()
    host.suspect()
    host.probed(DEAD, 1.0, 2.2)
    if by_probe:
        host.probed(ProbeResult(0.03), 3.0, 3.1)
    else:
        host.signal(signal("first_byte", 0.01), 3.1)
    assert host.reachable is True
    # The old suspicion is gone too: the next failed probe stands alone.
    host.probed(DEAD, 4.0, 5.0)
    assert host.reachable is True


def test_a_captive_portal_needs_no_confirmation() -> None:
    host = stats()
    host.probed(ProbeResult(failure="captive_portal", detail="a redirect to login.example"), 1.0, 1.1)
    summary = host.summary(1.1)
    assert (summary.reachable, summary.captive) == (False, True)


def test_a_refusal_shows_the_way_is_open_on_the_local_network_only() -> None:
    refusal = ProbeResult(failure="upstream_connect", refused=True)
    for host, reachable in ((LAN, True), (CLOUD, False)):
        record = stats(host)
        record.suspect()
        record.probed(refusal, 1.0, 1.1)
        assert record.reachable is reachable


def test_another_network_starts_from_nothing_and_ignores_what_began_before() -> None:
    host = stats()
    host.suspect()
    host.probed(DEAD, 1.0, 2.0)
    host.renew(10.0)
    assert host.reachable is None
    assert not host.signal(signal(seconds=3.0, failure="upstream_reset"), 11.0)
    host.probed(DEAD, 9.9, 11.0)
    assert host.reachable is None
    assert host.summary(11.0).samples == 0
    assert host.last_failure is not None  # history stays


def test_loss_needs_five_attempts_and_forgets_old_ones() -> None:
    host = stats()
    for at in range(4):
        host.signal(signal(failure="upstream_connect" if at == 0 else None), float(at))
    assert host.summary(4.0).loss_percent is None
    host.signal(signal(), 4.0)
    assert host.summary(4.0).loss_percent == 20.0
    assert host.summary(4.0 + LOSS_SECONDS).samples == 1


def test_an_outage_that_is_over_is_no_loss() -> None:
    host = stats()
    host.suspect()
    for at in range(8):
        host.probed(DEAD, float(at), float(at) + 0.5)
    assert host.summary(8.0).loss_percent == 100.0
    for at in range(8, 13):
        host.probed(ProbeResult(0.03), float(at), float(at) + 0.1)
    assert host.summary(13.0).loss_percent == 0.0


def test_p95_is_the_slow_end_and_the_average_follows_slowly() -> None:
    host = stats()
    for _ in range(18):
        host.signal(signal(seconds=0.1), 1.0)
    for _ in range(2):
        host.signal(signal(seconds=1.0), 2.0)
    summary = host.summary(2.0)
    assert summary.latency_p95_ms == 1000.0
    assert summary.latency_ms is not None
    assert 100.0 < summary.latency_ms < 1000.0


@pytest.mark.parametrize(
    ("received", "seconds", "bulk", "mbps"),
    [
        (1_000_000, 1.0, True, 8.0),
        (1_000_000, 1.0, False, None),  # a token stream's pace is the model's
        (1_000, 0.01, True, None),  # over before TCP has found the pace
        (1_000_000, 0.0, True, None),
    ],
)
def test_bandwidth_comes_from_real_transfers(received: int, seconds: float, bulk: bool, mbps: float | None) -> None:
    host = stats()
    host.signal(NetSignal("api.example.com", 443, "transfer", seconds, received=received, bulk=bulk), 10.0)
    assert host.summary(10.0).bandwidth_mbps == mbps


odd = st.one_of(st.floats(), st.floats(0, 10), st.sampled_from([0.0, math.inf, math.nan, -1.0, 1e308]))
signals = st.builds(
    NetSignal,
    st.just("api.example.com"),
    st.just(443),
    st.sampled_from(["dns", "connect", "tls", "first_byte", "transfer"]),
    odd,
    st.one_of(st.none(), st.sampled_from([*KINDS, "?"])),
    st.one_of(st.integers(), st.integers(0, 10**9)),
    st.booleans(),
)
probes = st.builds(
    ProbeResult, st.one_of(st.none(), odd), st.one_of(st.none(), st.just("captive_portal"), st.just("x"))
)


@given(st.lists(st.tuples(st.one_of(signals, probes), st.floats(0, 1000)), max_size=80))
def test_figures_are_finite_whatever_comes_in(seen: list[tuple[NetSignal | ProbeResult, float]]) -> None:
    host, now = stats(), 0.0
    for one, pause in seen:
        now += pause
        if isinstance(one, NetSignal):
            host.signal(one, now)
        else:
            host.probed(one, now - 0.1, now)
    summary = host.summary(now)
    json.dumps(msgspec.to_builtins(summary), allow_nan=False)
    assert summary.loss_percent is None or 0 <= summary.loss_percent <= 100
    assert summary.samples <= 20
