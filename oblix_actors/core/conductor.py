"""The state machine of one job: what happened to its attempts, and what to do next.

Pure. Each function takes the state and a fact and returns the next state with at most one action. The
router carries the actions out; it decides nothing by itself.
"""

from __future__ import annotations

import msgspec

from oblix_actors.core.catalogue import Candidate
from oblix_actors.errors import OblixError, Scope


class Tried(msgspec.Struct, frozen=True):
    """An attempt that failed before the client saw anything of it."""

    candidate: Candidate
    error: OblixError


class JobState(msgspec.Struct, frozen=True):
    """``queue`` holds the candidates not tried yet; ``number`` is the running attempt's, counted from 1."""

    queue: tuple[Candidate, ...]
    number: int = 0
    current: Candidate | None = None
    claimed: bool = False
    tried: tuple[Tried, ...] = ()
    over: bool = False


class Start(msgspec.Struct, frozen=True):
    """Give the job to ``candidate`` as attempt ``number``."""

    number: int
    candidate: Candidate
    reason: str


class GiveUp(msgspec.Struct, frozen=True):
    """End the job: this is what its client is told."""

    error: OblixError


Action = Start | GiveUp | None


def begin(candidates: tuple[Candidate, ...]) -> tuple[JobState, Action]:
    """A new job with its plan, which must not be empty."""
    return _next(JobState(candidates), None)


def claimed(state: JobState, number: int) -> tuple[JobState, Action]:
    """Attempt ``number`` has shown content."""
    if state.over or number != state.number:
        return state, None
    return msgspec.structs.replace(state, claimed=True), None


def bounced(state: JobState, number: int, error: OblixError, *, shown: bool) -> tuple[JobState, Action]:
    """Attempt ``number`` failed; ``shown`` says whether the client has seen content of it."""
    if state.over or number != state.number or state.current is None:
        return state, None
    if shown:
        return msgspec.structs.replace(state, over=True), GiveUp(error)
    failed = msgspec.structs.replace(state, claimed=False, tried=(*state.tried, Tried(state.current, error)))
    if error.kind.scope is Scope.REQUEST:
        return msgspec.structs.replace(failed, over=True), GiveUp(error)
    if error.kind.scope is Scope.PROVIDER:
        rest = tuple(c for c in failed.queue if c.provider != state.current.provider)
        failed = msgspec.structs.replace(failed, queue=rest)
    return _next(failed, error)


def ended(state: JobState) -> JobState:
    """The job is over: answered, or its client is gone."""
    return msgspec.structs.replace(state, over=True)


def _next(state: JobState, error: OblixError | None) -> tuple[JobState, Action]:
    if not state.queue:
        over = msgspec.structs.replace(state, current=None, over=True)
        return over, GiveUp(error or OblixError("internal", "a job was begun without a candidate"))
    candidate, *rest = state.queue
    number = state.number + 1
    reason = candidate.reason
    if state.tried:
        last = state.tried[-1]
        reason = f"{reason}; after {last.candidate.name} failed ({last.error.code})"
    started = msgspec.structs.replace(state, queue=tuple(rest), number=number, current=candidate)
    return started, Start(number, candidate, reason)
