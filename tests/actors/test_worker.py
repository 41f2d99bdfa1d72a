"""The worker: claims, deadlines, slots, stalled clients and what it says of its upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from oblix_actors.actors.messages import (
    Attempt,
    Bounced,
    Claimed,
    Leave,
    RouterMessage,
    Settled,
    WorkerChanged,
    WorkerMailbox,
)
from oblix_actors.actors.worker import Worker
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.events import Aborted, Completed, Delta, Served, Usage
from oblix_actors.core.upstream import Emit
from oblix_actors.errors import OblixError
from oblix_actors.runtime.job import CHANNEL_BATCHES, Job, JobTable
from oblix_actors.runtime.mailbox import Mailbox
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import RoutingSettings

REQUEST = ChatRequest(model="auto", messages=(Message("user", "hi"),), stream=True)
ROUTING = RoutingSettings(first_token_seconds=10, between_tokens_seconds=4, refresh_seconds=30, max_queue=2)

Chat = Callable[[Emit], Awaitable[None]]
Clock = trio.testing.MockClock


class Upstream:
    """An upstream whose chat is ``chat`` and whose discovery goes through ``looks``, the last one for ever."""

    def __init__(self, chat: Chat, looks: list[tuple[Model, ...] | OblixError] | None = None) -> None:
        self._chat = chat
        self._looks = looks or [(Model("m"),)]
        self.looked_at: list[float] = []

    async def discover(self) -> tuple[Model, ...]:
        """The next look."""
        await trio.lowlevel.checkpoint()
        self.looked_at.append(trio.current_time())
        look = self._looks[min(len(self.looked_at), len(self._looks)) - 1]
        if isinstance(look, OblixError):
            raise look
        return look

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Whatever the test wants."""
        await self._chat(emit)


class Bench:
    """A worker at work, and the router's end of its mailbox."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        slots: int = 2,
        optional: bool = False,
        locality: str = "local",
        stalled: Callable[[float], None] | None = None,
    ) -> None:
        self.jobs = JobTable(100)
        self.mailbox: WorkerMailbox = Mailbox("worker", 10)
        self.router: Mailbox[RouterMessage] = Mailbox("router", 100)
        state = ProviderState(name="p", kind="openai", locality=locality, order=0, slots=slots)  # type: ignore[arg-type]
        self.worker = Worker(
            state, upstream, self.mailbox, self.router, ROUTING, optional=optional, stalled_client=7.0, stalled=stalled
        )
        self.heard: list[RouterMessage] = []
        self._news = Watch(0)

    def attempt(self, number: int = 1, job: Job | None = None) -> Job:
        """Give the worker an attempt on a new job, or on ``job``."""
        if job is None:
            job = self.jobs.open(REQUEST, created=0, submitted=0.0)
        self.mailbox.tell(Attempt(job, number, "m", "ready"))
        return job

    def said(self, kind: type[RouterMessage]) -> list[RouterMessage]:
        """What the worker told the router, of one kind."""
        return [message for message in self.heard if isinstance(message, kind)]

    async def listen(self) -> None:
        """Play the router: hear everything."""

        def hear(message: RouterMessage) -> None:
            self.heard.append(message)
            self._news.set(len(self.heard))

        await self.router.each(hear, lambda *_: None)

    async def heard_of(self, kind: type[RouterMessage]) -> None:
        """Wait until the worker has told the router a message of ``kind``."""
        version = 0
        while not self.said(kind):
            _, version = await self._news.newer(version)

    def status(self) -> tuple[str, str]:
        """What the worker publishes of its upstream: status and reason."""
        state = self.worker.published.value
        return state.status, state.reason


@asynccontextmanager
async def working(bench: Bench) -> AsyncIterator[Bench]:
    """Run ``bench``'s worker and its ears."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.listen)
        await nursery.start(bench.worker.run)
        yield bench
        nursery.cancel_scope.cancel(reason="the test is over")


async def read(job: Job) -> list[object]:
    """Everything the client gets."""
    events: list[object] = []
    while (batch := await job.receive()) is not None:
        events += batch
    return events


async def say(emit: Emit) -> None:
    """An answer: a role, two pieces, usage."""
    await emit([Delta()])
    await emit([Delta(text="hel")])
    await emit([Delta(text="lo", finish="stop"), Usage(3, 2)])


async def test_the_first_batch_says_who_served_and_holds_what_came_before_content(autojump_clock: Clock) -> None:
    async with working(Bench(Upstream(say))) as bench:
        job = bench.attempt()
        assert await job.receive() == [Served("p", "m", "ready"), Delta(), Delta(text="hel")]
        assert await read(job) == [Delta(text="lo", finish="stop"), Usage(3, 2)]
        assert isinstance(job.outcome, Completed)
        await trio.testing.wait_all_tasks_blocked()
        assert [type(message) for message in bench.heard] == [WorkerChanged, Claimed, Settled]


async def test_an_answer_without_content_is_an_answer(autojump_clock: Clock) -> None:
    async def nothing(emit: Emit) -> None:
        await emit([Delta(finish="stop")])

    async with working(Bench(Upstream(nothing))) as bench:
        job = bench.attempt()
        assert await read(job) == [Served("p", "m", "ready"), Delta(finish="stop")]
        assert isinstance(job.outcome, Completed)


async def silent(emit: Emit) -> None:
    """Accepts, and says only a role."""
    await emit([Delta()])
    await trio.sleep_forever()


async def stalls(emit: Emit) -> None:
    """Says a word, then nothing."""
    await emit([Delta(text="word")])
    await trio.sleep_forever()


async def breaks(emit: Emit) -> None:
    """An adapter with a defect."""
    raise ZeroDivisionError


async def refuses(emit: Emit) -> None:
    """An upstream that cannot be reached."""
    raise OblixError("upstream_connect", "refused")


@pytest.mark.parametrize(
    ("chat", "code", "shown", "after"),
    [
        (silent, "upstream_first_token_timeout", False, 10),
        (stalls, "upstream_stall", True, 4),
        (breaks, "internal", False, 0),
        (refuses, "upstream_connect", False, 0),
    ],
)
async def test_failures_are_told_with_their_name(
    chat: Chat, code: str, shown: bool, after: float, autojump_clock: Clock
) -> None:
    async with working(Bench(Upstream(chat))) as bench:
        start = trio.current_time()
        job = bench.attempt()
        await bench.heard_of(Bounced)
        assert trio.current_time() - start == pytest.approx(after, abs=0.1)
        (message,) = bench.said(Bounced)
        assert isinstance(message, Bounced)
        assert (message.job, message.error.code, message.error.provider, message.shown) == (job, code, "p", shown)
        assert job.outcome is None, "what happens now is the router's to say"


async def test_a_client_that_waits_for_the_whole_has_seen_nothing_of_a_broken_answer(autojump_clock: Clock) -> None:
    async with working(Bench(Upstream(stalls))) as bench:
        request = ChatRequest(model="auto", messages=REQUEST.messages, stream=False)
        job = bench.attempt(job=bench.jobs.open(request, created=0, submitted=0.0))
        await bench.heard_of(Bounced)
        (message,) = bench.said(Bounced)
        assert isinstance(message, Bounced)
        assert (message.error.code, message.shown, job.claimed_by) == ("upstream_stall", False, None)
        assert job.claim(2), "the next attempt may start over"


async def test_a_client_that_does_not_read_is_let_go_and_its_upstream_with_it(autojump_clock: Clock) -> None:
    gone = trio.Event()

    async def endless(emit: Emit) -> None:
        try:
            while True:
                await emit([Delta(text="word ")])
        finally:
            gone.set()

    async with working(Bench(Upstream(endless))) as bench:
        job = bench.attempt()
        start = trio.current_time()
        await gone.wait()
        assert trio.current_time() - start == pytest.approx(7.0)
        assert isinstance(job.outcome, Aborted)
        assert bench.worker.published.value.running == 0


async def test_a_slow_client_is_not_taken_for_a_slow_upstream(autojump_clock: Clock) -> None:
    async def talk(emit: Emit) -> None:
        for _ in range(3 * CHANNEL_BATCHES):
            await emit([Delta(text="word ")])

    async with working(Bench(Upstream(talk))) as bench:
        job = bench.attempt()
        words = 0
        while (batch := await job.receive()) is not None:
            words += sum(isinstance(event, Delta) for event in batch)
            await trio.sleep(6)  # longer than between_tokens_seconds, shorter than stalled_client
        assert words == 3 * CHANNEL_BATCHES
        assert isinstance(job.outcome, Completed)


async def test_slots_queue_and_a_full_queue_bounces_at_once(autojump_clock: Clock) -> None:
    go_on = trio.Event()

    async def wait(emit: Emit) -> None:
        await go_on.wait()
        await emit([Delta(text="done")])

    async with working(Bench(Upstream(wait))) as bench:
        jobs = [bench.attempt() for _ in range(5)]  # two run, two wait, one too many
        await trio.testing.wait_all_tasks_blocked()
        state = bench.worker.published.value
        assert (state.running, state.waiting) == (2, 2)
        (message,) = bench.said(Bounced)
        assert isinstance(message, Bounced)
        assert (message.error.code, message.error.retry_after) == ("busy", 1.0)
        go_on.set()
        for job in jobs:
            if job is not message.job:
                assert Delta(text="done") in await read(job)


async def test_a_waiter_whose_client_left_leaves_the_queue(autojump_clock: Clock) -> None:
    async with working(Bench(Upstream(silent), slots=1)) as bench:
        running, waiting = bench.attempt(), bench.attempt()
        await trio.testing.wait_all_tasks_blocked()
        waiting.abort("gone")
        await trio.testing.wait_all_tasks_blocked()
        state = bench.worker.published.value
        assert (state.running, state.waiting) == (1, 0)
        running.abort("gone")
        await trio.testing.wait_all_tasks_blocked()
        assert bench.worker.published.value.running == 0


async def test_an_attempt_that_comes_second_writes_nothing(autojump_clock: Clock) -> None:
    async with working(Bench(Upstream(say))) as bench:
        job = bench.jobs.open(REQUEST, created=0, submitted=0.0)
        job.claim(1)
        bench.attempt(2, job)
        await trio.testing.wait_all_tasks_blocked()
        assert job.outcome is None
        assert [type(message) for message in bench.heard] == [WorkerChanged, Settled]


DOWN = OblixError("upstream_connect", "refused")


async def test_an_upstream_that_is_not_there_is_looked_for_again(autojump_clock: Clock) -> None:
    upstream = Upstream(say, [DOWN, DOWN, DOWN, (Model("m"),)])
    async with working(Bench(upstream)) as bench:
        assert bench.status() == ("down", "refused")
        await trio.sleep(8)
        assert bench.status() == ("ready", "")
    assert [round(later - upstream.looked_at[0]) for later in upstream.looked_at] == [0, 1, 3, 7]


async def test_what_nobody_configured_is_absent_rather_than_down(autojump_clock: Clock) -> None:
    async with working(Bench(Upstream(say, [DOWN]), optional=True)) as bench:
        assert bench.worker.published.value.status == "absent"


async def test_models_without_chat_do_not_make_a_provider_ready(autojump_clock: Clock) -> None:
    async with working(Bench(Upstream(say, [(Model("embed", chat=False),)]))) as bench:
        assert bench.worker.published.value.status == "down"
        assert bench.worker.published.value.reason == "it offers no chat model"


async def test_a_slow_first_look_does_not_hold_the_start_up(autojump_clock: Clock) -> None:
    class Slow(Upstream):
        async def discover(self) -> tuple[Model, ...]:
            await trio.sleep(3)
            return (Model("m"),)

    start = trio.current_time()
    async with working(Bench(Slow(say))) as bench:
        assert trio.current_time() - start < 1
        assert bench.status() == ("starting", "")
        await trio.sleep(3)
        assert bench.status() == ("ready", "")


async def test_a_failure_of_the_whole_provider_brings_a_new_look(autojump_clock: Clock) -> None:
    upstream = Upstream(refuses, [(Model("m"),), DOWN])
    async with working(Bench(upstream, locality="cloud")) as bench:
        bench.attempt()
        await trio.sleep(5)
        assert bench.worker.published.value.status == "down"
        assert upstream.looked_at[1] - upstream.looked_at[0] < 2


async def test_when_the_way_is_gone_what_runs_fails_at_once(autojump_clock: Clock) -> None:
    async with working(Bench(Upstream(stalls), locality="cloud")) as bench:
        shown, start = bench.attempt(), trio.current_time()
        assert await shown.receive() == [Served("p", "m", "ready"), Delta(text="word")]
        bench.mailbox.tell(Leave("the internet route is disconnected"))
        await bench.heard_of(Bounced)
        (message,) = bench.said(Bounced)
        assert isinstance(message, Bounced)
        assert (message.error.code, message.shown) == ("route_lost", True)
        assert trio.current_time() == start


async def test_a_silent_upstream_is_reported_while_it_is_silent(autojump_clock: Clock) -> None:
    async def slow(emit: Emit) -> None:
        await trio.sleep(3.5)
        await emit([Delta(text="at last", finish="stop")])

    silences: list[float] = []
    async with working(Bench(Upstream(slow), stalled=silences.append)) as bench:
        await trio.sleep(50)
        assert silences == [], "nobody was asked"
        await read(bench.attempt())
        await trio.sleep(50)
    assert silences == pytest.approx([1.0, 2.0, 3.0])
