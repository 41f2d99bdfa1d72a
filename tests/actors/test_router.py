"""The router: next candidates, rests, decisions that are remembered, routes that are left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing

from oblix_actors.actors.messages import (
    Abandoned,
    Attempt,
    Bounced,
    Claimed,
    Explain,
    Leave,
    NetworkChanged,
    Recall,
    RecallSpeeds,
    Renewed,
    RouterMessage,
    Settled,
    Submit,
    Warm,
    WorkerChanged,
    WorkerMailbox,
    WorkerMessage,
)
from oblix_actors.actors.router import DECISIONS, Router
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.decision import Decision, Name, Network, Plan
from oblix_actors.core.events import Completed, Failed
from oblix_actors.core.timing import Pace, Speed
from oblix_actors.core.what_if import WhatIf
from oblix_actors.errors import OblixError
from oblix_actors.runtime.job import Job, JobTable
from oblix_actors.runtime.mailbox import Mailbox
from oblix_actors.settings import ResourceMonitorSettings

Clock = trio.testing.MockClock
ONLINE = Network(routes={"loopback": "optimal", "lan": "optimal", "internet": "optimal"})
OFFLINE = Network("disconnected", "local", ("no link",), {**ONLINE.routes, "internet": "disconnected"})


def state(name: str, order: int, locality: str = "local", *models: Model) -> ProviderState:
    """A ready provider."""
    return ProviderState(
        name=name,
        kind="openai",
        locality=locality,  # type: ignore[arg-type]
        order=order,
        status="ready",
        models=models or (Model("m"),),
    )


class Rig:
    """A router between a job table and the mailboxes of workers that the test plays."""

    def __init__(self, *states: ProviderState, room: int = 10) -> None:
        self.jobs = JobTable(1000)
        self.mailbox: Mailbox[RouterMessage] = Mailbox("router", 1000)
        self.workers: dict[str, WorkerMailbox] = {each.name: Mailbox(each.name, room) for each in states}
        self.router = Router(self.mailbox, self.workers, states, thresholds=ResourceMonitorSettings())
        self.told: dict[str, list[WorkerMessage]] = {each.name: [] for each in states}

    async def settle(self) -> None:
        """Let everybody do what they can."""
        await trio.testing.wait_all_tasks_blocked()

    async def submit(self, model: str = "auto") -> Job:
        """A new job, routed."""
        request = ChatRequest(model=model, messages=(Message("user", "hi"),), stream=True)
        job = self.jobs.open(request, created=7, submitted=0.0)
        self.mailbox.tell(Submit(job))
        await self.settle()
        return job

    async def tell(self, *messages: RouterMessage) -> None:
        """Messages to the router, handled."""
        for message in messages:
            self.mailbox.tell(message)
        await self.settle()

    def attempts(self, name: str) -> list[Attempt]:
        """What the worker ``name`` was asked to try."""
        return [message for message in self.told[name] if isinstance(message, Attempt)]


@asynccontextmanager
async def routing(rig: Rig, *, deaf: str = "") -> AsyncIterator[Rig]:
    """Run the router and listen at the workers' mailboxes, but not at that of ``deaf``."""
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.router.run)
        for name, box in rig.workers.items():
            if name != deaf:
                nursery.start_soon(box.each, rig.told[name].append, lambda *_: None)
        yield rig
        nursery.cancel_scope.cancel(reason="the test is over")


BROKEN = OblixError("upstream_server_error", "500")
REFUSED = OblixError("upstream_connect", "refused")


async def test_a_job_goes_from_one_to_the_next_and_the_story_is_kept(autojump_clock: Clock) -> None:
    async with routing(Rig(state("one", 0), state("two", 1))) as rig:
        job = await rig.submit()
        (first,) = rig.attempts("one")
        assert (first.job, first.number, first.model) == (job, 1, "m")
        await rig.tell(Bounced(job, 1, BROKEN, shown=False))
        (second,) = rig.attempts("two")
        assert second.number == 2
        job.finish(Completed())
        await rig.tell(Claimed(job, 2), Settled(job, 2))
        assert rig.router.open_jobs == 0
        decisions: tuple[Decision, ...] = await rig.mailbox.ask(lambda reply: Recall(5, reply))
        (decision,) = decisions
        assert (decision.served, decision.outcome, decision.asked) == ("two:m", "completed", "auto")
        assert [(attempt.model, attempt.error) for attempt in decision.attempts] == [
            ("one:m", "upstream_server_error"),
            ("two:m", None),
        ]


async def test_the_last_error_is_told_when_none_is_left(autojump_clock: Clock) -> None:
    async with routing(Rig(state("one", 0))) as rig:
        job = await rig.submit()
        await rig.tell(Bounced(job, 1, REFUSED, shown=False))
        assert isinstance(job.outcome, Failed)
        assert job.outcome.error is REFUSED
        assert rig.router.open_jobs == 0


async def test_who_failed_rests_for_as_long_as_it_asks(autojump_clock: Clock) -> None:
    limited = OblixError("upstream_rate_limited", "slow down", retry_after=60)
    async with routing(Rig(state("one", 0), state("two", 1))) as rig:
        job = await rig.submit()
        await rig.tell(Bounced(job, 1, limited, shown=False))
        job.abort("gone")
        await rig.tell(Abandoned(job))
        for seconds, asked in ((1, "two"), (50, "two"), (10, "one")):
            await trio.sleep(seconds)
            before = len(rig.attempts(asked))
            (await rig.submit()).abort("gone")
            assert len(rig.attempts(asked)) == before + 1, f"{asked} is asked"


async def test_after_sleep_or_elsewhere_nobody_rests(autojump_clock: Clock) -> None:
    async with routing(Rig(state("one", 0), state("two", 1))) as rig:
        job = await rig.submit()
        await rig.tell(Bounced(job, 1, REFUSED, shown=False), Renewed())
        await rig.submit()
        assert len(rig.attempts("one")) == 2


async def test_a_provider_that_is_back_need_not_rest(autojump_clock: Clock) -> None:
    one = state("one", 0)
    async with routing(Rig(one, state("two", 1))) as rig:
        job = await rig.submit()
        await rig.tell(Bounced(job, 1, REFUSED, shown=False))
        down = ProviderState(name="one", kind="openai", locality="local", order=0, status="down", models=one.models)
        await rig.tell(WorkerChanged(down), WorkerChanged(one))
        await rig.submit()
        assert len(rig.attempts("one")) == 2


async def test_a_worker_whose_mailbox_is_full_is_passed_over(autojump_clock: Clock) -> None:
    async with routing(Rig(state("one", 0), state("two", 1), room=1), deaf="one") as rig:
        await rig.submit()
        second = await rig.submit()
        (attempt,) = rig.attempts("two")
        assert attempt.job is second
        assert second.decision is not None
        assert [record.error for record in second.decision.attempts] == ["busy", None]


async def test_a_route_that_is_gone_is_left_once_and_not_taken_again(autojump_clock: Clock) -> None:
    async with routing(Rig(state("here", 1), state("cloud", 0, "cloud"))) as rig:
        await rig.tell(NetworkChanged(ONLINE))
        job = await rig.submit("cloud:m")
        await rig.tell(NetworkChanged(OFFLINE), NetworkChanged(OFFLINE))
        assert [type(message) for message in rig.told["cloud"]] == [Attempt, Leave]
        assert rig.told["here"] == []
        await rig.tell(Bounced(job, 1, OblixError("route_lost", "gone"), shown=False))
        refused = await rig.submit("cloud:m")
        assert isinstance(refused.outcome, Failed)
        assert refused.outcome.error.code == "no_model_available"
        assert "disconnected" in refused.outcome.error.message


async def test_a_question_is_answered_without_an_attempt(autojump_clock: Clock) -> None:
    request = ChatRequest(model="auto", messages=(Message("user", "hi"),))
    async with routing(Rig(state("here", 0), state("cloud", 1, "cloud"))) as rig:
        plan: Plan = await rig.mailbox.ask(lambda reply: Explain(request, reply))
        assert [candidate.name for candidate in plan.candidates] == ["here:m", "cloud:m"]
        supposed = WhatIf(cpu=97)
        busy: Plan = await rig.mailbox.ask(lambda reply: Explain(request, reply, supposed))
        assert [candidate.name for candidate in busy.candidates] == ["cloud:m", "here:m"]
        assert rig.told == {"here": [], "cloud": []}


async def test_a_cold_model_is_loaded_behind_the_cloud(autojump_clock: Clock) -> None:
    big = Model("big", loaded=False, size_bytes=8_000_000_000)
    async with routing(Rig(state("here", 0, "local", big), state("cloud", 1, "cloud"))) as rig:
        await rig.submit()
        assert [type(message) for message in rig.told["here"]] == [Warm]
        assert len(rig.attempts("cloud")) == 1


async def test_speeds_are_learned_from_whole_answers(autojump_clock: Clock) -> None:
    async with routing(Rig(state("one", 0))) as rig:
        job = await rig.submit()
        job.finish(Completed())
        await rig.tell(Settled(job, 1, Pace(prompt=100, cached=0, answer=50, first=0.5, total=1.5, loaded=True)))
        speeds: dict[Name, Speed] = await rig.mailbox.ask(RecallSpeeds)
        assert speeds["one", "m"].samples == 1


async def test_the_memory_of_decisions_is_bounded(autojump_clock: Clock) -> None:
    async with routing(Rig(state("one", 0), room=2000), deaf="one") as rig:
        for _ in range(DECISIONS + 20):
            (await rig.submit()).abort("gone")
        decisions: tuple[Decision, ...] = await rig.mailbox.ask(lambda reply: Recall(10_000, reply))
        assert len(decisions) == DECISIONS
        newest: tuple[Decision, ...] = await rig.mailbox.ask(lambda reply: Recall(1, reply))
        assert newest == decisions[:1]
