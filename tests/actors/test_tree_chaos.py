"""The whole tree under a random schedule of crashes and cancels: every job ends, exactly once, and nothing is left.

The upstreams are scripts, the clock is trio's mock clock, the router, workers, supervisor and jobs are
the real ones.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from math import inf

import structlog
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from oblix_actors.actors.messages import Abandoned, RouterMessage, Submit, WorkerMailbox
from oblix_actors.actors.router import Router
from oblix_actors.actors.worker import Worker
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.events import Completed, Delta, Event, Failed, Outcome, Served
from oblix_actors.core.upstream import Emit
from oblix_actors.errors import OblixError
from oblix_actors.runtime.job import Job, JobTable
from oblix_actors.runtime.mailbox import Mailbox
from oblix_actors.runtime.supervisor import ChildSpec, Intensity, Run, Supervisor
from oblix_actors.settings import ResourceMonitorSettings, RoutingSettings

WORKERS = ("one", "two", "three")
SCRIPTS = ("say", "empty", "refuse", "provider", "request", "broken", "silent", "break off", "stall", "slow")
ROUTING = RoutingSettings(first_token_seconds=5, between_tokens_seconds=3, max_queue=3)


class Scripted:
    """An upstream that does the next thing of its script with each request."""

    def __init__(self, script: list[str]) -> None:
        self.script = script
        self.asked = 0

    async def discover(self) -> tuple[Model, ...]:
        """One model, always."""
        await trio.lowlevel.checkpoint()
        return (Model("m"),)

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Say three words, unless the script wants something else."""
        what = self.script[self.asked % len(self.script)]
        self.asked += 1
        await trio.sleep(0.05)
        match what:
            case "refuse":
                raise OblixError("upstream_server_error", "500")
            case "provider":
                raise OblixError("upstream_connect", "refused")
            case "request":
                raise OblixError("upstream_bad_request", "400")
            case "broken":
                raise ZeroDivisionError
            case "silent":
                await trio.sleep_forever()
            case "empty":
                return
            case _:
                pass
        await emit([Delta()])
        for word in ("one ", "two ", "three"):
            await emit([Delta(text=word)])
            await trio.sleep(1 if what == "slow" else 0.01)
            if what == "break off":
                raise OblixError("upstream_reset", "reset")
            if what == "stall":
                await trio.sleep_forever()


@dataclass
class Client:
    """One job's client: how long it is patient, whether it reads, and what it got."""

    patience: float
    stream: bool
    events: list[Event] = field(default_factory=list)
    outcome: Outcome | None = None

    def text(self) -> str:
        """What the client has read."""
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    async def run(self, jobs: JobTable, router: Mailbox[RouterMessage], model: str) -> None:
        """What the front does: open, submit, read to the end, abort when the client leaves."""
        request = ChatRequest(model=model, messages=(Message("user", "hi"),), stream=self.stream)
        job = jobs.open(request, created=0, submitted=trio.current_time())
        router.tell(Submit(job))
        try:
            with trio.move_on_after(self.patience):
                while (batch := await job.receive()) is not None:
                    if isinstance(batch[0], Served) and not self.stream:
                        self.events = []  # it was shown nothing yet: another attempt starts over
                    self.events += batch
        finally:
            if job.outcome is None:
                job.abort("the client is gone")
                router.tell(Abandoned(job))
        self.outcome = job.outcome


class Chaos:
    """Makes actors crash at any await point, on command."""

    def __init__(self) -> None:
        self._bang: dict[str, trio.Event] = {}

    def around(self, name: str, run: Run) -> Run:
        """The actor ``run``, which dies when :meth:`crash` names it."""

        async def body(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            bang = self._bang[name] = trio.Event()
            async with trio.open_nursery() as nursery:
                await nursery.start(run)
                task_status.started()
                await bang.wait()
                raise RuntimeError(f"chaos in {name}")

        return body

    def crash(self, name: str) -> None:
        """Crash ``name`` now."""
        self._bang[name].set()


Crash = tuple[float, str]
Arrival = tuple[float, float, str, bool]
seconds = st.floats(0, 8, allow_nan=False).map(lambda value: round(value, 2))
crashes = st.lists(st.tuples(seconds, st.sampled_from(("router", *WORKERS))), max_size=12)
clients = st.lists(
    st.tuples(seconds, st.sampled_from((0.0, 0.06, 1.0, inf)), st.sampled_from(("auto", "m", "two:m")), st.booleans())
)
scripts = st.tuples(*[st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=4) for _ in WORKERS])


@given(crashes, clients.filter(bool), scripts)
@settings(max_examples=150, deadline=None)
def test_every_job_ends_exactly_once(
    crashes: list[Crash], clients: list[Arrival], scripts: tuple[list[str], ...]
) -> None:
    """Whatever crashes whenever: one outcome per job, no job left behind, no slot lost."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # tracebacks take time
    try:
        trio.run(_play, crashes, clients, scripts, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        structlog.configure(**before)


async def _play(crashes: list[Crash], clients: list[Arrival], scripts: tuple[list[str], ...]) -> None:
    ends: Counter[str] = Counter()
    jobs = CountingTable(100, ends)
    router_mail: Mailbox[RouterMessage] = Mailbox("router", 1000)
    mails: dict[str, WorkerMailbox] = {name: Mailbox(name, 100) for name in WORKERS}
    states = tuple(
        ProviderState(name=name, kind="scripted", locality="local", order=order, slots=2)
        for order, name in enumerate(WORKERS)
    )
    workers = [
        Worker(state, Scripted(script), mails[state.name], router_mail, ROUTING, optional=False, stalled_client=4)
        for state, script in zip(states, scripts, strict=True)
    ]
    router = Router(router_mail, mails, states, thresholds=ResourceMonitorSettings())
    chaos = Chaos()
    supervisor = Supervisor(Intensity(restarts=1000, seconds=1))
    people = [Client(patience, stream) for _, patience, _, stream in clients]

    async def later(delay: float, client: Client, model: str) -> None:
        await trio.sleep(delay)
        await client.run(jobs, router_mail, model)

    async def crash(delay: float, name: str) -> None:
        await trio.sleep(delay)
        chaos.crash(name)

    async with trio.open_nursery() as nursery:
        for state, worker in zip(states, workers, strict=True):
            await supervisor.start(nursery, ChildSpec(state.name, chaos.around(state.name, worker.run)))
        await supervisor.start(nursery, ChildSpec("router", chaos.around("router", router.run)))
        with trio.fail_after(500):
            async with trio.open_nursery() as world:
                for delay, name in crashes:
                    world.start_soon(crash, delay, name)
                for client, (delay, _, model, _) in zip(people, clients, strict=True):
                    world.start_soon(later, delay, client, model)
        await trio.sleep(20)  # mock seconds: the last restarts, the last messages

        assert len(jobs) == 0
        assert router.open_jobs == 0
        assert set(ends.values()) == {1}
        assert len(ends) == len(people)
        for worker in workers:
            assert (worker.published.value.running, worker.published.value.waiting) == (0, 0)
        await supervisor.stop()

    for client in people:
        assert client.outcome is not None
        if isinstance(client.outcome, Completed):
            assert client.text() in {"one two three", ""}
        elif isinstance(client.outcome, Failed):
            assert "one two three".startswith(client.text())
        if client.events:
            assert isinstance(client.events[0], Served)
            assert sum(isinstance(event, Served) for event in client.events) == 1


class CountingTable(JobTable):
    """A job table that counts how often each job ended."""

    def __init__(self, limit: int, ends: Counter[str]) -> None:
        super().__init__(limit)
        self._ends = ends

    def _forget(self, job: Job) -> None:
        self._ends[job.id] += 1
        super()._forget(job)
