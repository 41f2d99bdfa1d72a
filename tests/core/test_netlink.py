"""The kernel's messages as events, and events as a table: whatever the bytes, nothing raises and nothing grows."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.link import DefaultRoute, LinkSnapshot, internet_link
from oblix_actors.core.linktable import MOST_INTERRUPTED, KernelRefused, LinkFollower
from oblix_actors.core.netlink import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    AddressGone,
    AddressSeen,
    DefaultGone,
    DefaultSeen,
    Done,
    Event,
    LinkGone,
    LinkSeen,
    Refused,
    dump_request,
    parse,
)
from tests.core import netlink_bytes as nl

PORT = 4711


def events(data: bytes) -> list[Event | None]:
    return [message.event for message in parse(data)]


def seen(index: int, name: str, *, up: bool = True, carrier: bool = True, kind: str = "") -> LinkSeen:
    return LinkSeen(index, name, up=up, running=up and carrier, carrier=carrier, loopback=False, kind=kind)


DORMANT = LinkSeen(3, "wlan0", up=True, running=False, carrier=True, loopback=False, kind="")


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (nl.message(nl.NEWLINK, nl.link(2, "eth0")), seen(2, "eth0")),
        (nl.message(nl.NEWLINK, nl.link(2, "eth0", 0)), seen(2, "eth0", up=False, carrier=False)),
        (nl.message(nl.NEWLINK, nl.link(2, "eth0", nl.UP)), seen(2, "eth0", carrier=False)),
        # The kernel says "running" late; an access point that has not let us in yet is another thing.
        (nl.message(nl.NEWLINK, nl.link(2, "eth0", nl.UP | nl.LOWER_UP)), seen(2, "eth0")),
        (nl.message(nl.NEWLINK, nl.link(3, "wlan0", nl.UP | nl.LOWER_UP | nl.DORMANT)), DORMANT),
        (nl.message(nl.NEWLINK, nl.link(7, "docker0", kind="bridge")), seen(7, "docker0", kind="bridge")),
        (nl.message(nl.DELLINK, nl.link(2, "eth0")), LinkGone(2)),
        # A port leaves a bridge: the interface stays.
        (nl.message(nl.DELLINK, nl.link(2, "eth0", family=7)), None),
        (nl.message(nl.NEWADDR, nl.address(2, "192.0.2.7/24")), AddressSeen(2, "192.0.2.7/24")),
        (nl.message(nl.DELADDR, nl.address(2, "2001:db8::7/64")), AddressGone(2, "2001:db8::7/64")),
        (nl.message(nl.NEWROUTE, nl.route(2, "192.0.2.1")), DefaultSeen(4, 0, ((2, "192.0.2.1"),))),
        (nl.message(nl.NEWROUTE, nl.route(5)), DefaultSeen(4, 0, ((5, ""),))),
        (
            nl.message(nl.NEWROUTE, nl.route(2, "fe80::1", version=6, metric=1024), flags=nl.REPLACE),
            DefaultSeen(6, 1024, ((2, "fe80::1"),), replaces=True),
        ),
        (
            nl.message(nl.NEWROUTE, nl.route(0, several=((2, "192.0.2.1"), (3, "198.51.100.1")))),
            DefaultSeen(4, 0, ((2, "192.0.2.1"), (3, "198.51.100.1"))),
        ),
        (nl.message(nl.DELROUTE, nl.route(2, "192.0.2.1")), DefaultGone(4, 0, ((2, "192.0.2.1"),))),
        # No default route: a network's own, a blackhole, another table.
        (nl.message(nl.NEWROUTE, nl.route(2, bits=24)), None),
        (nl.message(nl.NEWROUTE, nl.route(1, kind=7)), None),
        (nl.message(nl.NEWROUTE, nl.route(9, table=51820)), None),
        (nl.done(3, PORT), Done(PORT, 3)),
        (nl.error(16, 3, PORT), Refused(PORT, 3, 16)),
        (nl.error(0, 3, PORT), None),
        (nl.message(28, b"a neighbour, say"), None),
    ],
)
def test_one_message(data: bytes, event: Event | None) -> None:
    assert events(data) == [event]


def test_several_messages_in_one_datagram_come_in_order() -> None:
    data = nl.message(nl.NEWLINK, nl.link(2, "eth0")) + nl.message(nl.NEWADDR, nl.address(2, "192.0.2.7/24"))
    assert events(data) == [seen(2, "eth0"), AddressSeen(2, "192.0.2.7/24")]


def test_a_cut_message_ends_the_datagram_and_loses_nothing_before_it() -> None:
    whole = nl.message(nl.NEWLINK, nl.link(2, "eth0"))
    for cut in range(len(whole)):
        assert events(whole + whole[:cut]) == [seen(2, "eth0")]


def test_a_request_for_a_dump_is_a_message_the_kernel_reads() -> None:
    for kind, body in ((RTM_GETLINK, 16), (RTM_GETADDR, 8), (RTM_GETROUTE, 12)):
        request = dump_request(kind, 9)
        assert struct.unpack_from("=IHHII", request) == (16 + body, kind, 0x301, 9, 0)
        assert len(request) == 16 + body


bodies = st.one_of(
    st.binary(max_size=120),
    st.builds(
        lambda cut, flags: nl.link(2, "eth0", flags, kind="veth")[:cut], st.integers(0, 60), st.integers(0, 2**32 - 1)
    ),
    st.builds(lambda cut: nl.address(2, "192.0.2.7/24")[:cut], st.integers(0, 40)),
    st.builds(lambda cut: nl.route(2, several=((2, "192.0.2.1"),))[:cut], st.integers(0, 60)),
)
messages = st.builds(
    lambda kind, body, flags, seq, port: nl.message(kind, body, flags=flags, seq=seq, port=port),
    st.one_of(st.integers(2, 27), st.integers(0, 65535)),
    bodies,
    st.integers(0, 65535),
    st.integers(0, 5),
    st.sampled_from([0, PORT]),
)
datagrams = st.one_of(st.binary(max_size=400), st.lists(messages, max_size=8).map(b"".join))


@given(st.lists(datagrams, max_size=20))
def test_no_bytes_raise_or_make_odd_snapshots(received: list[bytes]) -> None:
    follower = LinkFollower(PORT)
    follower.start()
    for data in received:
        try:
            follower.receive(data)
        except KernelRefused:
            follower.start()
    snapshot = follower.snapshot
    assert snapshot is None or internet_link(snapshot).reason


class Kernel:
    """The other side of the dialogue: answers requests from a few lines of state."""

    def __init__(self, **lists: list[bytes]) -> None:
        self.lists = lists
        self.follower = LinkFollower(PORT)

    def answer(self, request: bytes, *, flags: int = 0) -> bytes:
        _, kind, _, seq, _ = struct.unpack_from("=IHHII", request)
        name, made = {
            RTM_GETLINK: ("links", nl.NEWLINK),
            RTM_GETADDR: ("addresses", nl.NEWADDR),
            RTM_GETROUTE: ("routes", nl.NEWROUTE),
        }[kind]
        parts = [
            nl.message(made, body, flags=nl.MULTI | flags, seq=seq, port=PORT) for body in self.lists.get(name, [])
        ]
        return b"".join(parts) + nl.done(seq, PORT)

    def serve(self, request: bytes | None) -> int:
        """Answer until nothing more is asked; returns how many requests that were."""
        asked = 0
        while request is not None:
            asked += 1
            request = self.follower.receive(self.answer(request))
        return asked

    @property
    def snapshot(self) -> LinkSnapshot:
        assert self.follower.snapshot is not None
        return self.follower.snapshot


@pytest.fixture
def kernel() -> Kernel:
    kernel = Kernel(
        links=[nl.link(1, "lo", nl.ALIVE | nl.LOOPBACK), nl.link(2, "eth0")],
        addresses=[nl.address(1, "127.0.0.1/8"), nl.address(2, "192.0.2.7/24")],
        routes=[nl.route(2, "192.0.2.1"), nl.route(2, bits=24)],
    )
    kernel.serve(kernel.follower.start())
    return kernel


def test_three_lists_make_the_first_snapshot(kernel: Kernel) -> None:
    assert [(each.name, each.addresses) for each in kernel.snapshot.interfaces] == [
        ("lo", ("127.0.0.1/8",)),
        ("eth0", ("192.0.2.7/24",)),
    ]
    assert kernel.snapshot.defaults == (DefaultRoute(4, "eth0", "192.0.2.1"),)


def test_there_is_no_snapshot_before_the_third_list_is_over() -> None:
    kernel = Kernel()
    second = kernel.follower.receive(kernel.answer(kernel.follower.start()))
    assert second is not None
    third = kernel.follower.receive(kernel.answer(second))
    assert third is not None
    assert kernel.follower.snapshot is None
    assert kernel.follower.receive(kernel.answer(third)) is None
    assert kernel.snapshot == LinkSnapshot((), ())


def test_a_link_going_down_is_known_before_anything_is_asked(kernel: Kernel) -> None:
    kernel.follower.receive(nl.message(nl.NEWLINK, nl.link(2, "eth0", 0)))
    assert not internet_link(kernel.snapshot).up


def test_routes_that_went_in_silence_are_found_out(kernel: Kernel) -> None:
    kernel.lists["routes"] = []
    request = kernel.follower.receive(nl.message(nl.NEWLINK, nl.link(2, "eth0", 0)))
    assert kernel.serve(request) == 3
    kernel.lists["links"] = [nl.link(2, "eth0")]
    kernel.follower.receive(nl.message(nl.NEWLINK, nl.link(2, "eth0")))
    assert internet_link(kernel.snapshot).reason == "there is no default route"
    kernel.follower.receive(nl.message(nl.NEWROUTE, nl.route(2, "192.0.2.1")))
    assert internet_link(kernel.snapshot).up


def test_a_list_with_a_link_that_is_down_is_not_a_reason_to_list_again() -> None:
    kernel = Kernel(links=[nl.link(3, "wlan0", 0)])
    assert kernel.serve(kernel.follower.start()) == 3


def test_events_during_a_list_count_and_silent_ones_bring_another(kernel: Kernel) -> None:
    request = kernel.follower.lost()
    assert request is not None
    kernel.follower.receive(nl.message(nl.DELADDR, nl.address(2, "192.0.2.7/24")))
    kernel.lists["addresses"] = [nl.address(2, "192.0.2.8/24")]
    assert kernel.serve(request) == 6
    assert kernel.snapshot.interfaces[1].addresses == ("192.0.2.8/24",)


def test_the_old_table_serves_while_everything_is_listed_anew(kernel: Kernel) -> None:
    request = kernel.follower.lost()
    assert internet_link(kernel.snapshot).up
    assert kernel.follower.lost() is None  # one list at a time
    assert request is not None
    assert kernel.serve(request) == 6


def test_an_interrupted_list_is_made_again_but_not_for_ever() -> None:
    kernel = Kernel(links=[nl.link(2, "eth0")])
    request: bytes | None = kernel.follower.start()
    asked = 0
    while request is not None:
        asked += 1
        request = kernel.follower.receive(kernel.answer(request, flags=nl.INTERRUPTED))
    assert asked == MOST_INTERRUPTED + 3
    assert len(kernel.snapshot.interfaces) == 1


def test_a_refusal_is_raised_and_the_answers_to_others_are_ignored() -> None:
    follower = LinkFollower(PORT)
    follower.start()
    assert follower.receive(nl.error(1, 1, PORT + 1) + nl.done(1, PORT + 1) + nl.done(99, PORT)) is None
    with pytest.raises(KernelRefused) as refused:
        follower.receive(nl.error(1, 1, PORT))
    assert refused.value.errno == 1


def test_an_interface_that_goes_takes_its_routes_along(kernel: Kernel) -> None:
    kernel.follower.receive(nl.message(nl.DELLINK, nl.link(2, "eth0")))
    assert kernel.snapshot.defaults == ()
    assert [each.name for each in kernel.snapshot.interfaces] == ["lo"]


def test_a_replaced_route_is_not_kept(kernel: Kernel) -> None:
    kernel.follower.receive(nl.message(nl.NEWROUTE, nl.route(2, "192.0.2.254"), flags=nl.REPLACE))
    assert kernel.snapshot.defaults == (DefaultRoute(4, "eth0", "192.0.2.254"),)


def test_a_message_without_name_and_kind_keeps_those_that_are_known(kernel: Kernel) -> None:
    kernel.follower.receive(nl.message(nl.NEWLINK, nl.link(2)))
    assert kernel.snapshot.interfaces[1].name == "eth0"
