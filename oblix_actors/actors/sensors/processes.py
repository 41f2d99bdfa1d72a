"""What our own processes use: this one, and the children that it was told of with all that they started."""

from __future__ import annotations

from typing import Final, NamedTuple

from oblix_actors.actors.sensors.files import Files
from oblix_actors.core import procfs

MOST_PROCESSES: Final = 256
MOST_THREADS: Final = 64
"""Of one process are asked for children: a process started by a later thread is not found."""


class OwnUse(NamedTuple):
    """``ticks`` of CPU since the last reading; memory in pages, as :class:`~oblix_actors.core.procfs.ProcessMemory`."""

    pids: frozenset[int]
    ticks: int
    own_pages: int
    shared_pages: int


class Processes:
    """Remembers each process's CPU time; a process seen for the first time has used none yet."""

    def __init__(self, files: Files, self_pid: int) -> None:
        self._files = files
        self._self = self_pid
        self._given: tuple[int, ...] = ()
        self._family: tuple[int, ...] = ()
        self._times: dict[int, procfs.ProcessTimes] = {}
        self._last = OwnUse(frozenset((self_pid,)), 0, 0, 0)

    def use(self, pids: tuple[int, ...], *, look_for_children: bool) -> OwnUse:
        """What is used by this process, ``pids`` and their descendants."""
        if look_for_children or pids != self._given:
            self._given, self._family = pids, self._descendants(pids)
        ticks = own = shared = 0
        times: dict[int, procfs.ProcessTimes] = {}
        for pid in dict.fromkeys((self._self, *self._family)):
            now = procfs.process_times(self._files.read(f"/proc/{pid}/stat"))
            if now is None:
                continue
            times[pid] = now
            before = self._times.get(pid)
            if before is not None and before.started == now.started:
                ticks += max(0, now.ticks - before.ticks)
            memory = procfs.process_memory(self._files.read(f"/proc/{pid}/statm"))
            if memory is not None:
                own += memory.own
                shared += memory.shared
        self._times = times
        self._last = OwnUse(frozenset((self._self, *times)), ticks, own, shared)
        return self._last

    def again(self) -> OwnUse:
        """The last reading."""
        return self._last

    def _descendants(self, pids: tuple[int, ...]) -> tuple[int, ...]:
        found: dict[int, None] = dict.fromkeys(pids[:MOST_PROCESSES])
        waiting = list(found)
        while waiting and len(found) < MOST_PROCESSES:
            pid = waiting.pop()
            for thread in self._files.names(f"/proc/{pid}/task")[:MOST_THREADS]:
                for child in procfs.process_ids(self._files.read(f"/proc/{pid}/task/{thread}/children")):
                    if child not in found:
                        found[child] = None
                        waiting.append(child)
        return tuple(found)[:MOST_PROCESSES]
