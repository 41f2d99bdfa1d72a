"""Keeps actors running: starts them in order, restarts the one that crashed, stops them in reverse.

One-for-one: a crash concerns nobody else. Restarts wait with exponential backoff; more than
``Intensity.restarts`` of them within ``Intensity.seconds`` over the whole tree, or a failure before an
actor was first ready, is :class:`~oblix_actors.errors.StartFailed` and brings the tree down: a
half-dead server never answers 200. (Erlang's supervisor has the same terms:
https://www.erlang.org/doc/system/sup_princ.html.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec
import structlog
import trio

from oblix_actors.errors import StartFailed
from oblix_actors.runtime.watch import Watch

log = structlog.get_logger("supervisor")

Run = Callable[..., Awaitable[None]]
"""An actor's body: ``run(*, task_status)`` calls ``task_status.started()`` once it is useful, then runs for ever."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
CALM: Final = 60.0
"""Seconds without a crash after which an actor's backoff starts over."""

Phase = Literal["starting", "running", "restarting", "stopped"]


class ChildSpec(msgspec.Struct, frozen=True):
    """How to run one actor: ``run`` is called anew for each restart; it may take ``stop_after`` seconds to stop."""

    name: str
    run: Run
    stop_after: float = 2.0


class Intensity(msgspec.Struct, frozen=True):
    """At most ``restarts`` restarts within ``seconds``."""

    restarts: int = 10
    seconds: float = 30.0


class ActorState(msgspec.Struct, frozen=True):
    """``since`` is trio's clock; ``error`` is the last crash's type (its text may hold what nobody should read)."""

    name: str
    phase: Phase
    since: float
    restarts: int = 0
    error: str | None = None


class _Child:
    def __init__(self, spec: ChildSpec, now: float) -> None:
        self.spec = spec
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.state: Watch[ActorState] = Watch(ActorState(spec.name, "starting", now))
        self.pause = FIRST_PAUSE
        self.last_crash: float | None = None

    def enter(self, phase: Phase, *, error: str | None = None, restarts: int | None = None) -> None:
        old = self.state.value
        self.state.set(
            ActorState(
                old.name, phase, trio.current_time(), old.restarts if restarts is None else restarts, error or old.error
            )
        )


class Supervisor:
    """Use inside a nursery: ``await start(nursery, spec)`` for each actor, then ``await stop()``."""

    def __init__(self, intensity: Intensity | None = None) -> None:
        self._intensity = intensity or Intensity()
        self._children: dict[str, _Child] = {}
        self._crashes: deque[float] = deque()

    def states(self) -> tuple[ActorState, ...]:
        """Every actor's state, in start order."""
        return tuple(child.state.value for child in self._children.values())

    def watch(self, name: str) -> Watch[ActorState]:
        """The published state of one actor."""
        return self._children[name].state

    async def start(self, nursery: trio.Nursery, spec: ChildSpec) -> None:
        """Start one actor and wait until it is ready. Raises :class:`StartFailed` if it fails before that."""
        child = _Child(spec, trio.current_time())
        self._children[spec.name] = child
        await nursery.start(self._keep, child)

    async def stop(self) -> None:
        """Stop every actor, the last started first, and wait for each to end (at most its ``stop_after``)."""
        for child in reversed(self._children.values()):
            child.scope.cancel(reason="the tree is stopping")
            with trio.move_on_after(child.spec.stop_after) as patience:
                await child.ended.wait()
            if patience.cancelled_caught:
                log.warning("actor does not stop", actor=child.spec.name, after=child.spec.stop_after)

    async def _keep(self, child: _Child, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the actor, again and again, until it is stopped or has crashed too often."""
        ready = False

        def started() -> None:
            nonlocal ready
            child.enter("running")
            if not ready:
                ready = True
                task_status.started()

        try:
            with child.scope:
                while True:
                    try:
                        await self._run(child, started)
                    except Exception as error:  # one of the two places that may
                        if not ready:
                            raise StartFailed(f"{child.spec.name} did not start: {_describe(error)}") from error
                        self._crashed(child, error)
                    await trio.sleep(child.pause)
                    child.pause = min(child.pause * 2, LONGEST_PAUSE)
        finally:
            child.enter("stopped")
            child.ended.set()

    async def _run(self, child: _Child, started: Callable[[], None]) -> None:
        """Run the actor's body once, in a nursery of its own; an actor that returns has crashed too."""
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            await nursery.start(child.spec.run)
            started()
        raise RuntimeError("the actor's body returned")

    def _crashed(self, child: _Child, error: Exception) -> None:
        now = trio.current_time()
        if child.last_crash is not None and now - child.last_crash > CALM:
            child.pause = FIRST_PAUSE
        child.last_crash = now
        self._crashes.append(now)
        while self._crashes[0] < now - self._intensity.seconds:
            self._crashes.popleft()
        child.enter("restarting", error=type(_first(error)).__name__, restarts=child.state.value.restarts + 1)
        log.error("actor crashed", actor=child.spec.name, restart_in=child.pause, exc_info=error)
        if len(self._crashes) > self._intensity.restarts:
            raise StartFailed(
                f"{child.spec.name} crashed again: {len(self._crashes)} crashes within {self._intensity.seconds:g} s, "
                f"more than {self._intensity.restarts}; last: {_describe(error)}"
            ) from error


def _first(error: BaseException) -> BaseException:
    """The first real exception inside (nested) groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _describe(error: BaseException) -> str:
    first = _first(error)
    return f"{type(first).__name__}: {first}"
