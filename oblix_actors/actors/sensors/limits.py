"""The limits of the control groups that this process is in, and what those groups have used of them."""

from __future__ import annotations

from oblix_actors.actors.sensors.files import Files
from oblix_actors.core.cgroups import (
    Hierarchy,
    MemoryLevel,
    cpu_max,
    cpu_quota,
    cpu_seconds,
    hierarchies,
    memory_level,
)

V2_MEMORY = ("memory.current", "memory.max", "memory.high")
V1_MEMORY = ("memory.usage_in_bytes", "memory.limit_in_bytes")


class Limits:
    """:meth:`look` finds the groups and their limits; the rest reads what the limited ones have used.

    ``cpu`` maps the directories of groups to how many cores they allow.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._membership: str | None = None
        self._found: tuple[Hierarchy, ...] = ()
        self.cpu: dict[str, float] = {}
        self._accounts: dict[str, tuple[int, str]] = {}
        self._memory: dict[str, int] = {}
        self._own_v2: str | None = None

    def look(self) -> None:
        """Find the groups, if this process is in others than before, and the limits, which may change any time."""
        membership = self._files.read("/proc/self/cgroup")
        if membership != self._membership:
            self._membership = membership
            self._found = hierarchies(membership, self._files.read("/proc/self/mountinfo"))
        self.cpu, self._memory, self._accounts = {}, {}, {}
        accounts = next((found.directories for found in self._found if found.controller == "cpuacct"), ())
        for found in self._found:
            if found.version == 2:
                self._own_v2 = found.directories[0]
            for place, directory in enumerate(reversed(found.directories)):
                if found.controller in ("", "cpu") and (allowed := self._allowed(found, directory)) is not None:
                    self.cpu[directory] = allowed
                    # Version 1 counts in a hierarchy that may be mounted elsewhere: its groups are the same.
                    same = accounts[-1 - place] if place < len(accounts) else directory
                    self._accounts[directory] = (found.version, directory if found.version == 2 else same)
                if found.controller in ("", "memory") and self._level(found.version, directory) is not None:
                    self._memory[directory] = found.version

    def cpu_quota(self) -> float | None:
        """The fewest cores that any group allows."""
        return min(self.cpu.values(), default=None)

    def cpu_seconds(self) -> dict[str, float]:
        """The CPU time that each limited group has used so far."""
        used: dict[str, float] = {}
        for group, (version, directory) in self._accounts.items():
            if version == 2:
                seconds = cpu_seconds(stat=self._files.read(f"{directory}/cpu.stat"))
            else:
                seconds = cpu_seconds(usage=self._files.read(f"{directory}/cpuacct.usage"))
            if seconds is not None:
                used[group] = seconds
        return used

    def memory(self) -> list[MemoryLevel]:
        """Every limited group's memory."""
        levels = (self._level(version, directory) for directory, version in self._memory.items())
        return [level for level in levels if level is not None]

    def pressure(self, what: str) -> str | None:
        """The stall figures that are ours: the group's where ``what`` is limited, else the machine's."""
        limiting = {"cpu": {version for version, _ in self._accounts.values()}, "memory": set(self._memory.values())}
        versions = limiting.get(what, set())
        if not versions:
            return self._files.read(f"/proc/pressure/{what}")
        # Version 1 tells none, and in a mix of both the group of version 2 is not the limited one.
        return self._files.read(f"{self._own_v2}/{what}.pressure") if 2 in versions else None

    def _allowed(self, found: Hierarchy, directory: str) -> float | None:
        if found.version == 2:
            return cpu_max(self._files.read(f"{directory}/cpu.max"))
        quota = self._files.read(f"{directory}/cpu.cfs_quota_us")
        return cpu_quota(quota, self._files.read(f"{directory}/cpu.cfs_period_us"))

    def _level(self, version: int, directory: str) -> MemoryLevel | None:
        used, *limits = V2_MEMORY if version == 2 else V1_MEMORY
        taken = self._files.read(f"{directory}/{used}")
        if taken is None:  # the root group has none
            return None
        stat = self._files.read(f"{directory}/memory.stat")
        return memory_level(taken, stat, [self._files.read(f"{directory}/{limit}") for limit in limits])
