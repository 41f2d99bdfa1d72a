"""The engine actor: owns the embedded model's process, from its start on demand to its stop when idle.

A request leases the engine for as long as it runs. The process may die at any time: that is seen at
once, published, and the next lease starts it anew. Owns: the child process and its published state.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Final

import msgspec
import structlog
import trio

from oblix_actors.engine.models import ModelFile
from oblix_actors.engine.protocol import Answer, EngineAddress, EngineParams, EngineState, Refused
from oblix_actors.errors import Busy, OblixError
from oblix_actors.runtime.mailbox import Mailbox, Reply
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import EmbeddedSettings, Secret

log = structlog.get_logger("engine")

MAILBOX: Final = 1024
"""A lease and a release for every request that the provider's queue can hold, several times over."""
MAX_LINE: Final = 4096
KEPT_LINES: Final = 50
"""So much of llama.cpp's own log is kept to explain a failed start."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
TERM_SECONDS: Final = 2.0
_ANSWER: Final[msgspec.json.Decoder[Answer]] = msgspec.json.Decoder(Answer)


class Lease(msgspec.Struct, frozen=True, eq=False):
    """I need the model: where is it? The reply is the lease's identity."""

    reply: Reply[EngineAddress]


class Release(msgspec.Struct, frozen=True, eq=False):
    """I do not need it any more, whether I got it or not."""

    reply: Reply[EngineAddress]


class Up(msgspec.Struct, frozen=True, eq=False):
    """The process answers."""

    process: trio.Process
    address: EngineAddress


class Down(msgspec.Struct, frozen=True, eq=False):
    """The process is gone, or could not be started; ``reason`` is for people, ``wanted`` if we stopped it."""

    reason: str
    wanted: bool


EngineMessage = Lease | Release | Up | Down


class Engine:
    """``cores`` is how many the machine has for us; the published state is :attr:`state`."""

    def __init__(self, settings: EmbeddedSettings, model: ModelFile, *, cores: int) -> None:
        self.state: Watch[EngineState] = Watch(EngineState())
        self.mailbox: Mailbox[EngineMessage] = Mailbox("engine", MAILBOX)
        self._settings = settings
        self._model = model
        self._threads = settings.threads or cores
        self._leases: set[Reply[EngineAddress]] = set()
        self._address: EngineAddress | None = None
        self._unload = trio.Event()
        self._pause = FIRST_PAUSE
        self._not_before = -inf
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[EngineAddress]:
        """The running engine, for the length of the block; starts it first where it must.

        Raises :class:`OblixError` ``engine_unavailable`` when it cannot be started.
        """
        reply: Reply[EngineAddress] = Reply()
        try:
            self.mailbox.tell(Lease(reply))
        except Busy as busy:
            raise OblixError("busy", str(busy), retry_after=1.0) from None
        try:
            yield await reply.get()
        finally:
            self.mailbox.tell(Release(reply))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve leases for ever."""
        self._address = None
        self._publish(phase="stopped", pid=None)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            if self._settings.start == "eager" or self._waiting():
                self._start()
            if self._settings.idle_unload_seconds and self._settings.start == "on_demand":
                nursery.start_soon(self._unload_when_idle)
            task_status.started()
            await self.mailbox.each(self._handle, self._dropped)

    def _handle(self, message: EngineMessage) -> None:
        match message:
            case Lease(reply):
                self._lease(reply)
            case Release(reply):
                self._leases.discard(reply)
                self._publish()
            case Up(process, address):
                self._address = address
                self._pause = FIRST_PAUSE
                for reply in self._leases:
                    reply.put(address)
                self._publish(phase="ready", pid=process.pid, reason="")
            case Down(reason, wanted):
                self._down(reason, wanted=wanted)

    def _dropped(self, message: EngineMessage, _error: BaseException) -> None:
        if isinstance(message, Lease):
            message.reply.fail(OblixError("actor_crashed", "the engine actor crashed"))

    def _lease(self, reply: Reply[EngineAddress]) -> None:
        now = trio.current_time()
        if self._address is None and self.state.value.phase != "starting" and now < self._not_before:
            wait = self._not_before - now
            reply.fail(self._unavailable(f"it is tried again in {wait:.0f} s", retry_after=wait))
            return
        self._leases.add(reply)
        if self._address is not None:
            reply.put(self._address)
        elif self.state.value.phase != "starting":
            self._start()
        self._publish()

    def _waiting(self) -> bool:
        return bool(self._leases)

    def _start(self) -> None:
        if self._nursery is None:
            raise RuntimeError("the engine actor is not running")
        self._unload = trio.Event()
        self._publish(phase="starting", pid=None, reason="")
        self._nursery.start_soon(self._run_child)

    def _down(self, reason: str, *, wanted: bool) -> None:
        self._address = None
        if wanted:
            log.info("embedded model unloaded", reason=reason)
            self._publish(phase="stopped", pid=None, reason=reason)
            if self._waiting():  # somebody came while it was going
                self._start()
            return
        log.warning("embedded model's process is gone", reason=reason, next_try_in=self._pause)
        self._not_before = trio.current_time() + self._pause
        for reply in self._leases:
            reply.fail(self._unavailable("its process could not be started", retry_after=self._pause))
        self._publish(phase="failed", pid=None, reason=reason)
        if self._settings.start == "eager" and self._nursery is not None:
            self._nursery.start_soon(self._start_again, self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _start_again(self, pause: float) -> None:
        await trio.sleep(pause)
        if self.state.value.phase == "failed":
            self._start()

    def _unavailable(self, why: str, *, retry_after: float) -> OblixError:
        return OblixError("engine_unavailable", f"the embedded model is not available: {why}", retry_after=retry_after)

    def _publish(self, **changes: object) -> None:
        self.state.set(msgspec.structs.replace(self.state.value, leases=len(self._leases), **changes))

    # -- the child process

    async def _unload_when_idle(self) -> None:
        version = -1
        while True:
            state, version = await self.state.newer(version)
            if state.phase != "ready" or state.leases:
                continue
            with trio.move_on_after(self._settings.idle_unload_seconds) as patience:
                await self.state.newer(version)
            if patience.cancelled_caught:
                self._unload.set()

    async def _run_child(self) -> None:
        """One life of the process; says :class:`Up` when it answers, and :class:`Down` at its end."""
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "oblix_actors.engine"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            self.mailbox.tell(Down(f"its process cannot be started: {error.strerror}", wanted=False))
            return
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_lines, process, lines)
                reason = await self._talk(process)
                wanted = reason is None and self._unload.is_set()
                nursery.cancel_scope.cancel(reason="the child has been heard out")
            if wanted:
                down = Down(f"idle for {self._settings.idle_unload_seconds:g} s", wanted=True)
            else:
                down = Down(reason or _epitaph(process.returncode, lines), wanted=False)
        finally:
            with trio.move_on_after(2 * TERM_SECONDS, shield=True):
                await _end(process)
        self.mailbox.tell(down)

    async def _talk(self, process: trio.Process) -> str | None:
        """Hand over the parameters, wait for the answer, then for the end; returns why it did not start, if so."""
        key = secrets.token_urlsafe(24)
        params = EngineParams(
            model=str(self._model.path),
            alias=self._model.name,
            context=self._settings.context,
            slots=self._settings.slots,
            threads=self._threads,
            key=key,
            niceness=self._settings.niceness,
        )
        with trio.move_on_after(self._settings.start_seconds) as patience:
            answer = await _first_answer(process, params)
        if patience.cancelled_caught:
            return f"it did not load within {self._settings.start_seconds:g} s"
        if answer is None:
            await process.wait()
            return None
        if isinstance(answer, Refused):
            return answer.reason
        address = EngineAddress(f"{answer.address}/v1", Secret(key), self._model.name)
        log.info("embedded model loaded", model=self._model.name, pid=process.pid)
        self.mailbox.tell(Up(process, address))
        async with trio.open_nursery() as nursery:

            async def unload() -> None:
                await self._unload.wait()
                nursery.cancel_scope.cancel(reason="idle")

            nursery.start_soon(unload)
            await process.wait()
            nursery.cancel_scope.cancel(reason="the process has ended")
        return None


async def _first_answer(process: trio.Process, params: EngineParams) -> Answer | None:
    """The child's one line, or ``None`` when it ended without saying anything that can be understood."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the engine's pipes are missing")
    line = b""
    try:
        await process.stdin.send_all(msgspec.json.encode(params) + b"\n")
        while not line.endswith(b"\n") and len(line) < MAX_LINE:
            piece = await process.stdout.receive_some(MAX_LINE)
            if not piece:
                return None
            line += piece
        return _ANSWER.decode(line)
    except (trio.BrokenResourceError, msgspec.DecodeError):
        return None


async def _keep_lines(process: trio.Process, lines: deque[str]) -> None:
    """Read llama.cpp's log, so that its pipe never fills, and keep the end of it."""
    if process.stderr is None:
        return
    rest = b""
    while data := await process.stderr.receive_some(65_536):
        *whole, rest = (rest + data).split(b"\n")
        rest = rest[-MAX_LINE:]
        for line in whole:
            text = line.decode("utf-8", "replace")[:MAX_LINE]
            lines.append(text)
            log.debug("llama.cpp", line=text)


def _epitaph(returncode: int | None, lines: deque[str]) -> str:
    """Why a process ended, as well as can be told: its last error line, or its exit."""
    errors = [line for line in lines if " E " in line]
    end = f"killed by signal {-returncode}" if returncode is not None and returncode < 0 else f"exit code {returncode}"
    return f"{end}; it said last: {errors[-1][:300]}" if errors else end


async def _end(process: trio.Process) -> None:
    """Close the pipes, which the child takes as its end; kill it when it does not. Leaves no zombie."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            await pipe.aclose()
    with trio.move_on_after(TERM_SECONDS):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
