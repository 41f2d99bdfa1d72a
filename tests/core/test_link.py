"""What the links allow: the table reads as documentation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.link import (
    DefaultRoute,
    Interface,
    LinkSnapshot,
    fingerprint,
    internet_link,
    lan_link,
    loopback_link,
)

V4, V6 = "192.0.2.7/24", "2001:db8::7/64"


def nic(name: str, address: str = V4, *, up: bool = True, carrier: bool | None = True, kind: str = "") -> Interface:
    return Interface(
        name=name,
        up=up,
        running=up and carrier is not False,
        carrier=carrier,
        kind=kind,
        addresses=(address,) if address else (),
    )


def via(*interfaces: str) -> tuple[DefaultRoute, ...]:
    return tuple(DefaultRoute(4, name, "192.0.2.1") for name in interfaces)


LO = Interface(name="lo", up=True, running=True, loopback=True, addresses=("127.0.0.1/8",))
ETH, WIFI = nic("eth0"), nic("wlan0", "198.51.100.7/24")
DOCKER = nic("docker0", "172.17.0.1/16", kind="bridge")
UNKNOWN = None

CASES = [
    ("a wired machine", [LO, ETH], via("eth0"), True, True, "default route through eth0"),
    ("two ways", [ETH, WIFI], via("eth0", "wlan0"), True, True, "default route through eth0, wlan0"),
    ("one of two pulled", [nic("eth0", carrier=False), WIFI], via("eth0", "wlan0"), True, True, "through wlan0"),
    ("the cable is pulled", [LO, nic("eth0", carrier=False)], via("eth0"), False, False, "eth0 has no carrier"),
    ("taken down", [LO, nic("eth0", up=False)], via("eth0"), False, False, "eth0 is down"),
    ("no route yet", [LO, ETH], (), False, True, "there is no default route"),
    ("an interface that went", [LO], via("ppp0"), False, False, "ppp0 is gone"),
    ("nothing but the loopback", [LO], (), False, False, "there is no default route"),
    ("containers only", [LO, DOCKER], (), False, False, "there is no default route"),
    ("down, routes gone", [LO, nic("eth0", up=False)], (), False, False, "no default route (eth0 is down)"),
    ("inside a container", [LO, nic("eth0", kind="veth")], via("eth0"), True, True, "through eth0"),
    ("a VPN over Wi-Fi", [WIFI, nic("tun0", "10.8.0.2/24", kind="tun")], via("tun0"), True, True, "through tun0"),
    ("a VPN over nothing", [nic("tun0", "10.8.0.2/24", kind="tun")], via("tun0"), False, False, "is a tunnel"),
    ("routes unknown, up", [LO, ETH], UNKNOWN, True, True, "eth0 is up"),
    ("routes unknown, link-local only", [LO, nic("en0", "fe80::1/64")], UNKNOWN, False, False, "no network interface"),
    ("routes unknown, containers only", [LO, DOCKER], UNKNOWN, False, False, "no network interface"),
    ("routes unknown, VPN alone", [LO, nic("utun3", "10.8.0.2/32")], UNKNOWN, False, False, "no network interface"),
    ("routes unknown, Wi-Fi off", [LO, nic("en0", up=False)], UNKNOWN, False, False, "no network interface"),
]


@pytest.mark.parametrize(
    ("interfaces", "defaults", "internet", "lan", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_what_the_links_allow(
    interfaces: list[Interface], defaults: tuple[DefaultRoute, ...] | None, internet: bool, lan: bool, reason: str
) -> None:
    snapshot = LinkSnapshot(tuple(interfaces), defaults)
    verdict = internet_link(snapshot)
    assert verdict.up is internet
    assert reason in verdict.reason
    assert lan_link(snapshot).up is lan


def test_a_container_network_counts_for_a_host_inside_it() -> None:
    snapshot = LinkSnapshot((LO, DOCKER), ())
    assert lan_link(snapshot, ("172.17.0.2",)).up
    assert not lan_link(snapshot, ("192.0.2.9", "nas.local", "::1")).up


def test_addresses_that_cannot_be_read_speak_against_nothing() -> None:
    blind = Interface(name="eth0", up=True, running=True, addresses=None)
    assert internet_link(LinkSnapshot((blind,), None)).up


def test_the_loopback_is_there_unless_it_is_down() -> None:
    assert loopback_link(LinkSnapshot()).up
    assert loopback_link(LinkSnapshot((LO,))).up
    down = Interface(name="lo", up=False, running=False, loopback=True)
    assert not loopback_link(LinkSnapshot((down,))).up


HOME = LinkSnapshot((LO, ETH), via("eth0"))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (LinkSnapshot((LO, ETH, DOCKER), via("eth0")), True),
        (LinkSnapshot((LO, ETH, nic("wlan0", "fe80::7/64")), via("eth0")), True),
        (LinkSnapshot((LO, nic("eth0", "192.0.2.8/24")), via("eth0")), False),
        (LinkSnapshot((LO, ETH), (DefaultRoute(4, "eth0", "192.0.2.254"),)), False),
        (LinkSnapshot((LO, ETH, WIFI), via("eth0", "wlan0")), False),
        (LinkSnapshot((LO, nic("eth0", up=False)), via("eth0")), False),
    ],
)
def test_another_network_is_told_from_the_same_one(other: LinkSnapshot, same: bool) -> None:
    assert (fingerprint(other) == fingerprint(HOME)) is same


def test_a_new_privacy_address_is_the_same_network() -> None:
    one, two = (LinkSnapshot((nic("eth0", f"2001:db8::{n}/64"),), via("eth0")) for n in (1, 2))
    assert fingerprint(one) == fingerprint(two)


def test_no_network_has_no_fingerprint() -> None:
    assert fingerprint(LinkSnapshot((LO, nic("eth0", up=False), DOCKER), via("eth0"))) == frozenset()


interfaces = st.builds(
    Interface,
    name=st.sampled_from(["lo", "eth0", "wlan0", "docker0", "tun0", ""]),
    up=st.booleans(),
    running=st.booleans(),
    carrier=st.sampled_from([True, False, None]),
    kind=st.sampled_from(["", "veth", "bridge", "tun"]),
    loopback=st.booleans(),
    addresses=st.one_of(st.none(), st.lists(st.sampled_from([V4, V6, "fe80::1/64", "169.254.1.1/16"])).map(tuple)),
)
defaults = st.one_of(
    st.none(),
    st.lists(st.builds(DefaultRoute, st.sampled_from([4, 6]), st.sampled_from(["eth0", "tun0", "gone"]))).map(tuple),
)


@given(st.builds(LinkSnapshot, st.lists(interfaces, max_size=6).map(tuple), defaults), st.text(max_size=20))
def test_odd_links_are_judged_too(snapshot: LinkSnapshot, host: str) -> None:
    internet, lan = internet_link(snapshot), lan_link(snapshot, (host,))
    assert internet.reason
    assert lan.reason
    assert lan.up or not internet.up
    assert isinstance(fingerprint(snapshot), frozenset)
