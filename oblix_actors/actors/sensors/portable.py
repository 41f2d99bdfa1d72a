"""macOS, Windows and the rest, through psutil: what the system does not give is not there."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import structlog

from oblix_actors.actors.sensors.files import disk_free
from oblix_actors.actors.sensors.nvml import Nvml
from oblix_actors.core.resources import GpuSample, ResourceSample

log = structlog.get_logger("sensors")

T = TypeVar("T")


class PortableMachine:
    """See :class:`~oblix_actors.actors.sensors.machine.Machine`."""

    def __init__(
        self,
        *,
        models: Path | None = None,
        nvml: Nvml | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._nvml = nvml
        self._clock = clock
        self._read_at: float | None = None
        self._cpu: tuple[float, float] | None = None
        self._spent: dict[tuple[int, float], float] = {}
        self._swapped: tuple[int, int] | None = None
        self._slow: dict[str, Any] = {}

    def read_sample(self, pids: tuple[int, ...], *, now: float, jobs: int, thorough: bool) -> ResourceSample:
        """The machine now; see the protocol."""
        at = self._clock()
        seconds = None if self._read_at is None else at - self._read_at
        self._read_at = at
        family = self._family(pids)
        cores = psutil.cpu_count() or None
        found = self._cpu_use(cores, seconds, family) | self._memory(family) | self._swap(seconds)
        if cores:
            load = _ask(psutil.getloadavg)
            # Windows has no run queue: psutil would count one up in a thread of its own.
            found["load"] = None if load is None or sys.platform == "win32" else load[0] / cores
        if thorough or not self._slow:
            self._slow = self._slowly(frozenset(process.pid for process in family))
        return ResourceSample(taken_at=now, seconds=seconds, jobs=jobs, cores=cores, **found, **self._slow)

    def _family(self, pids: tuple[int, ...]) -> list[psutil.Process]:
        """This process, and ``pids`` with all that they started."""
        found: dict[int, psutil.Process] = {}
        for pid in (os.getpid(), *pids):
            process = _ask(lambda pid=pid: psutil.Process(pid))  # type: ignore[misc]
            if process is not None:
                found[pid] = process
                children = (_ask(lambda of=process: of.children(recursive=True)) or []) if pid in pids else []  # type: ignore[misc]
                found.update((child.pid, child) for child in children)
        return list(found.values())

    def _cpu_use(self, cores: int | None, seconds: float | None, family: list[psutil.Process]) -> dict[str, Any]:
        spent: dict[tuple[int, float], float] = {}
        for process in family:
            used, started = _ask(process.cpu_times), _ask(process.create_time)
            if used is not None and started is not None:
                spent[process.pid, started] = used.user + used.system
        before_spent, self._spent = self._spent, spent
        times = _ask(psutil.cpu_times)
        if times is None:
            return {}
        total = float(sum(times))
        idle = float(times.idle + getattr(times, "iowait", 0.0))
        before, self._cpu = self._cpu, (total - idle, total)
        if before is None or total <= before[1] or not seconds or not cores:
            return {}
        share = min(100.0, max(0.0, 100.0 * (self._cpu[0] - before[0]) / (total - before[1])))
        ours = sum(max(0.0, now - before_spent[key]) for key, now in spent.items() if key in before_spent)
        return {"cpu_percent": share, "own_cpu_percent": min(share, 100.0 * ours / (seconds * cores))}

    def _memory(self, family: list[psutil.Process]) -> dict[str, Any]:
        memory = _ask(psutil.virtual_memory)
        if memory is None or not memory.total:
            return {}
        used = max(0, memory.total - memory.available)
        sizes = (_ask(process.memory_info) for process in family)
        # What is shared is files: a mapped model is no used memory.
        own = sum(max(0, size.rss - getattr(size, "shared", 0)) for size in sizes if size is not None)
        return {
            "memory_total": memory.total,
            "memory_available": memory.available,
            "memory_percent": 100.0 * used / memory.total,
            "own_memory": min(own, used),
        }

    def _swap(self, seconds: float | None) -> dict[str, Any]:
        swap = _ask(psutil.swap_memory)
        if swap is None:
            return {}
        before, self._swapped = self._swapped, (swap.sin, swap.sout)
        found: dict[str, Any] = {"swap_used": swap.used}
        if before is not None and seconds and sys.platform != "win32":  # which counts neither
            found["swap_in"] = max(0, swap.sin - before[0]) / seconds
            found["swap_out"] = max(0, swap.sout - before[1]) / seconds
        return found

    def _slowly(self, pids: frozenset[int]) -> dict[str, Any]:
        battery = _ask(psutil.sensors_battery) if hasattr(psutil, "sensors_battery") else None
        chips = _ask(psutil.sensors_temperatures) if hasattr(psutil, "sensors_temperatures") else None
        heat = [each.current for chip in (chips or {}).values() for each in chip if each.current and each.current > 0]
        plugged = None if battery is None else battery.power_plugged
        return {
            "gpus": _apples() + (() if self._nvml is None else self._nvml.read(pids)),
            "battery_percent": None if battery is None else float(battery.percent),
            "on_battery": None if plugged is None else not plugged,
            "temperature": max(heat, default=None),
            "disk_free": disk_free(self._models),
        }


def _apples() -> tuple[GpuSample, ...]:
    """The GPU in every Mac with Apple's own chips: it shares the machine's memory and tells nothing without root."""
    mac = sys.platform == "darwin" and platform.machine() == "arm64"
    return (GpuSample(name="Apple silicon", vendor="apple"),) if mac else ()


def _ask(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except (psutil.Error, OSError, NotImplementedError) as error:
        log.debug("sensor absent", sensor=getattr(question, "__name__", "process"), error=type(error).__name__)
        return None
