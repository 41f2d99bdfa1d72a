"""The way from the actors to the sensors: a worker thread with a limiter of its own, and patience that ends."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from oblix_actors.actors.sensors.machine import Machine, open_machine
from oblix_actors.core.resources import ResourceSample

log = structlog.get_logger("sensors")

STUCK_SECONDS: Final = 10.0
"""A driver may hang for ever; its thread is left alone then, and asked again once it has come back."""


class Sensors:
    """Samples one machine, one reading at a time, off the loop. The machine is opened by the first reading.

    ``models`` is the folder whose disk is asked for free space, by default the one that models are pulled into.
    """

    def __init__(self, models: Path | None = None, machine: Machine | None = None) -> None:
        self._models = models
        self._machine = machine
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def sample(self, pids: tuple[int, ...], *, jobs: int, thorough: bool) -> ResourceSample | None:
        """The machine now, or ``None`` when its sensors are stuck. See :class:`Machine`."""
        read = partial(self._read, pids, now=trio.current_time(), jobs=jobs, thorough=thorough)
        with trio.move_on_after(STUCK_SECONDS):
            return await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=self._one_at_a_time)
        log.warning("the machine's sensors are stuck", seconds=STUCK_SECONDS)
        return None

    def _read(self, pids: tuple[int, ...], *, now: float, jobs: int, thorough: bool) -> ResourceSample:
        if self._machine is None:
            self._machine = open_machine(self._models)
        return self._machine.read_sample(pids, now=now, jobs=jobs, thorough=thorough)
