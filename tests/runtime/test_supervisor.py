"""The supervisor: restarts with backoff, gives up beyond its intensity, stops in reverse order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
import trio.testing

from oblix_actors.errors import StartFailed
from oblix_actors.runtime.supervisor import ChildSpec, Intensity, Supervisor

Body = Callable[..., Awaitable[None]]


def leaves(error: BaseException) -> list[BaseException]:
    """The single exceptions inside nested groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for child in error.exceptions for leaf in leaves(child)]
    return [error]


def crashing(after: float, times: list[float], *, crashes: int = 10**9) -> Body:
    """An actor that notes when it starts and crashes ``after`` seconds later, ``crashes`` times."""

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        times.append(trio.current_time())
        task_status.started()
        if len(times) > crashes:
            await trio.sleep_forever()
        await trio.sleep(after)
        raise ValueError("crash")

    return run


async def test_a_crashed_actor_is_restarted_with_growing_pauses(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []
    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        await supervisor.start(nursery, ChildSpec("actor", crashing(0, times, crashes=4)))
        await trio.sleep(10)
        (state,) = supervisor.states()
        assert (state.phase, state.restarts, state.error) == ("running", 4, "ValueError")
        await supervisor.stop()
        assert supervisor.states()[0].phase == "stopped"
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8])


async def test_others_go_on_while_one_restarts(autojump_clock: trio.testing.MockClock) -> None:
    starts: list[float] = []
    calm: list[float] = []
    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        await supervisor.start(nursery, ChildSpec("calm", crashing(trio.current_time() + 10**6, calm)))
        await supervisor.start(nursery, ChildSpec("wild", crashing(0.01, starts, crashes=3)))
        await trio.sleep(5)
        assert len(starts) == 4
        assert len(calm) == 1
        await supervisor.stop()


async def test_a_failure_before_ready_is_fatal_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.sleep(1)
        raise ValueError("no port")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await Supervisor().start(nursery, ChildSpec("actor", run))
    (error,) = leaves(caught.value)
    assert isinstance(error, StartFailed)
    assert "actor did not start: ValueError: no port" in str(error)


async def test_too_many_crashes_bring_the_tree_down(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []
    supervisor = Supervisor(Intensity(restarts=3, seconds=30))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await supervisor.start(nursery, ChildSpec("actor", crashing(0, times)))
            await trio.sleep(1000)
    (error,) = leaves(caught.value)
    assert isinstance(error, StartFailed)
    assert "more than 3" in str(error)
    assert len(times) == 4


async def test_rare_crashes_never_bring_it_down(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []
    supervisor = Supervisor(Intensity(restarts=3, seconds=30))
    async with trio.open_nursery() as nursery:
        await supervisor.start(nursery, ChildSpec("actor", crashing(20, times, crashes=50)))
        await trio.sleep(50 * 26)
        assert supervisor.states()[0].restarts == 50
        await supervisor.stop()


async def test_an_actor_that_returns_has_crashed(autojump_clock: trio.testing.MockClock) -> None:
    starts = 0

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        nonlocal starts
        starts += 1
        task_status.started()
        if starts == 2:
            await trio.sleep_forever()

    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        await supervisor.start(nursery, ChildSpec("actor", run))
        await trio.sleep(1)
        assert supervisor.states()[0].restarts == 1
        await supervisor.stop()


async def test_actors_stop_in_reverse_order(autojump_clock: trio.testing.MockClock) -> None:
    stopped: list[str] = []

    def body(name: str) -> Body:
        async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                stopped.append(name)

        return run

    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        for name in ("first", "second", "third"):
            await supervisor.start(nursery, ChildSpec(name, body(name)))
        await supervisor.stop()
    assert stopped == ["third", "second", "first"]


async def test_a_crash_while_stopping_does_not_break_the_stop(autojump_clock: trio.testing.MockClock) -> None:
    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while stopping")

    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        await supervisor.start(nursery, ChildSpec("actor", run))
        await supervisor.stop()
    assert supervisor.states()[0].phase == "stopped"
