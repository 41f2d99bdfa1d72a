"""The router: decides who answers a job, and who is next when that fails. It never touches a token.

One task, one message at a time, nothing awaited in a handler. What it does is decided by the pure
functions of :mod:`oblix_actors.core.policy` and :mod:`oblix_actors.core.conductor`; it keeps their
states and carries their actions out. Owns: the jobs' states, the decisions, and what is known of the
world (:class:`~oblix_actors.core.knowledge.Knowledge`). All that outlives a crash of its task, as its mail does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

import msgspec
import structlog
import trio

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
    RouterMailbox,
    RouterMessage,
    Settled,
    Submit,
    Warm,
    WorkerChanged,
    WorkerMailbox,
    WorkerMessage,
)
from oblix_actors.core import conductor, policy, what_if
from oblix_actors.core.catalogue import Candidate, ProviderState
from oblix_actors.core.decision import AttemptRecord, Decision, Network, Plan, Resting
from oblix_actors.core.events import Aborted, Completed, Failed
from oblix_actors.core.knowledge import Knowledge
from oblix_actors.core.resources import Thresholds
from oblix_actors.core.rules import ROUTES
from oblix_actors.core.wishes import BUILT_IN, Wish
from oblix_actors.errors import Busy, OblixError, Scope
from oblix_actors.runtime.job import Job

log = structlog.get_logger("router")

REST_SECONDS: Final = 5.0
"""How long a provider ranks behind the others after a failure that says nothing about when to come back."""
LONGEST_REST: Final = 3600.0
"""An upstream that asks to be left alone for longer is asked again after this."""
DECISIONS: Final = 500
"""Decisions that are remembered for people to read."""
RESTS_NOBODY: Final = frozenset({"context_length_exceeded", "upstream_unsupported", "content_filter", "busy"})
"""Failures that say nothing about the provider's health."""

Advance = Callable[[conductor.JobState], tuple[conductor.JobState, conductor.Action]]


class Router:
    """``workers`` maps provider names to mailboxes; ``catalogue`` is what is known of them before they speak."""

    def __init__(
        self,
        mailbox: RouterMailbox,
        workers: Mapping[str, WorkerMailbox],
        catalogue: tuple[ProviderState, ...],
        *,
        thresholds: Thresholds,
        knowledge: Knowledge | None = None,
        wishes: Mapping[str, Wish] = BUILT_IN,
    ) -> None:
        self._mailbox = mailbox
        self._workers = workers
        self._providers = {state.name: state for state in catalogue}
        self._thresholds = thresholds
        self._knowledge = knowledge or Knowledge()
        self._wishes = wishes
        self._jobs: dict[str, tuple[Job, conductor.JobState]] = {}
        self._decided: deque[Job] = deque(maxlen=DECISIONS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Handle messages for ever."""
        task_status.started()
        await self._mailbox.each(self._handle, self._dropped)

    @property
    def open_jobs(self) -> int:
        """How many jobs it conducts."""
        return len(self._jobs)

    def _handle(self, message: RouterMessage) -> None:
        match message:
            case Submit(job):
                self._submit(job)
            case Claimed(job, number):
                self._step(job, lambda state: conductor.claimed(state, number))
            case Bounced(job, number, error, shown):
                self._note_failure(job, number, error)
                self._step(job, lambda state: conductor.bounced(state, number, error, shown=shown))
            case Settled():
                self._settled(message)
            case Abandoned(job):
                self._record(job, outcome="aborted")
                self._jobs.pop(job.id, None)
            case WorkerChanged(state):
                old = self._providers.get(state.name)
                self._providers[state.name] = state
                self._knowledge.offered(state)
                if state.status == "ready" and old is not None and old.status != "ready":
                    self._knowledge.rested(state.name)  # it is back
            case NetworkChanged(network):
                self._network_changed(network)
            case Renewed():
                self._knowledge.rests.clear()
            case Explain() | Recall() | RecallSpeeds():
                self._answer(message)

    def _answer(self, question: Explain | Recall | RecallSpeeds) -> None:
        match question:
            case Explain():
                question.reply.put(self._explain(question))
            case Recall(limit, reply):
                newest = islice(reversed(self._decided), limit)
                reply.put(tuple(job.decision for job in newest if job.decision is not None))
            case RecallSpeeds(reply):
                reply.put(dict(self._knowledge.speeds))

    def _network_changed(self, network: Network) -> None:
        """Take note; where a route is newly gone, the jobs that run over it do not wait for TCP to notice."""
        before, self._knowledge.network = self._knowledge.network, network
        for name, provider in self._providers.items():
            route = ROUTES[provider.locality]
            if network.routes.get(route) == "disconnected" and before.routes.get(route) != "disconnected":
                self._tell(name, Leave(f"the {route} route is disconnected"))

    def _dropped(self, message: RouterMessage, error: BaseException) -> None:
        """A handler crashed with ``message`` in hand: whoever waits for it is told."""
        told = OblixError("actor_crashed", "the router crashed while it held this request")
        match message:
            case Submit(job) | Bounced(job) | Claimed(job) | Settled(job) | Abandoned(job):
                self._jobs.pop(job.id, None)
                job.finish(Failed(told))
            case Explain() | Recall() | RecallSpeeds():
                message.reply.fail(told)
            case WorkerChanged() | NetworkChanged() | Renewed():
                log.warning("a report was lost", report=type(message).__name__, error=type(error).__name__)

    def _explain(self, question: Explain) -> Plan:
        snapshot = self._knowledge.snapshot(question.request)
        if question.what_if is not None:
            snapshot = what_if.apply(question.what_if, snapshot, self._thresholds)
        return policy.plan(question.request, snapshot, self._catalogue(), trio.current_time(), self._wishes)

    def _catalogue(self) -> tuple[ProviderState, ...]:
        return tuple(self._providers.values())

    def _submit(self, job: Job) -> None:
        if job.outcome is not None:
            return
        catalogue = self._catalogue()
        snapshot = self._knowledge.snapshot(job.request)
        plan = policy.plan(job.request, snapshot, catalogue, trio.current_time(), self._wishes)
        job.decision = Decision(job.id, job.created, job.request.model[:200], plan)
        self._decided.append(job)
        if not plan.ranked:
            self._end(job, policy.nobody(job.request, plan, catalogue))
            return
        if plan.warm is not None:
            self._tell(plan.warm.provider, Warm(plan.warm.model))
        state, action = conductor.begin(plan.candidates)
        self._carry_out(job, state, action)

    def _step(self, job: Job, advance: Advance) -> None:
        entry = self._jobs.get(job.id)
        if entry is not None:
            self._carry_out(job, *advance(entry[1]))

    def _carry_out(self, job: Job, state: conductor.JobState, action: conductor.Action) -> None:
        """Do what the conductor said, until an attempt is under way or the job is over."""
        while isinstance(action, conductor.Start) and job.outcome is None:
            candidate = action.candidate
            price = self._knowledge.price((candidate.provider, candidate.model))
            self._record(job, attempt=AttemptRecord(candidate.name, action.reason, price))
            privacy = job.decision.plan.privacy if job.decision is not None else "local"
            attempt = Attempt(job, action.number, candidate.model, action.reason, privacy)
            if self._tell(candidate.provider, attempt):
                break
            error = OblixError("busy", f"too many requests wait for {candidate.provider}", retry_after=1.0)
            self._failed(job, error)
            state, action = conductor.bounced(state, action.number, error, shown=False)
        if isinstance(action, conductor.GiveUp):
            self._end(job, action.error)
        if state.over or isinstance(job.outcome, Failed | Aborted):
            self._jobs.pop(job.id, None)  # a completed one waits for the word of who has answered it
        else:
            self._jobs[job.id] = (job, state)

    def _tell(self, provider: str, message: WorkerMessage) -> bool:
        try:
            self._workers[provider].tell(message)
        except Busy:
            return False
        return True

    def _settled(self, message: Settled) -> None:
        job = message.job
        entry = self._jobs.pop(job.id, None)
        if entry is None or entry[1].current is None or entry[1].number != message.number:
            return
        current = entry[1].current
        self._record(job, served=current.name, outcome=type(job.outcome).__name__.lower())
        if isinstance(job.outcome, Completed):
            self._knowledge.rested(current.provider, current.model)
            self._knowledge.answered(job.request, (current.provider, current.model), message.pace)

    def _end(self, job: Job, error: OblixError) -> None:
        self._record(job, outcome=error.code)
        job.finish(Failed(error))

    def _record(
        self, job: Job, *, attempt: AttemptRecord | None = None, served: str | None = None, outcome: str | None = None
    ) -> None:
        """Write into the job's decision what has become of it."""
        if job.decision is None:
            return
        attempts = job.decision.attempts if attempt is None else (*job.decision.attempts, attempt)
        job.decision = msgspec.structs.replace(
            job.decision,
            attempts=attempts,
            served=served or job.decision.served,
            outcome=outcome or job.decision.outcome,
        )

    def _failed(self, job: Job, error: OblixError) -> None:
        """The last attempt on record has failed."""
        if job.decision is None or not job.decision.attempts:
            return
        *earlier, last = job.decision.attempts
        ended = msgspec.structs.replace(last, error=error.code, message=error.message)
        job.decision = msgspec.structs.replace(job.decision, attempts=(*earlier, ended))

    def _note_failure(self, job: Job, number: int, error: OblixError) -> None:
        """Let a provider that failed for reasons of its own rest a little."""
        entry = self._jobs.get(job.id)
        if entry is None or entry[1].current is None or entry[1].number != number:
            return
        candidate: Candidate = entry[1].current
        log.info(
            "attempt failed", job=job.id, attempt=number, model=candidate.name, error=error.code, why=error.message
        )
        self._failed(job, error)
        if error.kind.scope is Scope.REQUEST or error.code in RESTS_NOBODY:
            return
        model = None if error.kind.scope is Scope.PROVIDER else candidate.model
        pause = min(error.retry_after or REST_SECONDS, LONGEST_REST)
        self._knowledge.rest(candidate.provider, model, Resting(trio.current_time() + pause, error.code))
