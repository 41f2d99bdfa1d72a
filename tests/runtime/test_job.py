"""A job: one writer, one end, whoever comes first, and a reader that always learns of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.events import Aborted, Completed, Delta, Failed
from oblix_actors.errors import Busy, OblixError
from oblix_actors.runtime.job import CHANNEL_BATCHES, Job, JobTable, NotTheWriter

REQUEST = ChatRequest(model="auto", messages=(Message("user", "hello"),))
HELLO = Delta(text="hello")


def a_job(table: JobTable | None = None) -> Job:
    """A job in ``table``, or in a table of its own."""
    return (JobTable(10) if table is None else table).open(REQUEST, created=1, submitted=0.0)


async def test_what_was_written_before_the_end_is_read_before_the_end() -> None:
    job = a_job()
    assert job.claim(1)
    await job.emit(1, [HELLO])
    assert job.finish(Completed())
    assert await job.receive() == [HELLO]
    assert await job.receive() is None
    assert isinstance(job.outcome, Completed)


async def test_only_the_first_end_counts() -> None:
    job = a_job()
    assert job.finish(Failed(OblixError("internal", "first")))
    assert not job.finish(Completed())
    assert not job.abort("too late")
    assert isinstance(job.outcome, Failed)


async def test_only_one_attempt_may_write() -> None:
    job = a_job()
    assert job.claim(2)
    assert job.claim(2)
    assert not job.claim(1)
    with pytest.raises(NotTheWriter):
        await job.emit(1, [HELLO])


async def test_a_claim_cancels_the_other_attempts_and_later_ones() -> None:
    job = a_job()
    early, winner = job.scope(1), job.scope(2)
    job.claim(2)
    assert early.cancel_called
    assert not winner.cancel_called
    assert job.scope(3).cancel_called


async def test_an_abort_stops_a_blocked_writer_at_once() -> None:
    job = a_job()
    wrote = 0

    async def write() -> None:
        nonlocal wrote
        with job.scope(1):
            job.claim(1)
            with pytest.raises(NotTheWriter):
                while True:
                    await job.emit(1, [HELLO])
                    wrote += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert wrote == CHANNEL_BATCHES
        job.abort("the client is gone")
    assert wrote == CHANNEL_BATCHES
    assert job.outcome == Aborted("the client is gone")


async def test_the_table_is_bounded_and_forgets_what_has_ended() -> None:
    table = JobTable(2)
    first, _ = a_job(table), a_job(table)
    with pytest.raises(Busy):
        a_job(table)
    first.finish(Completed())
    third = a_job(table)
    assert len(table) == 2
    assert table.fail_all(OblixError("shutting_down", "bye")) == 2
    assert isinstance(third.outcome, Failed)
    with trio.fail_after(1):
        await table.drained()


async def test_a_closed_table_says_why() -> None:
    table = JobTable(2)
    table.close(OblixError("shutting_down", "the server is stopping"))
    with pytest.raises(OblixError, match="stopping"):
        a_job(table)
