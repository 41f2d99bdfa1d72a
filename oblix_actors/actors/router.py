"""The router: decides who answers a job, and who is next when that fails. It never touches a token.

One task, one message at a time, nothing awaited in a handler. What it does is decided by the pure
functions of :mod:`oblix_actors.core.policy` and :mod:`oblix_actors.core.conductor`; it keeps their
states and carries their actions out. Owns: the jobs' states and the providers' rests. Its state
outlives a crash of its task, as its mail does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog
import trio

from oblix_actors.actors.messages import (
    Abandoned,
    Attempt,
    Bounced,
    Claimed,
    Explain,
    RouterMailbox,
    RouterMessage,
    Settled,
    Submit,
    WorkerChanged,
    WorkerMailbox,
)
from oblix_actors.core import conductor, policy
from oblix_actors.core.catalogue import Candidate, ProviderState
from oblix_actors.core.events import Completed, Failed
from oblix_actors.errors import Busy, OblixError, Scope
from oblix_actors.runtime.job import Job

log = structlog.get_logger("router")

REST_SECONDS: Final = 5.0
"""How long a provider ranks behind the others after a failure that says nothing about when to come back."""
LONGEST_REST: Final = 3600.0
"""An upstream that asks to be left alone for longer is asked again after this."""


class Router:
    """``workers`` maps provider names to mailboxes; ``catalogue`` is what is known of them before they speak."""

    def __init__(
        self, mailbox: RouterMailbox, workers: Mapping[str, WorkerMailbox], catalogue: tuple[ProviderState, ...]
    ) -> None:
        self._mailbox = mailbox
        self._workers = workers
        self._providers = {state.name: state for state in catalogue}
        self._jobs: dict[str, tuple[Job, conductor.JobState]] = {}
        self._rests: policy.Rests = {}

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
            case Settled(job, number):
                self._settled(job, number)
            case Abandoned(job):
                self._jobs.pop(job.id, None)
            case WorkerChanged(state):
                old = self._providers.get(state.name)
                self._providers[state.name] = state
                if state.status == "ready" and old is not None and old.status != "ready":
                    self._rests.pop((state.name, None), None)  # it is back
            case Explain(request, reply):
                reply.put(policy.plan(request, self._catalogue(), self._rests, trio.current_time()))

    def _dropped(self, message: RouterMessage, error: BaseException) -> None:
        """A handler crashed with ``message`` in hand: whoever waits for it is told."""
        told = OblixError("actor_crashed", "the router crashed while it held this request")
        match message:
            case Submit(job) | Bounced(job) | Claimed(job) | Settled(job) | Abandoned(job):
                self._jobs.pop(job.id, None)
                job.finish(Failed(told))
            case Explain(_, reply):
                reply.fail(told)
            case WorkerChanged():
                log.warning("a worker's report was lost", error=type(error).__name__)

    def _catalogue(self) -> tuple[ProviderState, ...]:
        return tuple(self._providers.values())

    def _submit(self, job: Job) -> None:
        if job.outcome is not None:
            return
        catalogue = self._catalogue()
        plan = policy.plan(job.request, catalogue, self._rests, trio.current_time())
        if not plan.candidates:
            job.finish(Failed(policy.nobody(job.request, plan, catalogue)))
            return
        state, action = conductor.begin(plan.candidates)
        self._carry_out(job, state, action)

    def _step(
        self, job: Job, advance: Callable[[conductor.JobState], tuple[conductor.JobState, conductor.Action]]
    ) -> None:
        entry = self._jobs.get(job.id)
        if entry is not None:
            self._carry_out(job, *advance(entry[1]))

    def _carry_out(self, job: Job, state: conductor.JobState, action: conductor.Action) -> None:
        """Do what the conductor said, until an attempt is under way or the job is over."""
        while isinstance(action, conductor.Start) and job.outcome is None:
            try:
                self._workers[action.candidate.provider].tell(
                    Attempt(job, action.number, action.candidate.model, action.reason)
                )
            except Busy as busy:
                error = OblixError("busy", str(busy), provider=action.candidate.provider, retry_after=1.0)
                state, action = conductor.bounced(state, action.number, error, shown=False)
            else:
                break
        if isinstance(action, conductor.GiveUp):
            job.finish(Failed(action.error))
        if job.outcome is not None or state.over:
            self._jobs.pop(job.id, None)
        else:
            self._jobs[job.id] = (job, state)

    def _settled(self, job: Job, number: int) -> None:
        entry = self._jobs.pop(job.id, None)
        if not isinstance(job.outcome, Completed):
            return
        if entry is not None and (current := entry[1].current) is not None and entry[1].number == number:
            self._rests.pop((current.provider, current.model), None)
            self._rests.pop((current.provider, None), None)

    def _note_failure(self, job: Job, number: int, error: OblixError) -> None:
        """Let a provider that failed for reasons of its own rest a little."""
        entry = self._jobs.get(job.id)
        if entry is None or entry[1].current is None or entry[1].number != number:
            return
        candidate: Candidate = entry[1].current
        log.info(
            "attempt failed",
            job=job.id,
            attempt=number,
            model=candidate.name,
            error=error.code,
            reason=error.message,
            shown=entry[1].claimed,
        )
        if error.kind.scope is Scope.REQUEST or error.code in {
            "context_length_exceeded",
            "upstream_unsupported",
            "busy",
        }:
            return
        key = (candidate.provider, None if error.kind.scope is Scope.PROVIDER else candidate.model)
        pause = min(error.retry_after or REST_SECONDS, LONGEST_REST)
        self._rests[key] = policy.Resting(trio.current_time() + pause, error.code)
