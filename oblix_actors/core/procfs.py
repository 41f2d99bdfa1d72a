"""Linux' own words on itself, read: ``/proc`` (https://man7.org/linux/man-pages/man5/proc.5.html).

Pure: text in, figures out. What is not there or not understood is ``None`` or left out; nothing here raises.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

MOST_CPUS: Final = 8192
"""No list of CPUs is longer (the kernel's own limit)."""

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_MEMINFO: Final = re.compile(
    r"^(MemTotal|MemAvailable|SwapTotal|SwapFree): {0,32}([0-9]{1,20})(?: kB)?$", re.MULTILINE | re.ASCII
)


class CpuTimes(NamedTuple):
    """Clock ticks since the start, over all CPUs that were asked for."""

    busy: int
    total: int
    cpus: int


class ProcessTimes(NamedTuple):
    """``ticks`` of CPU used; ``started`` tells a process from a later one with the same id."""

    ticks: int
    started: int


class ProcessMemory(NamedTuple):
    """Resident pages: of its own, and of files (a model that is mapped) or shared."""

    own: int
    shared: int


class Stall(NamedTuple):
    """One ``/proc/pressure`` file: percent of the last 10 s in which some, or all, work waited."""

    some: float | None
    full: float | None


def whole(text: str | None) -> int | None:
    """A decimal number that is not negative."""
    text = "" if text is None else text.strip()
    return int(text) if _NUMBER.fullmatch(text) else None


def decimal(text: str | None) -> float | None:
    """A finite number that is not negative."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def keyed(text: str | None) -> dict[str, int]:
    """``name number`` lines, as in ``/proc/vmstat`` or ``memory.stat``."""
    found: dict[str, int] = {}
    for line in (text or "").splitlines():
        words = line.split(None, 2)
        number = whole(words[1]) if len(words) > 1 else None
        if number is not None:
            found[words[0]] = number
    return found


def meminfo(text: str | None) -> dict[str, int]:
    """The lines of ``/proc/meminfo`` that matter here: name → bytes."""
    return {name: int(kib) * 1024 for name, kib in _MEMINFO.findall(text or "")}


def pressure(text: str | None) -> Stall:
    """One file of ``/proc/pressure``, or a ``*.pressure`` of a cgroup."""
    averages: dict[str, float | None] = {}
    for line in (text or "").splitlines():
        kind, *fields = line.split()[:8] or [""]
        for field in fields:
            name, _, value = field.partition("=")
            if name == "avg10":
                averages[kind] = decimal(value)
    return Stall(averages.get("some"), averages.get("full"))


def cpu_list(text: str | None) -> frozenset[int]:
    """``0-3,7``, as in ``Cpus_allowed_list``; empty where it is not one."""
    found: set[int] = set()
    for part in (text or "").strip().split(","):
        first, dash, last = part.partition("-")
        low = whole(first)
        high = whole(last) if dash else low
        if low is None or high is None or not low <= high < MOST_CPUS:
            return frozenset()
        found.update(range(low, high + 1))
    return frozenset(found)


def cpu_times(text: str | None, allowed: frozenset[int]) -> CpuTimes | None:
    """``/proc/stat``: the ticks of the CPUs in ``allowed`` (all where that is empty).

    Time that the hypervisor gave to others (``steal``) counts as busy: we cannot have it.
    """
    busy = total = cpus = 0
    for line in (text or "").partition("\nintr")[0].splitlines():  # what follows is long, and not asked for
        name, *fields = line.split() or [""]
        number = whole(name[3:])
        if not name.startswith("cpu") or number is None or (allowed and number not in allowed):
            continue
        ticks = [whole(field) or 0 for field in fields[:8]]
        if len(ticks) < 4:
            continue
        all_of_it = sum(ticks)
        busy += all_of_it - sum(ticks[3:5])  # idle and iowait
        total += all_of_it
        cpus += 1
    return CpuTimes(busy, total, cpus) if cpus else None


def load_average(text: str | None) -> float | None:
    """``/proc/loadavg``: the run queue's average length over the last minute."""
    words = (text or "").split()
    return decimal(words[0]) if words else None


def process_times(text: str | None) -> ProcessTimes | None:
    """``/proc/PID/stat``. The command's name in it may hold anything, brackets and line ends too."""
    fields = (text or "").rpartition(")")[2].split()
    if len(fields) < 20:
        return None
    user, system, started = whole(fields[11]), whole(fields[12]), whole(fields[19])
    if user is None or system is None or started is None:
        return None
    return ProcessTimes(user + system, started)


def process_memory(text: str | None) -> ProcessMemory | None:
    """``/proc/PID/statm``."""
    fields = (text or "").split()
    if len(fields) < 3:
        return None
    resident, shared = whole(fields[1]), whole(fields[2])
    if resident is None or shared is None:
        return None
    return ProcessMemory(max(0, resident - shared), min(shared, resident))


def process_ids(text: str | None) -> tuple[int, ...]:
    """``/proc/PID/task/TID/children``."""
    numbers = (whole(word) for word in (text or "").split())
    return tuple(number for number in numbers if number)


def status_field(text: str | None, name: str) -> str | None:
    """One field of ``/proc/PID/status``, or of any ``name: value`` text."""
    for line in (text or "").splitlines():
        key, colon, value = line.partition(":")
        if colon and key == name:
            return value.strip()
    return None
