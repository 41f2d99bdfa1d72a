"""The resource monitor: its patience and its pace by the clock of a test, and real hogs beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import trio

from oblix_actors.actors.resource_monitor import ResourceMonitor
from oblix_actors.actors.sensors.linux import LinuxMachine
from oblix_actors.actors.sensors.thread import Sensors
from oblix_actors.core.resources import GpuSample, ResourceReport, ResourceSample, unknown
from oblix_actors.errors import Busy
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import ResourceMonitorSettings
from tests.actors.machines import GIB, container

SETTINGS = ResourceMonitorSettings()
DWELL = SETTINGS.dwell_seconds


class Scripted:
    """A machine whose CPU is busy when ``busy_until(t)``, the busy seconds until ``t``, says so."""

    def __init__(self, busy_until: Callable[[float], float] = lambda _: 0.0, **figures: Any) -> None:
        self._busy_until = busy_until
        self.figures = figures
        self.started = trio.current_time()
        self.asked: list[tuple[float, bool]] = []
        self.broken = False

    async def __call__(self, pids: tuple[int, ...], *, jobs: int, thorough: bool) -> ResourceSample | None:
        await trio.lowlevel.checkpoint()
        now = trio.current_time() - self.started
        before = self.asked[-1][0] if self.asked else None
        self.asked.append((now, thorough))
        if self.broken:
            return None
        share = None
        if before is not None and now > before:
            share = 100 * (self._busy_until(now) - self._busy_until(before)) / (now - before)
        sample = ResourceSample(
            taken_at=trio.current_time(),
            seconds=None if before is None else now - before,
            jobs=jobs,
            cores=4.0,
            cpu_percent=share,
            own_memory=sum(pids),
        )
        return msgspec.structs.replace(sample, **self.figures)


class Heard(list[tuple[float, str, str]]):
    """What ``changed`` was told, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.full = 0

    def __call__(self, report: ResourceReport) -> None:
        if self.full:
            self.full -= 1
            raise Busy("the mailbox is full")
        self.append((trio.current_time(), report.state.state, report.state.target))


def spikes(until: float) -> float:
    """Busy in every other second."""
    return until // 2 + max(0.0, until % 2 - 1)


def hog(start: float) -> Callable[[float], float]:
    return lambda until: max(0.0, until - start)


def build(sense: Any, heard: Callable[[ResourceReport], None] | None = None, **options: Any) -> ResourceMonitor:
    parts: dict[str, Any] = {"settings": SETTINGS, "children": tuple, "busy": lambda: 0}
    parts |= {"watch": Watch(unknown(trio.current_time())), "changed": (lambda _: None) if heard is None else heard}
    return ResourceMonitor(sense=sense, **parts | options)


async def watch_for(seconds: float, monitor: ResourceMonitor) -> None:
    with trio.move_on_after(seconds):
        await monitor.run()


async def test_a_hundred_spikes_move_nothing(autojump_clock: trio.testing.MockClock) -> None:
    heard, machine = Heard(), Scripted(spikes)
    await watch_for(200, build(machine, heard))
    assert len(machine.asked) > 100
    assert [verdict[1:] for verdict in heard] == [("available", "local_cpu")]


@pytest.mark.parametrize("start", [20.0, 20.3, 20.6, 20.9, 21.2, 21.5])
async def test_a_hog_moves_the_state_within_a_dwell_time(autojump_clock: trio.testing.MockClock, start: float) -> None:
    """And at most the time between two samples at rest, however the two fall together."""
    heard, machine = Heard(), Scripted(hog(start))
    await watch_for(40, build(machine, heard))
    (_, *calm), (at, _, target), *_ = heard
    assert calm == ["available", "local_cpu"]
    assert target == "cloud"
    assert heard[-1][1] == "critical"
    assert DWELL * 0.7 <= at - machine.started - start <= DWELL * 1.25


async def test_its_end_is_told_as_well(autojump_clock: trio.testing.MockClock) -> None:
    heard = Heard()
    machine = Scripted(lambda until: min(hog(10.0)(until), 20.0))
    await watch_for(60, build(machine, heard))
    assert [target for _, _, target in heard if target != "cloud"] == ["local_cpu", "local_cpu"]
    assert 30 <= heard[-1][0] - machine.started <= 30 + 1.5 * DWELL


@pytest.mark.parametrize(
    ("what", "figures", "jobs", "least", "most"),
    [
        ("at rest", {}, 0, 450, 520),
        ("a job runs", {}, 1, 1100, 1201),
        ("on battery", {"on_battery": True}, 0, 55, 80),
        ("on battery, and a job runs", {"on_battery": True}, 1, 550, 601),
    ],
)
async def test_the_pace(
    autojump_clock: trio.testing.MockClock, what: str, figures: dict[str, Any], jobs: int, least: int, most: int
) -> None:
    machine = Scripted(**figures)
    await watch_for(600, build(machine, busy=lambda: jobs))
    assert least <= len(machine.asked) <= most


@pytest.mark.parametrize(
    ("what", "figures", "jobs", "every"),
    [("at rest", {}, 0, 10.0), ("a job runs", {}, 1, 2.0), ("on battery", {"on_battery": True}, 0, 30.0)],
)
async def test_what_costs_more_is_read_less_often(
    autojump_clock: trio.testing.MockClock, what: str, figures: dict[str, Any], jobs: int, every: float
) -> None:
    machine = Scripted(**figures)
    await watch_for(600, build(machine, busy=lambda: jobs))
    thorough = [at for at, thorough in machine.asked if thorough]
    assert thorough[0] == 0.0
    gaps = [later - earlier for earlier, later in pairwise(thorough[2:])]
    assert min(gaps) >= every
    assert max(gaps) <= every + 2 * DWELL


async def test_a_gpu_that_comes_is_told(autojump_clock: trio.testing.MockClock) -> None:
    heard, machine = Heard(), Scripted()
    async with trio.open_nursery() as nursery:
        await nursery.start(build(machine, heard).run)
        await trio.testing.wait_all_tasks_blocked()
        machine.figures["gpus"] = (GpuSample(name="Card", vendor="amd", memory_total=8 * GIB),)
        await trio.sleep(30)
        nursery.cancel_scope.cancel(reason="it was heard")
    assert [target for _, _, target in heard] == ["local_cpu", "local_gpu"]


async def test_a_full_mailbox_is_told_again(autojump_clock: trio.testing.MockClock) -> None:
    heard, machine = Heard(), Scripted()
    heard.full = 3
    await watch_for(30, build(machine, heard))
    assert [verdict[1:] for verdict in heard] == [("available", "local_cpu")]
    assert len(machine.asked) > 4


async def test_a_machine_that_cannot_be_read_leaves_the_last_word(autojump_clock: trio.testing.MockClock) -> None:
    machine = Scripted()
    monitor = build(machine)
    async with trio.open_nursery() as nursery:
        await nursery.start(monitor.run)
        await trio.sleep(20)
        machine.broken, asked = True, len(machine.asked)
        await trio.sleep(100)
        nursery.cancel_scope.cancel(reason="it was seen")
    assert len(machine.asked) > asked + 50
    shown = json.loads(json.dumps(monitor.health(), allow_nan=False))
    assert shown["state"] == "available"
    assert 99 <= shown["sampled_seconds_ago"] <= 103


async def test_it_is_of_use_before_the_first_sample(autojump_clock: trio.testing.MockClock) -> None:
    async def never(pids: tuple[int, ...], *, jobs: int, thorough: bool) -> ResourceSample | None:
        await trio.sleep_forever()

    monitor = build(never)
    async with trio.open_nursery() as nursery:
        await nursery.start(monitor.run)
        nursery.cancel_scope.cancel(reason="it started")
    assert monitor.health()["reasons"] == ["nothing was measured yet"]


async def test_children_and_jobs_are_asked_for_each_time(autojump_clock: trio.testing.MockClock) -> None:
    pids, jobs = [(1, 2)], [0]
    watch: Watch[ResourceReport] = Watch(unknown(0.0))
    monitor = build(Scripted(), children=lambda: pids[-1], busy=lambda: jobs[-1], watch=watch)
    async with trio.open_nursery() as nursery:
        await nursery.start(monitor.run)
        report, version = await watch.newer(0)
        assert (report.sample.own_memory, report.sample.jobs) == (3, 0)
        pids.append((5, 6))
        jobs.append(2)
        report, _ = await watch.newer(version)
        assert (report.sample.own_memory, report.sample.jobs) == (11, 2)
        nursery.cancel_scope.cancel(reason="it was seen")


async def test_it_goes_on_after_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    """What it learnt outlives it: the state does not begin anew."""
    heard, machine = Heard(), Scripted(hog(1.0))
    monitor = build(machine, heard)
    await watch_for(20, monitor)
    await watch_for(20, monitor)
    assert [state for _, state, _ in heard] == ["available", "critical"]


# -- real machines

QUICK = ResourceMonitorSettings(dwell_seconds=0.5)


@contextmanager
def hogs(count: int) -> Iterator[tuple[int, ...]]:
    """Processes that do nothing but work."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield tuple(process.pid for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def until(
    watch: Watch[ResourceReport], wanted: Callable[[ResourceReport], bool], version: int = 0
) -> ResourceReport:
    while True:
        report, version = await watch.newer(version)
        if wanted(report):
            return report


def cpu_count() -> int:
    return psutil.cpu_count() or 1


def _calm(report: ResourceReport) -> bool:
    return report.state.state == "available" and len(report.state.reasons) == 2  # the figures, and nothing that waits


async def test_a_real_hog_moves_the_state() -> None:
    heard = Heard()
    watch: Watch[ResourceReport] = Watch(unknown(trio.current_time()))
    monitor = build(Sensors().sample, heard, settings=QUICK, watch=watch)
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            await nursery.start(monitor.run)
            with trio.move_on_after(30) as patience:
                await until(watch, lambda report: report.sample.cpu_percent is not None and _calm(report))
            if patience.cancelled_caught:
                nursery.cancel_scope.cancel(reason="there is nothing to see")
                pytest.skip("others keep this machine busy: a hog would make no difference")
            with hogs(2 * cpu_count()):
                report = await until(watch, lambda report: report.state.state != "available", watch.version)
            nursery.cancel_scope.cancel(reason="it was seen")
    assert report.state.target == "cloud"
    assert any(reason.startswith("cpu") for reason in report.state.reasons)
    assert heard[-1][1:] == (report.state.state, "cloud")


async def test_a_hog_of_our_own_is_known_as_ours() -> None:
    """Two of them on every core: whatever else runs, the larger part of the CPU's time is theirs."""
    watch: Watch[ResourceReport] = Watch(unknown(trio.current_time()))
    with hogs(2 * cpu_count()) as pids, trio.fail_after(60):
        monitor = build(Sensors().sample, settings=QUICK, watch=watch, children=lambda: pids, busy=lambda: 1)
        async with trio.open_nursery() as nursery:
            await nursery.start(monitor.run)
            report = await until(watch, lambda report: (report.sample.own_cpu_percent or 0) > 30)
            nursery.cancel_scope.cancel(reason="it was seen")
    sample = report.sample
    assert sample.cpu_percent is not None
    assert sample.own_cpu_percent is not None
    assert 30 < sample.own_cpu_percent <= sample.cpu_percent


async def test_a_memory_hog_in_a_container_moves_the_state(tmp_path: Path) -> None:
    """The container's limit is what is judged: the machine itself has three quarters of its memory left."""
    tree = container(tmp_path)
    tree.group("/sys/fs/cgroup/apps.slice", memory__current=GIB)
    watch: Watch[ResourceReport] = Watch(unknown(trio.current_time()))
    sensors = Sensors(machine=LinuxMachine(tree.root, pid=1000))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(build(sensors.sample, settings=QUICK, watch=watch).run)
            report, _ = await watch.newer(0)
            assert report.state.state == "available"
            tree.group("/sys/fs/cgroup/apps.slice/oblix.scope", memory__current=(200 + 510) << 20)
            report = await until(watch, lambda report: report.state.state != "available")
            assert report.state.reasons[0].startswith("memory")
            tree.group("/sys/fs/cgroup/apps.slice/oblix.scope", memory__current=300 << 20)
            await until(watch, lambda report: report.state.state == "available", watch.version)
            nursery.cancel_scope.cancel(reason="it was seen")


async def test_the_machine_itself_may_be_full_when_the_container_is_not(tmp_path: Path) -> None:
    tree = container(tmp_path)
    watch: Watch[ResourceReport] = Watch(unknown(trio.current_time()))
    sensors = Sensors(machine=LinuxMachine(tree.root, pid=1000))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(build(sensors.sample, settings=QUICK, watch=watch).run)
            await watch.newer(0)
            tree.cpu(*[(9000, 1000)] * 8)  # every core of the host is busy, and we use half of what we may
            seen = 0
            while seen < 20:
                _, seen = await watch.newer(seen)
                assert watch.value.state.state == "available"
            nursery.cancel_scope.cancel(reason="it was seen")
    assert (watch.value.sample.cores, watch.value.sample.load) == (1.5, None)
