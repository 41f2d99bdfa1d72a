"""From the kernel's link event to the published verdict, with a real interface taken down in a network namespace.

Two processes in the namespace see the same event: one only notes when its netlink socket became readable, the other
is the connectivity monitor. Goal: a median below 50 ms over 20 pulls. Needs root and iproute2, as the tests do.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

import trio

from tests.actors.netns import Cable, Child, cable, inside, why_not

PULLS: Final = 20
GOAL_MS: Final = 50.0


async def _first(child: Child, event: str, after: float, **wanted: str) -> float:
    """When ``child`` first told ``event`` after ``after``."""
    while True:
        line = (await child.until(event=event, **wanted))[-1]
        if line["at"] >= after:
            return float(line["at"])


async def _measure(line: Cable) -> tuple[list[float], list[float]]:
    down: list[float] = []
    up: list[float] = []
    async with inside(line.there, "cloud") as server, inside(line.here, "monitor") as monitor:
        await server.until(event="ready")
        await monitor.until(event="ready")
        async with inside(line.here, "stamp") as kernel:
            await kernel.until(event="ready")
            for _ in range(PULLS):
                for change, state, found in (
                    (line.take_down, "disconnected", down),
                    (line.bring_up, "optimal", up),
                ):
                    before = time.monotonic()
                    await trio.to_thread.run_sync(change)
                    event = await _first(kernel, "kernel", before)
                    told = await _first(monitor, "verdict", before, state=state)
                    found.append((told - event) * 1000)
    return down, up


async def _bench() -> None:
    with cable() as line, trio.fail_after(120):
        down, up = await _measure(line)
    for name, found in (("down: event to disconnected", down), ("up: first event to optimal", up)):
        low, median, high = min(found), statistics.median(found), max(found)
        print(f"{name:32} median {median:7.2f} ms   least {low:7.2f}   most {high:7.2f}   ({len(found)} pulls)")
    verdict = "met" if statistics.median(down) < GOAL_MS else "MISSED"
    print(f"goal: median below {GOAL_MS:g} ms: {verdict}")


def main() -> None:
    """Measure and print, or say why it cannot be measured here."""
    if reason := why_not():
        print(f"skipped: {reason}")
        return
    trio.run(_bench)


if __name__ == "__main__":
    main()
