"""Which limits hold for this process: control groups, version 1 and 2, read from their files' text.

Limits nest, and each ancestor's counts (https://docs.kernel.org/admin-guide/cgroup-v2.html,
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html). Pure; what is not understood is no limit.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from oblix_actors.core.procfs import keyed, whole

NO_LIMIT: Final = 1 << 60
"""Version 1 says "no limit" by a number close to 2**63."""
DEEPEST: Final = 32
"""No more ancestors are looked at."""

_V1: Final = frozenset({"cpu", "cpuacct", "memory"})


class Hierarchy(NamedTuple):
    """One controller's directories for this process, its own first, then its ancestors up to the mount point."""

    version: int
    controller: str
    directories: tuple[str, ...]


class MemoryLevel(NamedTuple):
    """One ancestor's memory, in bytes. ``idle_files`` and ``busy_files`` are page cache that is part of ``used``."""

    limit: int
    used: int
    idle_files: int
    busy_files: int

    @property
    def available(self) -> int:
        """What can be had before the limit: file pages that nobody touched lately are given up first."""
        return max(0, self.limit - max(0, self.used - self.idle_files))


def hierarchies(memberships: str | None, mounts: str | None) -> tuple[Hierarchy, ...]:
    """Read ``/proc/self/cgroup`` and ``/proc/self/mountinfo``: version 2 (``controller`` is "") and version 1's."""
    ours = _memberships(memberships)
    found: dict[str, Hierarchy] = {}
    for line in (mounts or "").splitlines():
        head, dash, tail = line.partition(" - ")
        fields, kind = head.split(), tail.split()
        if not dash or len(fields) < 5 or len(kind) < 3:
            continue
        root, point = _unescape(fields[3]), _unescape(fields[4])
        if kind[0] == "cgroup2" and "" in ours:
            found.setdefault("", Hierarchy(2, "", _ancestors(root, point, ours[""])))
        elif kind[0] == "cgroup":
            for controller in _V1 & set(kind[2].split(",")) & ours.keys():
                found.setdefault(controller, Hierarchy(1, controller, _ancestors(root, point, ours[controller])))
    return tuple(found.values())


def cpu_max(text: str | None) -> float | None:
    """Version 2's ``cpu.max`` (``max 100000`` or ``150000 100000``): how many cores' time may be used."""
    words = (text or "").split()
    return cpu_quota(words[0], words[1]) if len(words) == 2 else None


def cpu_quota(quota: str | None, period: str | None) -> float | None:
    """Version 1's ``cpu.cfs_quota_us`` (``-1`` is no limit) and ``cpu.cfs_period_us``, in cores."""
    most, of = whole(quota), whole(period)
    return most / of if most and of else None


def cpu_seconds(*, stat: str | None = None, usage: str | None = None) -> float | None:
    """The CPU time a group has used: version 2's ``cpu.stat``, or version 1's ``cpuacct.usage``."""
    nanoseconds, microseconds = whole(usage), keyed(stat).get("usage_usec")
    if nanoseconds is not None:
        return nanoseconds / 1e9
    return None if microseconds is None else microseconds / 1e6


def memory_level(used: str | None, stat: str | None, limits: Iterable[str | None]) -> MemoryLevel | None:
    """One ancestor, from ``memory.current`` (``memory.usage_in_bytes``), ``memory.stat`` and all that limits it.

    ``None`` where nothing does. In version 1 ``memory.stat`` names the tightest limit of all ancestors, the invisible
    ones outside a container too.
    """
    details = keyed(stat)
    numbers = [whole(limit) for limit in limits] + [details.get("hierarchical_memory_limit")]
    real = [number for number in numbers if number is not None and number < NO_LIMIT]
    taken = whole(used)
    if not real or taken is None:
        return None
    idle = details.get("total_inactive_file", details.get("inactive_file", 0))
    busy = details.get("total_active_file", details.get("active_file", 0))
    return MemoryLevel(min(real), taken, min(idle, taken), min(busy, taken))


def _memberships(text: str | None) -> dict[str, str]:
    ours: dict[str, str] = {}
    for line in (text or "").splitlines():
        number, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if colon and whole(number) is not None:
            for name in names.split(","):
                ours.setdefault(name, path)
    return ours


def _ancestors(root: str, point: str, path: str) -> tuple[str, ...]:
    """The directories under the mount ``point`` of the group ``path``, where ``root`` is the mount's own group.

    Inside a container ``path`` may be the host's, of which only the part below ``root`` is mounted, or lie outside.
    """
    path, root = posixpath.normpath("/" + path), posixpath.normpath("/" + root)
    below = path.removeprefix(root).strip("/") if path == root or path.startswith(root.rstrip("/") + "/") else ""
    parts = [] if ".." in below.split("/") else below.split("/")[:DEEPEST] if below else []
    return tuple("/".join((point.rstrip("/"), *parts[:depth])) for depth in range(len(parts), -1, -1))


def _unescape(text: str) -> str:
    """``mountinfo`` writes white space and backslashes in octal."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), text)
