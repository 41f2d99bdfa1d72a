"""One client's request on its way through the house: its event channel, its attempts, its single end.

Who may touch what: the router starts attempts, a worker claims the job and writes events, the front
reads them. The outcome is set exactly once, by whoever comes first, and never waits: it does not
travel through the bounded channel, so a full channel or a crashed actor cannot lose it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

import trio

from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import Decision
from oblix_actors.core.events import Aborted, Batch, Failed, Outcome
from oblix_actors.errors import Busy, OblixError

CHANNEL_BATCHES: Final = 16
"""Enough that a front which is one scheduler pass behind does not stop the worker; so few that a slow
client stops its upstream within a fraction of a second of text."""


class NotTheWriter(RuntimeError):
    """An attempt wrote to a job that another attempt holds, or that has ended."""


class Job:
    """``id`` is the completion's id on the wire; ``created`` is Unix seconds; ``submitted`` is trio's clock."""

    __slots__ = (
        "_claimed_by",
        "_on_end",
        "_receive",
        "_scopes",
        "_send",
        "created",
        "decision",
        "id",
        "outcome",
        "request",
        "submitted",
    )

    def __init__(self, request: ChatRequest, *, created: int, submitted: float, on_end: Callable[[Job], None]) -> None:
        self.id = f"chatcmpl-{secrets.token_hex(12)}"
        self.request = request
        self.created = created
        self.submitted = submitted
        self.outcome: Outcome | None = None
        self.decision: Decision | None = None
        """What the router decided, and what became of it: the router writes it, the front reads it."""
        self._claimed_by: int | None = None
        self._on_end = on_end
        self._scopes: dict[int, trio.CancelScope] = {}
        self._send, self._receive = trio.open_memory_channel[Batch](CHANNEL_BATCHES)

    @property
    def claimed_by(self) -> int | None:
        """The attempt whose events the client sees, once one has shown content."""
        return self._claimed_by

    def scope(self, attempt: int) -> trio.CancelScope:
        """The cancel scope of ``attempt``: everything that attempt does happens inside it.

        It is cancelled when the job ends, or when another attempt takes the claim.
        """
        scope = self._scopes.get(attempt)
        if scope is None:
            scope = self._scopes[attempt] = trio.CancelScope()
            if self.outcome is not None or self._claimed_by not in (None, attempt):
                scope.cancel(reason="the job has no use for this attempt any more")
        return scope

    def claim(self, attempt: int) -> bool:
        """Take the right to write for ``attempt``; the others are cancelled. False: it is somebody else's, or over."""
        if self.outcome is not None or self._claimed_by not in (None, attempt):
            return False
        if self._claimed_by is None:
            self._claimed_by = attempt
            self._cancel(except_for=attempt, reason=f"attempt {attempt} answered first")
        return True

    def unclaim(self, attempt: int) -> None:
        """Give the claim back: nothing that ``attempt`` wrote was shown, and another may start over."""
        if self._claimed_by == attempt:
            self._claimed_by = None

    async def emit(self, attempt: int, batch: Batch) -> None:
        """Hand one batch to the client; waits while the client is slower than the upstream.

        Raises :class:`NotTheWriter` unless ``attempt`` holds the claim of a job that goes on.
        """
        if self._claimed_by != attempt or self.outcome is not None:
            raise NotTheWriter(f"attempt {attempt} does not hold job {self.id}")
        try:
            await self._send.send(batch)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise NotTheWriter(f"job {self.id} is over") from None

    def finish(self, outcome: Outcome) -> bool:
        """End the job. Only the first call counts and returns True; what still runs for it is cancelled."""
        if self.outcome is not None:
            return False
        self.outcome = outcome
        self._send.close()
        self._cancel(except_for=None, reason=type(outcome).__name__)
        self._on_end(self)
        return True

    def abort(self, reason: str) -> bool:
        """The client is gone: stop everything at once. Synchronous, so that it works while being cancelled."""
        ended = self.finish(Aborted(reason))
        self._receive.close()
        return ended

    async def receive(self) -> Batch | None:
        """The next batch, or ``None`` when the job is over and ``outcome`` says how."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            return None

    def _cancel(self, *, except_for: int | None, reason: str) -> None:
        for attempt, scope in self._scopes.items():
            if attempt != except_for:
                scope.cancel(reason=reason)


class JobTable:
    """The jobs that are open. Bounded: a full table refuses at once instead of piling up."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[str, Job] = {}
        self._empty = trio.Event()
        self._empty.set()
        self._closed: OblixError | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(self, request: ChatRequest, *, created: int, submitted: float) -> Job:
        """A new job. Raises :class:`Busy` when the table is full, and what :meth:`close` was given after it."""
        if self._closed is not None:
            raise self._closed
        if len(self._open) >= self.limit:
            raise Busy(f"{self.limit} requests are open, which is the limit")
        job = Job(request, created=created, submitted=submitted, on_end=self._forget)
        if not self._open:
            self._empty = trio.Event()
        self._open[job.id] = job
        return job

    @property
    def closed(self) -> bool:
        """Whether no more jobs are taken: the server is stopping."""
        return self._closed is not None

    def close(self, error: OblixError) -> None:
        """Take no more jobs: :meth:`open` raises ``error`` from now on."""
        self._closed = error

    async def drained(self) -> None:
        """Wait until no job is open."""
        await self._empty.wait()

    def fail_all(self, error: OblixError) -> int:
        """Tell every open job that it is over; returns how many there were."""
        jobs = list(self._open.values())
        for job in jobs:
            job.finish(Failed(error))
        return len(jobs)

    def _forget(self, job: Job) -> None:
        self._open.pop(job.id, None)
        if not self._open:
            self._empty.set()
