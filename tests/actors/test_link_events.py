"""The connectivity monitor against a real kernel: a cable between two network namespaces is pulled, cut and swallowed.

How fast it is, ``bench/link_events.py`` measures; here it is what happens, and in which order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from tests.actors.netns import Cable, Child, cable, inside, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

PATIENCE = 60.0


@pytest.fixture
def line() -> Iterator[Cable]:
    with cable() as made:
        yield made


@pytest.fixture
async def monitor(line: Cable) -> AsyncIterator[Child]:
    with trio.fail_after(PATIENCE):
        async with inside(line.there, "cloud") as server, inside(line.here, "monitor") as child:
            await server.until(event="ready")
            await child.until(event="ready")
            yield child


async def test_an_interface_taken_down_is_disconnected_and_its_return_ends_it(line: Cable, monitor: Child) -> None:
    for _ in range(3):
        line.take_down()
        lost = (await monitor.until(event="verdict", state="disconnected"))[-1]
        assert lost["target"] == "local"
        assert lost["routes"] == {"loopback": "optimal", "lan": "disconnected", "internet": "disconnected"}
        assert lost["reasons"] == ["the default route leads nowhere: cable0 is down"]
        line.bring_up()
        back = await monitor.until(event="verdict", state="optimal")
        assert back[-1]["target"] == "cloud"
        await monitor.until(event="network changed")


async def test_a_pulled_cable_is_told_from_its_carrier(line: Cable, monitor: Child) -> None:
    line.pull()
    lost = (await monitor.until(event="verdict"))[-1]
    assert lost["state"] == "disconnected"
    assert lost["reasons"] == ["the default route leads nowhere: cable0 has no carrier"]
    line.plug()
    seen = await monitor.until(event="network changed")
    assert [each["state"] for each in seen if each["event"] == "verdict"] == ["optimal"]


async def test_a_blackholed_route_is_found_by_a_stuck_request(line: Cable, monitor: Child) -> None:
    await monitor.say("request")
    await monitor.until(event="request", outcome="answered")
    line.swallow()
    await monitor.say("request")
    seen = await monitor.until(event="verdict")
    assert [each["outcome"] for each in seen[:-1]] == ["sent", "stuck"]
    assert seen[-1]["state"] == "disconnected"
    assert seen[-1]["routes"] == {"loopback": "optimal", "lan": "optimal", "internet": "disconnected"}
    assert "the only host does not answer" in seen[-1]["reasons"][0]
    line.give_back()
    await monitor.until(event="verdict", state="optimal")
