"""Knows the processes of local model servers while they work for us: their load is not taken for somebody else's.

A server that runs as a service has another user's files, and no port of it can be traced to a process; its
name can. Only while one of our jobs runs on a local provider is anything looked for. Owns: the published ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from oblix_actors.runtime.watch import Watch

NAMES: Final = (
    "ollama",
    "llama-server",
    "llama-swap",
    "lm studio",
    "lm-studio",
    "lms",
    "llmworker",
    "vllm",
    "localai",
    "local-ai",
    "koboldcpp",
    "tabbyapi",
)
"""How their processes' names begin, in lower case."""
EVERY_SECONDS: Final = 5.0
MOST: Final = 64


class LocalServers:
    """``busy`` says whether one of our jobs runs on a local server now."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self.pids: Watch[tuple[int, ...]] = Watch(())
        self._busy = busy
        self._thread = trio.CapacityLimiter(1)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look now and then, for ever."""
        task_status.started()
        while True:
            pids = await trio.to_thread.run_sync(find, limiter=self._thread) if self._busy() else ()
            if pids != self.pids.value:
                self.pids.set(pids)
            await trio.sleep(EVERY_SECONDS)


def find() -> tuple[int, ...]:
    """The ids of the processes that are called like a model server. Takes some milliseconds."""
    import psutil  # not before it is needed: most machines have no such server

    found = [
        process.pid
        for process in psutil.process_iter(["name"])
        if str(process.info["name"] or "").lower().startswith(NAMES)
    ]
    return tuple(found[:MOST])
