"""What it costs to watch the machine: CPU time of the resource monitor, of this process and all its threads.

At rest (nothing runs, nothing moves), on battery, and while a job runs. Goal: less than 0.3 % of one core at rest.
Other processes' load makes the monitor look closer, as it should: on a busy machine the first row shows that too.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
import trio

from oblix_actors.actors.resource_monitor import ResourceMonitor
from oblix_actors.actors.sensors.thread import Sensors
from oblix_actors.core.resource_judge import next_interval
from oblix_actors.core.resources import ResourceSample, unknown
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import ResourceMonitorSettings

WARM_SAMPLES: Final = 10
"""Are left out: modules are loaded, and the pace settles."""
SECONDS: Final = 30.0
GOAL_PERCENT: Final = 0.3


async def measure(jobs: int, on_battery: bool) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and samples of one stretch."""
    settings = ResourceMonitorSettings()
    watch = Watch(unknown(trio.current_time()))
    sensors = Sensors()

    async def sense(pids: tuple[int, ...], *, jobs: int, thorough: bool) -> ResourceSample | None:
        sample = await sensors.sample(pids, jobs=jobs, thorough=thorough)
        if sample is None or not on_battery:
            return sample
        return _unplugged(sample)

    monitor = ResourceMonitor(
        settings, children=tuple, busy=lambda: jobs, watch=watch, changed=lambda _: None, sense=sense
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(monitor.run)
        slowest = next_interval(1e9, settings, lively=False, on_battery=on_battery)
        version = 0
        while version < (3 if slowest > 5 else WARM_SAMPLES):
            _, version = await watch.newer(version)
        cpu, wall, first = time.process_time(), time.perf_counter(), watch.version
        await trio.sleep(SECONDS)
        cpu, wall, samples = time.process_time() - cpu, time.perf_counter() - wall, watch.version - first
        nursery.cancel_scope.cancel(reason="it was measured")
    return cpu, wall, samples


def _unplugged(sample: ResourceSample) -> ResourceSample:
    import msgspec

    return msgspec.structs.replace(sample, on_battery=True, battery_percent=80.0)


async def _bench() -> None:
    print(f"{'':14}{'samples':>8}{'each, ms':>10}{'every, s':>10}{'% of a core':>13}")
    rest = 0.0
    for name, jobs, on_battery in (("at rest", 0, False), ("on battery", 0, True), ("a job runs", 1, False)):
        cpu, wall, samples = await measure(jobs, on_battery)
        share = 100 * cpu / wall
        rest = rest or share
        print(f"{name:14}{samples:8}{1000 * cpu / max(1, samples):10.2f}{wall / max(1, samples):10.2f}{share:13.3f}")
    print(f"goal: less than {GOAL_PERCENT:g} % of one core at rest: {'met' if rest < GOAL_PERCENT else 'MISSED'}")


def main() -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    trio.run(_bench)


if __name__ == "__main__":
    main()
