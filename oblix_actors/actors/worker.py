"""A provider's worker: runs attempts on one upstream, and keeps an eye on whether that upstream is there.

It writes an attempt's events straight into the job's channel once it holds the claim, and tells the
router what became of it. Owns: its provider's published state. The per-job boundary is here: whatever
an adapter does wrong ends one attempt and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from oblix_actors.actors.attempt import Run
from oblix_actors.actors.messages import (
    Attempt,
    Bounced,
    Claimed,
    Leave,
    RouterMailbox,
    RouterMessage,
    Settled,
    Warm,
    WorkerChanged,
    WorkerMailbox,
    WorkerMessage,
)
from oblix_actors.core.catalogue import Model, ProviderState, preferring
from oblix_actors.core.events import Failed
from oblix_actors.core.upstream import Upstream, Warmable
from oblix_actors.errors import Busy, OblixError, Scope
from oblix_actors.runtime.job import NotTheWriter
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import RoutingSettings

log = structlog.get_logger("worker")

DISCOVERY_SECONDS: Final = 10.0
FIRST_LOOK_SECONDS: Final = 0.5
"""How long the start waits for an upstream's first answer: loopback needs milliseconds, the rest may come later."""
FIRST_RETRY: Final = 1.0
SILENCE_SECONDS: Final = 1.0
CLOUD_REFRESH_FACTOR: Final = 10.0
"""A cloud's list of models changes rarely: it is refreshed this much less often than a local one's."""


class Worker:
    """``state`` is the provider as configured; ``stalled_client`` seconds is how long a client may stop reading.

    ``stalled`` is told, once a second, how long an upstream on the network has been silent while it was asked.
    """

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
        stalled: Callable[[float], None] | None = None,
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
        self._warming: set[str] = set()
        self._runs: set[Run] = set()
        self._stalled = stalled
        self._look_again = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look for the upstream, then take attempts for ever."""
        self._slots = trio.Semaphore(self.published.value.slots)
        self._update(running=0, waiting=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discover_forever)
            if self._stalled is not None:
                nursery.start_soon(self._watch_for_silence, self._stalled)
            with trio.move_on_after(FIRST_LOOK_SECONDS):
                await self._looked.wait()
            task_status.started()

            def handle(message: WorkerMessage) -> None:
                match message:
                    case Attempt():
                        nursery.start_soon(self._serve, message)
                    case Warm(model):
                        nursery.start_soon(self._warm, model)
                    case Leave(reason):
                        self._leave(reason)

            await self._mailbox.each(handle, self._dropped)

    def look_again(self) -> None:
        """What is known of the upstream is old: ask it again, soon."""
        self._look_again.set()

    def _dropped(self, message: WorkerMessage, _error: BaseException) -> None:
        if isinstance(message, Attempt):
            self._tell(Bounced(message.job, message.number, self._crashed(), shown=False))

    def _leave(self, reason: str) -> None:
        """Fail every attempt that runs: there is no way to the upstream."""
        name = self.published.value.name
        for run in tuple(self._runs):
            run.leave(OblixError("route_lost", f"the way to {name} is gone: {reason}", provider=name))

    async def _watch_for_silence(self, stalled: Callable[[float], None]) -> None:
        """Say so when an upstream that was asked is silent: it may be slow, or lost on the way."""
        while True:
            if not self._runs:
                version = self.published.version
                while not self._runs:
                    _, version = await self.published.newer(version)
            await trio.sleep(SILENCE_SECONDS)
            longest = max((run.silence for run in self._runs), default=0.0)
            if longest >= SILENCE_SECONDS:
                stalled(longest)

    async def _warm(self, model: str) -> None:
        """Load ``model`` where the upstream can be told to; it is a favour, so that a failure is only logged."""
        if model in self._warming or not isinstance(self._upstream, Warmable):
            return
        self._warming.add(model)
        try:
            await self._upstream.warm(model)
        except OblixError as error:
            log.info("not warmed", provider=self.published.value.name, model=model, error=error.code)
        finally:
            self._warming.discard(model)
        self.look_again()  # it is loaded now, and the router should know

    # -- attempts

    async def _serve(self, attempt: Attempt) -> None:
        """One attempt, from its place in the queue to the word to the router, which is said on every way out."""
        run = Run(attempt, self.published, claimed=self._claimed, stalled_client=self._stalled_client)
        error: OblixError | None = self._crashed()  # what is true if we are torn out of here
        try:
            with attempt.job.scope(attempt.number) as scope:
                error = await self._boundary(run)
            if scope.cancelled_caught or attempt.job.outcome is not None:
                error = None  # nobody needs this attempt any more
        finally:
            self._report(run, error)

    async def _boundary(self, run: Run) -> OblixError | None:
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

    async def _queue_and_stream(self, run: Run) -> None:
        state = self.published.value
        if state.waiting >= self._routing.max_queue:
            raise OblixError("busy", f"{state.waiting} requests wait for {state.name} already", retry_after=1.0)
        self._update(waiting=state.waiting + 1)
        try:
            await self._slots.acquire()
        finally:
            self._update(waiting=self.published.value.waiting - 1)
        self._runs.add(run)
        self._update(running=self.published.value.running + 1)
        try:
            await run.stream(self._upstream, self._routing)
        finally:
            self._slots.release()
            self._runs.discard(run)
            self._update(running=self.published.value.running - 1)

    def _report(self, run: Run, error: OblixError | None) -> None:
        """Tell the router how the attempt ended. Synchronous: it also runs while being cancelled."""
        if error is not None:
            if error.kind.scope is Scope.PROVIDER:
                self.look_again()
            shown = run.job.claimed_by == run.number and run.job.request.stream
            if not shown:
                run.job.unclaim(run.number)  # a client that waits for the whole has seen nothing yet
            self._tell(Bounced(run.job, run.number, error, shown=shown))
        else:
            self._tell(Settled(run.job, run.number, run.pace()))

    def _claimed(self, attempt: Attempt) -> None:
        """``attempt`` has shown the first content."""
        self._tell(Claimed(attempt.job, attempt.number))

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
                # What is found at the start is said in one place for all, and nobody misses what was never there.
                tell = log.debug if old.status == "starting" or new.status == "absent" else log.info
                tell("provider", name=new.name, status=new.status, models=len(new.models), reason=new.reason)
            self._tell(WorkerChanged(new))

    def _update(self, **changes: object) -> None:
        self.published.set(msgspec.structs.replace(self.published.value, **changes))
