"""The engine actor: owns the embedded model's process, from its start on demand to its stop when idle.

A request leases the engine for as long as it runs. The process may die at any time: that is seen at
once, published, and the next lease starts it anew. Owns: the child process and its published state.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
import structlog
import trio

from oblix_actors.actors.engine_process import KILL_SECONDS, CannotStart, EngineProcess
from oblix_actors.engine import models
from oblix_actors.engine.models import ModelFile, unavailable
from oblix_actors.engine.protocol import EngineAddress, EngineParams, EngineState
from oblix_actors.errors import Busy, OblixError
from oblix_actors.runtime.mailbox import Mailbox, Reply
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import EmbeddedSettings, Secret

log = structlog.get_logger("engine")

MAILBOX: Final = 1024
"""A lease and a release for every request that the provider's queue can hold, several times over."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
CALM: Final = 60.0
"""Seconds of life after which a death of the process has nothing to do with those before it."""
FREE_DEATHS: Final = 3
"""So many quick deaths of a process that did start are answered by starting it again at once."""


class Hold:
    """One request's need of the engine. Whoever holds it sets ``over`` at its end: that cannot be lost, as a message
    to a full mailbox can."""

    __slots__ = ("over", "reply")

    def __init__(self) -> None:
        self.over = False
        self.reply: Reply[EngineAddress] = Reply()


class Lease(msgspec.Struct, frozen=True):
    """I need the model: where is it?"""

    hold: Hold


class Release(msgspec.Struct, frozen=True):
    """I do not need it any more, whether I got it or not."""

    hold: Hold


class Found(msgspec.Struct, frozen=True):
    """The model's file, which was not there before, is there now."""

    model: ModelFile


EngineMessage = Lease | Release | Found


class Engine:
    """``model`` is ``None`` while its file is not here; ``cores`` is how many the machine has for us.

    The published state is :attr:`state`. ``start = "eager"`` loads the model when the actor starts and keeps it:
    only what starts on demand is unloaded when idle.
    """

    def __init__(self, settings: EmbeddedSettings, model: ModelFile | None, *, cores: int) -> None:
        self.state: Watch[EngineState] = Watch(EngineState("stopped" if model is not None else "absent"))
        self.mailbox: Mailbox[EngineMessage] = Mailbox("engine", MAILBOX)
        self._settings = settings
        self._model = model
        self._threads = settings.threads or cores
        self._eager = settings.start == "eager"
        self._looking = trio.CapacityLimiter(1)  # the disk has a thread of its own
        self._waiting: set[Hold] = set()
        self._using: set[Hold] = set()
        self._address: EngineAddress | None = None
        self._stop = trio.Event()
        self._deaths = 0
        self._tried_again_at = 0.0
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[EngineAddress]:
        """The running engine, for the length of the block; starts it first where it must.

        Raises :class:`OblixError` ``engine_unavailable`` when it cannot be started, and ``busy``.
        """
        hold = Hold()
        try:
            self.mailbox.tell(Lease(hold))
        except Busy as busy:
            raise OblixError("busy", str(busy), retry_after=1.0) from None
        try:
            yield await hold.reply.get()
        finally:
            hold.over = True
            with suppress(Busy):
                self.mailbox.tell(Release(hold))

    async def model(self) -> ModelFile | None:
        """The model; where its file was not there, another look is taken: it may have been fetched since."""
        if self._model is None:
            found = await trio.to_thread.run_sync(models.resolve, self._settings, limiter=self._looking)
            if found is not None:
                with suppress(Busy):
                    self.mailbox.tell(Found(found))
            return found
        return self._model

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve leases for ever."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._eager or self._waiting:
                    self._start()
                if self._settings.idle_unload_seconds and not self._eager:
                    nursery.start_soon(self._unload_when_idle)
                task_status.started()
                await self.mailbox.each(self._handle, self._dropped)
        finally:  # the process ended with the nursery; who waits for it waits for our next life
            self._address = None
            self._using.clear()
            self._publish(phase="stopped" if self._model is not None else "absent", pid=None)

    def _handle(self, message: EngineMessage) -> None:
        match message:
            case Lease(hold):
                self._lease(hold)
            case Release(hold):
                self._waiting.discard(hold)
                self._using.discard(hold)
            case Found(model):
                if self._model is None:
                    self._model = model
                    self._publish(phase="stopped", reason="")
                    if self._eager:
                        self._start()
        self._publish()

    def _dropped(self, message: EngineMessage, _error: BaseException) -> None:
        if isinstance(message, Lease):
            message.hold.reply.fail(OblixError("actor_crashed", "the engine actor crashed"))

    def _lease(self, hold: Hold) -> None:
        if hold.over:
            return
        state = self.state.value
        if self._address is not None:
            self._using.add(hold)
            hold.reply.put(self._address)
        elif self._model is None:
            hold.reply.fail(unavailable("its file is not here"))
        elif state.phase == "failed":
            wait = max(self._tried_again_at - trio.current_time(), 0.0)
            hold.reply.fail(unavailable(state.reason, retry_after=wait))
        else:
            self._waiting.add(hold)
            if state.phase == "stopped":
                self._start()

    def _publish(self, **changes: object) -> None:
        self._waiting = {hold for hold in self._waiting if not hold.over}
        self._using = {hold for hold in self._using if not hold.over}
        leases = len(self._waiting) + len(self._using)
        self.state.set(msgspec.structs.replace(self.state.value, leases=leases, **changes))

    # -- the process: what follows is called by tasks of the actor's own nursery, between two messages

    def _start(self) -> None:
        if self._nursery is None or self._model is None:
            return
        self._stop = trio.Event()
        self._publish(phase="starting", pid=None, reason="")
        self._nursery.start_soon(self._live, self._model)

    async def _live(self, model: ModelFile) -> None:
        """One life of the process, from its start to what is done about its end."""
        born: float | None = None
        reason = ""
        key = secrets.token_urlsafe(24)
        try:
            process = await EngineProcess.start(self._params(model, key))
            try:
                self._publish(pid=process.pid)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(process.read_log)
                    with trio.move_on_after(self._settings.start_seconds) as patience:
                        address = await process.load()
                    if patience.cancelled_caught:
                        raise CannotStart(f"it did not load within {self._settings.start_seconds:g} s")
                    born = trio.current_time()
                    self._ready(EngineAddress(f"{address}/v1", Secret(key), model.name, process.pid))
                    await process.wait(self._stop)
                    if not self._stop.is_set():
                        reason = await process.epitaph()
                    nursery.cancel_scope.cancel(reason="the engine's process has been heard out")
            finally:
                with trio.move_on_after(2 * KILL_SECONDS, shield=True):
                    await process.end()
        except* CannotStart as errors:
            reason = _first(errors).reason
        self._ended(born, reason)

    def _params(self, model: ModelFile, key: str) -> EngineParams:
        return EngineParams(
            model=str(model.path),
            alias=model.name,
            context=self._settings.context,
            slots=self._settings.slots,
            threads=self._threads,
            key=key,
            niceness=self._settings.niceness,
        )

    def _ready(self, address: EngineAddress) -> None:
        log.info("embedded model loaded", model=address.model, pid=address.pid)
        self._address = address
        for hold in self._waiting:
            hold.reply.put(address)
        self._using |= self._waiting
        self._waiting.clear()
        self._publish(phase="ready", reason="")

    def _ended(self, born: float | None, reason: str) -> None:
        """The process is gone: we stopped it (``reason`` is ""), it died, or it could not start (never ``born``)."""
        self._address = None
        self._using.clear()  # their connections are gone, and they are told so by them
        now = trio.current_time()
        if not reason:
            self._deaths = 0
            log.info("embedded model unloaded")
            self._rest(f"idle for {self._settings.idle_unload_seconds:g} s")
            return
        self._deaths = 1 if born is not None and now - born > CALM else self._deaths + 1
        if born is not None and self._deaths <= FREE_DEATHS:
            log.warning("embedded model's process died", reason=reason)
            self._rest(reason)
            return
        pause = min(FIRST_PAUSE * 2.0 ** min(self._deaths - 1, 10), LONGEST_PAUSE)
        log.warning("embedded model cannot be started", reason=reason, next_try_in=pause)
        self._tried_again_at = now + pause
        for hold in self._waiting:
            hold.reply.fail(unavailable(reason, retry_after=pause))
        self._waiting.clear()
        self._publish(phase="failed", pid=None, reason=reason)
        if self._nursery is not None:
            self._nursery.start_soon(self._forgive, pause, reason)

    async def _forgive(self, pause: float, reason: str) -> None:
        await trio.sleep(pause)
        self._rest(reason)

    def _rest(self, reason: str) -> None:
        """There is no process, and there may be one again: at once if anybody waits for it."""
        self._publish(phase="stopped", pid=None, reason=reason)
        if self._eager or self._waiting:
            self._start()

    async def _unload_when_idle(self) -> None:
        version = -1
        while True:
            state, version = await self.state.newer(version)
            if state.phase != "ready" or state.leases:
                continue
            with trio.move_on_after(self._settings.idle_unload_seconds) as patience:
                await self.state.newer(version)
            if patience.cancelled_caught and self.state.version == version:
                self._address = None  # from now on who comes waits for the next life
                self._publish(phase="stopping")
                self._stop.set()


def _first(errors: BaseExceptionGroup[CannotStart]) -> CannotStart:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
