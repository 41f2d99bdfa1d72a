"""Watches the machine: samples it in a thread at a pace that follows what happens, and judges every sample.

The judgement is :mod:`oblix_actors.core.resource_judge`'s; this file owns when to look and whom to tell. The report
is published in a ``Watch`` cell, and a change of the verdict is pushed. Nothing here is in the way of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog
import trio

from oblix_actors.actors.sensors.thread import Sensors
from oblix_actors.core.resource_judge import JudgeMemory, changing, judge, next_interval
from oblix_actors.core.resources import ResourceReport, ResourceSample, as_json
from oblix_actors.errors import Busy
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import ResourceMonitorSettings

log = structlog.get_logger("resource_monitor")

THOROUGH_SECONDS: Final = 10.0
"""How often GPUs, heat, battery and disk are looked at while nothing happens; on battery every ``check_interval``."""

CLOSE_SECONDS: Final = 2.0
"""The same while jobs run or a dwell time does."""


class Sense(Protocol):
    """Reads the machine; ``None`` when it could not be read now. See :class:`Sensors`."""

    async def __call__(self, pids: tuple[int, ...], *, jobs: int, thorough: bool) -> ResourceSample | None: ...


class ResourceMonitor:
    """The actor. ``children`` gives our child processes' ids, ``busy`` how many of our jobs run.

    ``changed`` hears the first verdict and every change of its state or target. It must not wait; when it raises
    :class:`Busy` it is told again with the next sample.
    """

    def __init__(
        self,
        settings: ResourceMonitorSettings,
        *,
        children: Callable[[], tuple[int, ...]],
        busy: Callable[[], int],
        watch: Watch[ResourceReport],
        changed: Callable[[ResourceReport], None],
        sense: Sense | None = None,
    ) -> None:
        self._settings = settings
        self._children = children
        self._busy = busy
        self._watch = watch
        self._changed = changed
        self._sense = sense or Sensors().sample
        self._memory = JudgeMemory()
        self._told: tuple[str, str] | None = None
        self._thorough_at: float | None = None
        self._lively = True

    def health(self) -> dict[str, Any]:
        """The section ``resources`` of ``/health``."""
        return as_json(self._watch.value, trio.current_time())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch for ever. It is of use at once: until the first sample nothing speaks against the machine."""
        task_status.started()
        interval = 0.0
        while True:
            await trio.sleep(interval)
            await self._look()
            now = trio.current_time()
            interval = next_interval(
                interval,
                self._settings,
                lively=self._lively,
                on_battery=bool(self._watch.value.sample.on_battery),
                due_in=None if self._memory.due is None else self._memory.due - now,
            )

    async def _look(self) -> None:
        before = self._watch.value.sample
        now = trio.current_time()
        thorough = self._thorough_at is None or now - self._thorough_at >= self._patience(before)
        sample = await self._sense(self._children(), jobs=self._busy(), thorough=thorough)
        if sample is None:
            return
        if thorough:
            self._thorough_at = now
        state, self._memory = judge(sample, self._settings, self._memory, trio.current_time())
        report = ResourceReport(state, sample)
        self._lively = sample.jobs > 0 or self._memory.due is not None or changing(sample, before, self._settings)
        self._watch.set(report)
        self._tell(report)

    def _patience(self, sample: ResourceSample) -> float:
        """How old the figures may be that cost more."""
        if sample.jobs > 0 or self._memory.due is not None:
            return min(CLOSE_SECONDS, self._settings.dwell_seconds / 2)
        if sample.on_battery:
            return max(self._settings.check_interval, THOROUGH_SECONDS)
        return THOROUGH_SECONDS

    def _tell(self, report: ResourceReport) -> None:
        verdict = (report.state.state, report.state.target)
        if verdict == self._told:
            return
        try:
            self._changed(report)
        except Busy:
            log.debug("nobody took the news", state=report.state.state)
            return
        tell = log.debug if self._told is None else log.info  # the first is no news
        self._told = verdict
        tell("resources", state=report.state.state, target=report.state.target, reasons=report.state.reasons)
