"""A provider's worker: runs attempts on one upstream, and keeps an eye on whether that upstream is there.

It writes an attempt's events straight into the job's channel once it holds the claim, and tells the
router what became of it. Owns: its provider's published state. The per-job boundary is here: whatever
an adapter does wrong ends one attempt and nothing else.
"""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec
import structlog
import trio

from oblix_actors.actors.messages import (
    Attempt,
    Bounced,
    Claimed,
    RouterMailbox,
    RouterMessage,
    Settled,
    WorkerChanged,
    WorkerMailbox,
)
from oblix_actors.core.catalogue import Model, ProviderState, preferring
from oblix_actors.core.events import Aborted, Batch, Completed, Delta, Failed, Served
from oblix_actors.errors import Busy, OblixError, Scope
from oblix_actors.core.upstream import Upstream
from oblix_actors.runtime.job import Job, NotTheWriter
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import RoutingSettings

log = structlog.get_logger("worker")

DISCOVERY_SECONDS: Final = 10.0
FIRST_LOOK_SECONDS: Final = 0.5
"""How long the start waits for an upstream's first answer: loopback needs milliseconds, the rest may come later."""
FIRST_RETRY: Final = 1.0
CLOUD_REFRESH_FACTOR: Final = 10.0
"""A cloud's list of models changes rarely: it is refreshed this much less often than a local one's."""


class Worker:
    """``state`` is the provider as configured; ``stalled_client`` seconds is how long a client may stop reading."""

    def __init__(
        self,
        state: ProviderState,
        upstream: Upstream,
        mailbox: WorkerMailbox,
        router: RouterMailbox,
        routing: RoutingSettings,
        *,
        optional: bool,
        stalled_client: float,
        prefer: tuple[str, ...] = (),
    ) -> None:
        self.published: Watch[ProviderState] = Watch(state)
        self._upstream = upstream
        self._mailbox = mailbox
        self._router = router
        self._routing = routing
        self._optional = optional
        self._stalled_client = stalled_client
        self._prefer = prefer
        self._slots = trio.Semaphore(state.slots)
        self._looked = trio.Event()
        self._look_again = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look for the upstream, then take attempts for ever."""
        self._slots = trio.Semaphore(self.published.value.slots)
        self._update(running=0, waiting=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discover_forever)
            with trio.move_on_after(FIRST_LOOK_SECONDS):
                await self._looked.wait()
            task_status.started()
            await self._mailbox.each(lambda attempt: nursery.start_soon(self._serve, attempt), self._dropped)

    def look_again(self) -> None:
        """What is known of the upstream is old: ask it again, soon."""
        self._look_again.set()

    def _dropped(self, attempt: Attempt, _error: BaseException) -> None:
        self._tell(Bounced(attempt.job, attempt.number, self._crashed(), shown=False))

    # -- attempts

    async def _serve(self, attempt: Attempt) -> None:
        """One attempt, from its place in the queue to the word to the router, which is said on every way out."""
        run = _Run(self, attempt)
        error: OblixError | None = self._crashed()  # what is true if we are torn out of here
        try:
            with attempt.job.scope(attempt.number) as scope:
                error = await self._boundary(run)
            if scope.cancelled_caught or attempt.job.outcome is not None:
                error = None  # nobody needs this attempt any more
        finally:
            self._report(run, error)

    async def _boundary(self, run: _Run) -> OblixError | None:
        """Run the attempt; any exception of the adapter becomes this attempt's failure and nobody else's."""
        try:
            await self._queue_and_stream(run)
        except OblixError as error:
            error.provider = error.provider or self.published.value.name
            return error
        except NotTheWriter:
            return None
        except Exception:  # the per-job boundary: one of the two places that may
            log.exception("an adapter crashed", provider=self.published.value.name, job=run.job.id)
            return OblixError("internal", "the provider's adapter failed", provider=self.published.value.name)
        return None

    async def _queue_and_stream(self, run: _Run) -> None:
        state = self.published.value
        if state.waiting >= self._routing.max_queue:
            raise OblixError("busy", f"{state.waiting} requests wait for {state.name} already", retry_after=1.0)
        self._update(waiting=state.waiting + 1)
        try:
            await self._slots.acquire()
        finally:
            self._update(waiting=self.published.value.waiting - 1)
        self._update(running=self.published.value.running + 1)
        try:
            await run.stream(self._upstream, self._routing)
        finally:
            self._slots.release()
            self._update(running=self.published.value.running - 1)

    def _report(self, run: _Run, error: OblixError | None) -> None:
        """Tell the router how the attempt ended. Synchronous: it also runs while being cancelled."""
        if error is not None:
            if error.kind.scope is Scope.PROVIDER:
                self.look_again()
            shown = run.job.claimed_by == run.number and run.job.request.stream
            if not shown:
                run.job.unclaim(run.number)  # a client that waits for the whole has seen nothing yet
            self._tell(Bounced(run.job, run.number, error, shown=shown))
        else:
            self._tell(Settled(run.job, run.number))

    def claimed(self, run: _Run) -> None:
        """``run`` has shown the first content."""
        self._tell(Claimed(run.job, run.number))

    @property
    def stalled_client(self) -> float:
        """Seconds a client may leave its answer unread."""
        return self._stalled_client

    def _tell(self, message: RouterMessage) -> None:
        """Tell the router. Its mailbox has room for every open job; should it be full all the same, the job ends
        here rather than wait for an answer nobody will give."""
        try:
            self._router.tell(message)
        except Busy as busy:
            log.warning("a message was lost", message=type(message).__name__, reason=str(busy))
            if isinstance(message, Bounced):
                message.job.finish(Failed(message.error))

    def _crashed(self) -> OblixError:
        name = self.published.value.name
        return OblixError("actor_crashed", f"the worker of {name} crashed", provider=name)

    # -- the upstream's state

    async def _discover_forever(self) -> None:
        pause = FIRST_RETRY
        while True:
            self._look_again = trio.Event()
            models, reason = await self._discover()
            self._publish(models, reason)
            self._looked.set()
            longest = self._routing.refresh_seconds
            if models is None:
                wait, pause = min(pause, longest), min(pause * 2, longest)
            else:
                cloud = self.published.value.locality == "cloud"
                wait, pause = longest * CLOUD_REFRESH_FACTOR if cloud else longest, FIRST_RETRY
            with trio.move_on_after(wait):
                await self._look_again.wait()
                await trio.sleep(FIRST_RETRY)  # an upstream that fails every request is not asked after each

    async def _discover(self) -> tuple[tuple[Model, ...] | None, str]:
        """The models, or ``None`` and why not."""
        with trio.move_on_after(DISCOVERY_SECONDS) as patience:
            try:
                models = await self._upstream.discover()
            except OblixError as error:
                return None, error.message
        if patience.cancelled_caught:
            return None, f"no answer within {DISCOVERY_SECONDS:g} s"
        if not any(model.chat for model in models):
            return None, "it offers no chat model"
        return models, ""

    def _publish(self, models: tuple[Model, ...] | None, reason: str) -> None:
        old = self.published.value
        if models is not None:
            self._update(status="ready", models=preferring(models, self._prefer), reason="")
        elif self._optional and not old.models:
            self._update(status="absent", models=(), reason=reason)
        else:
            self._update(status="down", reason=reason)
        new = self.published.value
        if (new.status, new.models, new.reason) != (old.status, old.models, old.reason):
            if new.status != old.status:
                log.info("provider", name=new.name, status=new.status, models=len(new.models), reason=new.reason)
            self._tell(WorkerChanged(new))

    def _update(self, **changes: object) -> None:
        self.published.set(msgspec.structs.replace(self.published.value, **changes))


class _Run:
    """One attempt under way: holds back what comes before the first content, then writes to the job."""

    def __init__(self, worker: Worker, attempt: Attempt) -> None:
        self.job: Job = attempt.job
        self.number = attempt.number
        self._worker = worker
        self._model = attempt.model
        self._reason = attempt.reason
        self._held: Batch = []
        self._deadline = trio.CancelScope()
        self._between: float = inf

    async def stream(self, upstream: Upstream, routing: RoutingSettings) -> None:
        """Ask the upstream and hand on what it says; ends the job when the answer is whole."""
        self._between = routing.between_tokens_seconds
        self._deadline.deadline = trio.current_time() + routing.first_token_seconds
        with self._deadline:
            await upstream.chat(self.job.request, self._model, self._emit)
            if self.job.claimed_by != self.number:  # an answer without content is an answer
                await self._write([])
            self.job.finish(Completed())
        if self._deadline.cancelled_caught:
            if self.job.claimed_by == self.number:
                raise OblixError("upstream_stall", f"nothing came for {routing.between_tokens_seconds:g} s")
            raise OblixError("upstream_first_token_timeout", f"no first token within {routing.first_token_seconds:g} s")

    async def _emit(self, batch: Batch) -> None:
        if self.job.claimed_by != self.number and not any(
            isinstance(event, Delta) and event.has_content() for event in batch
        ):
            self._held += batch
            return
        await self._write(batch)
        self._deadline.deadline = trio.current_time() + self._between

    async def _write(self, batch: Batch) -> None:
        if self.job.claimed_by != self.number:
            if not self.job.claim(self.number):
                raise NotTheWriter(f"attempt {self.number} came too late")
            self._worker.claimed(self)
            batch = [Served(self._worker.published.value.name, self._model, self._reason), *self._held, *batch]
            self._held = []
        self._deadline.deadline = inf  # while the client is the slow one, the upstream is not to blame
        with trio.move_on_after(self._worker.stalled_client) as patience:
            await self.job.emit(self.number, batch)
        if patience.cancelled_caught:
            self.job.finish(Aborted(f"the client read nothing for {self._worker.stalled_client:g} s"))
            raise NotTheWriter("the client has stalled")
