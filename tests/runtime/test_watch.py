"""Published values: readers see the latest, and never hold the writer up."""

from __future__ import annotations

import trio
import trio.testing

from oblix_actors.runtime.watch import Watch


async def test_readers_wait_for_news_and_skip_what_they_missed() -> None:
    cell = Watch(0)
    seen: list[int] = []

    async def read() -> None:
        version = 0
        while True:
            value, version = await cell.newer(version)
            seen.append(value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        for value in (1, 2, 3):
            cell.set(value)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [3]
        cell.set(4)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [3, 4]
        nursery.cancel_scope.cancel(reason="the test is over")
    assert (cell.value, cell.version) == (4, 4)


async def test_news_from_before_the_wait_are_not_missed() -> None:
    cell = Watch("old")
    cell.set("new")
    assert await cell.newer(0) == ("new", 1)
