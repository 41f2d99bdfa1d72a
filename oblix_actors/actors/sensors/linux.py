"""Linux, from ``/proc``, ``/sys`` and the control groups: no library, and so little work that it can be done often."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from oblix_actors.actors.sensors.files import Files, disk_free
from oblix_actors.actors.sensors.gpus import DrmGpus
from oblix_actors.actors.sensors.limits import Limits
from oblix_actors.actors.sensors.nvml import Nvml
from oblix_actors.actors.sensors.processes import OwnUse, Processes
from oblix_actors.core import procfs
from oblix_actors.core.drm import celsius
from oblix_actors.core.power import power, supply
from oblix_actors.core.resources import Pressure, ResourceSample

LEAST_TICKS: Final = 4
"""Over fewer clock ticks of all CPUs there is no telling how busy they were: the last figure stands."""
MINUTE: Final = 60.0
CPU_HEAT: Final = frozenset(
    {"coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "soc-thermal", "acpitz"}
)
"""The hwmon chips that tell the CPU's temperature; disks and radios have limits of their own."""
RASPBERRY: Final = "/sys/devices/platform/soc/soc:firmware/get_throttled"
RASPBERRY_NOW: Final = 0b1110
"""Frequency capped, throttled, soft temperature limit
(https://www.raspberrypi.com/documentation/computers/os.html#get_throttled)."""


class LinuxMachine:
    """See :class:`~oblix_actors.actors.sensors.machine.Machine`. ``root`` holds ``proc`` and ``sys``."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        models: Path | None = None,
        nvml: Nvml | None = None,
        clock: Callable[[], float] = time.monotonic,
        pid: int | None = None,
    ) -> None:
        self._files = files = Files(root)
        self._models = models
        self._nvml = nvml
        self._clock = clock
        self._limits = Limits(files)
        self._processes = Processes(files, os.getpid() if pid is None else pid)
        self._gpus = DrmGpus(files)
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._tick = os.sysconf("SC_CLK_TCK")
        self._read_at: float | None = None
        self._cpu: procfs.CpuTimes | None = None
        self._group_seconds: dict[str, float] = {}
        self._swap_used = 0
        self._swapped: tuple[int, int] | None = None
        self._own_load = 0.0
        self._allowed: frozenset[int] = frozenset()
        self._limited = False
        self._throttles: int | None = None
        self._fast: dict[str, Any] = {}
        self._slow: dict[str, Any] = {}

    def read_sample(self, pids: tuple[int, ...], *, now: float, jobs: int, thorough: bool) -> ResourceSample:
        """The machine now; see the protocol."""
        thorough = thorough or not self._slow
        at = self._clock()
        stat = self._files.read("/proc/stat")
        if thorough:
            self._limits.look()
            status = self._files.read("/proc/self/status")
            self._allowed = procfs.cpu_list(procfs.status_field(status, "Cpus_allowed_list"))
        cpu = procfs.cpu_times(stat, self._allowed)
        if self._cpu is not None and cpu is not None and 0 <= cpu.total - self._cpu.total < LEAST_TICKS:
            own = self._processes.again()  # asked again so soon that nothing new can be said
        else:
            own = self._processes.use(pids, look_for_children=thorough)
            self._fast = self._rates(at, cpu, own)
        if thorough:
            host = procfs.cpu_times(stat, frozenset())
            self._slow = self._slowly(own, 0 if host is None else host.cpus)
        found = self._fast | self._memory(own) | self._slow
        return ResourceSample(taken_at=now, jobs=jobs, pressure=self._pressure(), **found)

    # -- what is averaged since the last reading

    def _rates(self, at: float, cpu: procfs.CpuTimes | None, own: OwnUse) -> dict[str, Any]:
        before, self._cpu = self._cpu, cpu
        seconds = None if self._read_at is None else at - self._read_at
        self._read_at = at
        cores: float | None = None if cpu is None else float(cpu.cpus)
        quota = self._limits.cpu_quota()
        limited = quota is not None and (cores is None or quota < cores)
        used: float | None = None
        ours: float | None = None
        spent = own.ticks / self._tick
        groups = self._limits.cpu_seconds()
        if limited:
            cores = quota
            used = self._of_quota(groups, seconds)
            ours = None if not seconds or not quota else 100.0 * spent / (seconds * quota)
        elif cpu is not None and before is not None and cpu.total > before.total:
            total = cpu.total - before.total
            used = 100.0 * max(0, cpu.busy - before.busy) / total
            ours = 100.0 * own.ticks / total
        self._group_seconds = groups
        found: dict[str, Any] = {"seconds": seconds, "cores": cores}
        if used is not None:
            found["cpu_percent"] = min(100.0, used)
            found["own_cpu_percent"] = None if ours is None else min(100.0, used, ours)
        if seconds:
            # Averaged as the kernel averages: what we ran is what we added to the queue, at least.
            fade = math.exp(-seconds / MINUTE)
            self._own_load = self._own_load * fade + spent / seconds * (1 - fade)
        self._limited = limited
        return found | self._swap(seconds)

    def _of_quota(self, groups: dict[str, float], seconds: float | None) -> float | None:
        """Percent of what the tightest group allows."""
        shares = [
            100.0 * max(0.0, groups[group] - self._group_seconds[group]) / (seconds * allowed)
            for group, allowed in self._limits.cpu.items()
            if seconds and group in groups and group in self._group_seconds
        ]
        return max(shares, default=None)

    def _swap(self, seconds: float | None) -> dict[str, Any]:
        if not self._swap_used:  # nothing is swapped out: the long file need not be read
            self._swapped = None
            return {}
        counts = procfs.keyed(self._files.read("/proc/vmstat"))
        before, self._swapped = self._swapped, (counts.get("pswpin", 0), counts.get("pswpout", 0))
        if before is None or not seconds:
            return {}
        rates = [max(0, new - old) * self._page / seconds for new, old in zip(self._swapped, before, strict=True)]
        return {"swap_in": rates[0], "swap_out": rates[1]}

    # -- what is read as it is

    def _memory(self, own: OwnUse) -> dict[str, Any]:
        """The machine's memory, or the tightest group's: the least that can be had, of the least that is allowed."""
        host = procfs.meminfo(self._files.read("/proc/meminfo"))
        found: dict[str, Any] = {}
        total, available = host.get("MemTotal"), host.get("MemAvailable")
        ours = own.own_pages * self._page
        for level in self._limits.memory():
            if available is None or level.available < available:
                available = level.available
                # Files that our model is mapped from are page cache: only what is not idle counts as used.
                ours = own.own_pages * self._page + min(own.shared_pages * self._page, level.busy_files)
            total = level.limit if total is None else min(total, level.limit)
        if "SwapTotal" in host and "SwapFree" in host:
            found["swap_used"] = self._swap_used = max(0, host["SwapTotal"] - host["SwapFree"])
        if total and available is not None:
            available = min(available, total)
            percent = 100.0 * (total - available) / total
            found |= {"memory_total": total, "memory_available": available, "memory_percent": percent}
            found["own_memory"] = min(ours, total - available)
        return found

    def _pressure(self) -> Pressure:
        cpu, memory, io = (procfs.pressure(self._limits.pressure(what)) for what in ("cpu", "memory", "io"))
        return Pressure(cpu=cpu.some, memory=memory.some, memory_full=memory.full, io=io.some)

    # -- what changes slowly

    def _slowly(self, own: OwnUse, cpus: int) -> dict[str, Any]:
        supplies = "/sys/class/power_supply"
        found = power(supply(self._files.read(f"{supplies}/{name}/uevent")) for name in self._files.names(supplies))
        gpus = self._gpus.read(own.pids, self._clock())
        if self._nvml is not None:
            gpus += self._nvml.read(own.pids, asleep=self._gpus.nvidia_sleeps())
        queue = procfs.load_average(self._files.read("/proc/loadavg"))
        if self._limited or not cpus:
            queue = None  # it is the whole machine's, of which only a part is ours
        return {
            "load": None if queue is None else queue / cpus,
            "own_load": None if queue is None else min(queue, self._own_load) / cpus,
            "gpus": gpus,
            "battery_percent": found.percent,
            "charging": found.charging,
            "on_battery": found.on_battery,
            "temperature": self._heat(),
            "throttled": self._throttled(),
            "disk_free": disk_free(self._models),
        }

    def _heat(self) -> float | None:
        """The hottest of the CPU's sensors, else of the thermal zones."""
        chips, zones = "/sys/class/hwmon", "/sys/class/thermal"
        hot = [
            celsius(self._files.read(f"{chips}/{chip}/{name}"))
            for chip in self._files.names(chips)
            if (self._files.read(f"{chips}/{chip}/name") or "").strip() in CPU_HEAT
            for name in self._files.names(f"{chips}/{chip}")
            if name.startswith("temp") and name.endswith("_input")
        ] or [
            celsius(self._files.read(f"{zones}/{zone}/temp"))
            for zone in self._files.names(zones)
            if zone.startswith("thermal_zone")
        ]
        return max((heat for heat in hot if heat is not None), default=None)

    def _throttled(self) -> bool | None:
        """Whether the CPU was slowed down by its heat since the last look; ``None`` where nothing tells."""
        try:
            flags = int((self._files.read(RASPBERRY) or "").strip(), 16)
        except ValueError:
            folder = "/sys/devices/system/cpu/cpu0/thermal_throttle"
            count = procfs.whole(self._files.read(f"{folder}/package_throttle_count"))
            before, self._throttles = self._throttles, count
            return None if count is None or before is None else count > before
        return bool(flags & RASPBERRY_NOW)
