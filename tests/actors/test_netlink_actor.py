"""Following the links of the machine the tests run on: only looking, and without any rights."""

from __future__ import annotations

import socket
import sys

import psutil
import pytest
import trio

from oblix_actors.actors import netlink
from oblix_actors.actors.netlink import follow_links, look
from oblix_actors.actors.sleep import suspended_seconds
from oblix_actors.core.link import LinkSnapshot, internet_link
from oblix_actors.core.linktable import LinkFollower

PATIENCE = 60.0


async def test_the_kernel_and_psutil_see_the_same_interfaces(nursery: trio.Nursery) -> None:
    seen: list[LinkSnapshot] = []
    with trio.fail_after(PATIENCE):
        await nursery.start(follow_links, seen.append)
    polled = look()
    assert seen[0].interfaces
    assert {(each.name, each.up, each.loopback) for each in seen[0].interfaces} == {
        (each.name, each.up, each.loopback) for each in polled.interfaces
    }


async def test_without_a_kernel_socket_it_looks_every_few_seconds(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(publish: netlink.Publish) -> None:
        await trio.lowlevel.checkpoint()
        raise PermissionError(1, "Operation not permitted")

    interfaces = iter([LinkSnapshot(), LinkSnapshot(), look()])
    changed = trio.Event()
    seen: list[LinkSnapshot] = []

    def published(snapshot: LinkSnapshot) -> None:
        seen.append(snapshot)
        if len(seen) == 2:
            changed.set()

    monkeypatch.setattr(netlink, "follow_kernel", refused)
    monkeypatch.setattr(netlink, "look", lambda: next(interfaces, look()))
    monkeypatch.setattr(netlink, "POLL_SECONDS", 0.01)
    with trio.fail_after(PATIENCE):
        await nursery.start(follow_links, published)
        assert len(seen) == 1
        await changed.wait()
    assert seen[0] == LinkSnapshot()
    assert seen[1].defaults is None


def test_addresses_that_cannot_be_read_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(psutil, "net_if_addrs", refused)
    assert {each.addresses for each in look().interfaces} == {None}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's link events are Linux's own")
async def test_lost_and_cut_events_make_it_list_everything_anew() -> None:
    follower = LinkFollower(1)
    follower.start()

    class Overrun:
        """What is left of a socket whose buffer ran over, then one whose message was cut."""

        answers: tuple[object, ...] = (OSError(105, "No buffer space"), (b"", [], socket.MSG_TRUNC, (0, 0)))

        async def recvmsg(self, _: int) -> object:
            answer, *rest = self.answers
            self.answers = tuple(rest)
            if isinstance(answer, OSError):
                raise answer
            return answer

    link = Overrun()
    while link.answers:
        assert await netlink._receive(link, follower) is None  # type: ignore[arg-type]
        assert follower._again
        follower._again = False


def test_the_sleep_clock_does_not_run_while_we_are_awake() -> None:
    before = suspended_seconds()
    assert abs(suspended_seconds() - before) < 1.0


def test_our_own_links_can_be_judged() -> None:
    assert internet_link(look()).reason
