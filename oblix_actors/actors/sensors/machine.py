"""What every machine's sensors offer, and the choice between them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol

from oblix_actors.core.resources import ResourceSample
from oblix_actors.engine.models import data_dir


class Machine(Protocol):
    """Reads this machine; keeps the counters of the last reading, so that rates can be told. Not for two threads."""

    def read_sample(self, pids: tuple[int, ...], *, now: float, jobs: int, thorough: bool) -> ResourceSample:
        """The machine now.

        ``pids`` are our own children, ``jobs`` how many jobs run; ``now`` becomes ``taken_at``. What changes slowly or
        costs more (GPUs, battery, heat, disk) is read only when ``thorough``, and else repeated.
        """
        ...


def open_machine(models: Path | None = None) -> Machine:
    """The sensors of the machine that this runs on.

    ``models`` is the folder whose disk is asked for free space; by default the one that models are pulled into.
    """
    from oblix_actors.actors.sensors.nvml import Nvml

    models = models or data_dir()
    if sys.platform == "linux":
        from oblix_actors.actors.sensors.linux import LinuxMachine

        return LinuxMachine(models=models, nvml=Nvml())
    else:  # noqa: RET505 - mypy follows platforms only so
        from oblix_actors.actors.sensors.portable import PortableMachine

        return PortableMachine(models=models, nvml=Nvml())
