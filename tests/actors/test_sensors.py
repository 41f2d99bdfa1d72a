"""What is read from a machine: recorded ones, an NVIDIA library that misbehaves, and the one that this runs on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from oblix_actors.actors.sensors.files import Files, disk_free
from oblix_actors.actors.sensors.linux import RASPBERRY, LinuxMachine
from oblix_actors.actors.sensors.machine import open_machine
from oblix_actors.actors.sensors.nvml import Nvml
from oblix_actors.actors.sensors.portable import PortableMachine
from oblix_actors.actors.sensors.thread import STUCK_SECONDS, Sensors
from oblix_actors.core.resources import Pressure, ResourceSample
from tests.actors.machines import CHILD, GIB, PID, Tree, bare, container, laptop, old_container

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


class Recorded:
    """The sensors of a recorded machine, with a clock that the test moves."""

    def __init__(self, tree: Tree, **options: Any) -> None:
        self.now = 50.0
        self._machine = LinuxMachine(tree.root, clock=lambda: self.now, pid=PID, **options)

    def look(self, *pids: int, after: float = 0.0, thorough: bool = True, jobs: int = 0) -> ResourceSample:
        self.now += after
        return self._machine.read_sample(pids, now=self.now, jobs=jobs, thorough=thorough)


def test_a_machine_with_next_to_nothing(tmp_path: Path) -> None:
    tree = bare(tmp_path)
    machine = Recorded(tree)
    first = machine.look(jobs=3)
    assert first == ResourceSample(
        taken_at=50.0,
        jobs=3,
        cores=2.0,
        memory_total=2 * GIB,
        memory_available=GIB,
        memory_percent=50.0,
        own_memory=50 * MIB,
        swap_used=0,
    )
    tree.cpu((250, 950), (200, 1000))
    tree.process(PID, 60, 50 * MIB)
    second = machine.look(after=2.0)
    assert second.seconds == 2.0
    assert second.cpu_percent == pytest.approx(100 * 250 / 400)
    assert second.own_cpu_percent == pytest.approx(100 * 50 / 400)


def test_an_empty_root_tells_nothing(tmp_path: Path) -> None:
    machine = Recorded(Tree(tmp_path))
    assert machine.look() == ResourceSample(taken_at=50.0)
    assert machine.look(after=1.0) == ResourceSample(taken_at=51.0, seconds=1.0)


def test_asked_again_at_once_it_repeats_what_it_said(tmp_path: Path) -> None:
    tree = bare(tmp_path)
    machine = Recorded(tree)
    machine.look()
    tree.cpu((200, 900), (200, 900))
    busy = machine.look(after=1.0)
    tree.cpu((200, 901), (200, 901))
    assert machine.look(after=0.01).cpu_percent == busy.cpu_percent == 100.0
    tree.cpu((200, 1000), (200, 1000))
    assert machine.look(after=1.0).cpu_percent == 0.0


def test_only_the_cpus_that_we_may_use_are_judged(tmp_path: Path) -> None:
    tree = bare(tmp_path)
    tree.write("/proc/self/status", "Cpus_allowed_list:\t1\n")
    machine = Recorded(tree)
    machine.look()
    tree.cpu((1000, 900), (110, 990))
    sample = machine.look(after=1.0)
    assert (sample.cores, sample.cpu_percent) == (1.0, 10.0)


def test_a_container_is_the_machine(tmp_path: Path) -> None:
    tree = container(tmp_path)
    machine = Recorded(tree)
    first = machine.look()
    assert first.cores == 1.5
    assert first.load is None, "the run queue is the host's"
    assert first.memory_total == 512 * MIB
    assert first.memory_available == 128 * MIB, "its slice has less left than itself"
    assert first.memory_percent == 75.0
    assert first.pressure == Pressure(cpu=12.0, memory=3.0, memory_full=2.0, io=1.0)
    tree.cpu(*[(1100, 1900)] * 8)
    tree.process(PID, TICK // 2, 60 * MIB)
    tree.group("/sys/fs/cgroup/apps.slice/oblix.scope", cpu__stat="usage_usec 2350000")
    second = machine.look(after=1.0)
    assert second.cpu_percent == pytest.approx(90.0)
    assert second.own_cpu_percent == pytest.approx(100 * 0.5 / 1.5)


def test_a_containers_own_limit_binds_when_it_is_the_tightest(tmp_path: Path) -> None:
    tree = container(tmp_path)
    tree.group("/sys/fs/cgroup/apps.slice", memory__current=GIB)
    sample = Recorded(tree).look()
    assert sample.memory_available == (512 - 400 + 200) * MIB
    tree.group("/sys/fs/cgroup/apps.slice/oblix.scope", memory__max="max", cpu__max="max 100000")
    sample = Recorded(tree).look()
    assert (sample.memory_total, sample.cores) == (4 * GIB, 8.0)
    assert sample.load == 30 / 8


def test_our_models_mapped_files_are_ours_in_a_container(tmp_path: Path) -> None:
    tree = container(tmp_path)
    tree.group("/sys/fs/cgroup/apps.slice", memory__current=GIB)
    tree.process(CHILD, 0, 30 * MIB, 150 * MIB)
    assert Recorded(tree).look(CHILD).own_memory == (60 + 30 + 50) * MIB


def test_limits_may_change_while_it_runs(tmp_path: Path) -> None:
    tree = container(tmp_path)
    machine = Recorded(tree)
    machine.look()
    tree.group("/sys/fs/cgroup/apps.slice/oblix.scope", cpu__max="50000 100000", memory__high=450 * MIB)
    tree.cpu(*[(1100, 1900)] * 8)
    sample = machine.look(after=1.0)
    assert (sample.cores, sample.memory_total) == (0.5, 450 * MIB)


def test_an_old_container(tmp_path: Path) -> None:
    tree = old_container(tmp_path)
    machine = Recorded(tree)
    machine.look()
    tree.cpu((110, 990), (110, 990))
    tree.group("/sys/fs/cgroup/cpu,cpuacct", cpuacct__usage=1_400_000_000)
    sample = machine.look(after=1.0)
    assert sample.cores == 0.5
    assert sample.cpu_percent == pytest.approx(80.0)
    assert sample.memory_total == GIB
    assert sample.memory_available == (1024 - 900 + 300) * MIB
    assert sample.pressure.cpu is None, "what there is, is the host's"


def test_a_laptop(tmp_path: Path) -> None:
    tree = laptop(tmp_path)
    machine = Recorded(tree, models=tmp_path / "models" / "not there yet")
    first = machine.look(CHILD)
    assert (first.battery_percent, first.charging, first.on_battery) == (63.0, False, True)
    assert first.temperature == 81.25, "the disk's own heat is the disk's"
    assert first.throttled is None, "a count says something only the second time"
    assert first.disk_free is not None
    assert first.swap_used == GIB
    intel, amd = first.gpus
    assert (intel.vendor, intel.name, intel.use_percent, intel.memory_total) == ("intel", "Intel 8086:46A6", None, None)
    assert (amd.vendor, amd.name, amd.use_percent, amd.temperature) == ("amd", "AMD 1002:73BF", 90.0, 71.0)
    assert (amd.memory_total, amd.memory_free, amd.own_memory) == (8 * GIB, 5 * GIB, 2 * GIB)
    assert not intel.holds_models
    assert amd.holds_models
    assert first.own_memory == 2 * GIB + 50 * MIB, "what is mapped from files does not count as used"

    tree.cpu((100, 1100), (300, 900))
    tree.process(CHILD, 100 + TICK, GIB, 2 * GIB, children=())
    fdinfo = (tree.root / f"proc/{CHILD}/fdinfo/9").read_text()
    tree.write(f"/proc/{CHILD}/fdinfo/9", fdinfo.replace("1000000000 ns", "2700000000 ns"))
    tree.write("/sys/class/drm/card0/gt/gt0/rc6_residency_ms", "6500\n")
    tree.write("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "9\n")
    tree.write("/proc/vmstat", "pswpin 100\npswpout 700\n")
    second = machine.look(CHILD, after=2.0)
    assert second.throttled is True
    assert second.own_cpu_percent == pytest.approx(100 * TICK / 400)
    assert second.own_load == pytest.approx(0.5 * (1 - 2.718281828 ** (-2 / 60)) / 2, rel=0.01)
    assert second.gpus[0].use_percent == pytest.approx(25.0)
    assert second.gpus[1].own_percent == pytest.approx(85.0)
    assert machine.look(CHILD, after=2.0).throttled is False


def test_swap_rates(tmp_path: Path) -> None:
    tree = laptop(tmp_path)
    machine = Recorded(tree)
    machine.look()
    tree.cpu((200, 1000), (200, 1000))
    assert machine.look(after=1.0).swap_out is None
    tree.cpu((300, 1100), (300, 1100))
    tree.write("/proc/vmstat", "pswpin 100\npswpout 700\n")
    sample = machine.look(after=2.0)
    assert (sample.swap_in, sample.swap_out) == (0.0, 250 * os.sysconf("SC_PAGE_SIZE"))


def test_a_sleeping_gpu_is_not_woken(tmp_path: Path) -> None:
    tree = laptop(tmp_path)
    tree.write("/sys/class/drm/card1/device/power/runtime_status", "suspended\n")
    amd = Recorded(tree).look().gpus[1]
    assert (amd.use_percent, amd.temperature, amd.memory_total) == (0.0, None, 8 * GIB)


def test_what_costs_more_is_read_when_asked_for(tmp_path: Path) -> None:
    tree = laptop(tmp_path)
    machine = Recorded(tree)
    before = machine.look()
    tree.write("/sys/class/drm/card1/device/gpu_busy_percent", "1\n")
    tree.memory(16 * GIB, 4 * GIB)
    quick = machine.look(after=1.0, thorough=False)
    assert quick.gpus == before.gpus
    assert quick.memory_percent == 75.0
    assert machine.look(after=1.0).gpus[1].use_percent == 1.0


@pytest.mark.parametrize(("flags", "throttled"), [("50005\n", True), ("50000\n", False), ("nonsense\n", None)])
def test_a_raspberry_pi_tells_its_throttling(tmp_path: Path, flags: str, throttled: bool | None) -> None:
    tree = bare(tmp_path)
    tree.write(RASPBERRY, flags)
    tree.write("/sys/class/thermal/thermal_zone0/temp", "84500\n")
    sample = Recorded(tree).look()
    assert (sample.throttled, sample.temperature) == (throttled, 84.5)


def test_a_process_with_a_used_id_is_another_one(tmp_path: Path) -> None:
    tree = bare(tmp_path)
    tree.process(CHILD, 1_000_000, MIB)
    machine = Recorded(tree)
    machine.look(CHILD)
    again = (tree.root / f"proc/{CHILD}/stat").read_text().replace(f" {CHILD} 0 0", " 999999 0 0")
    tree.write(f"/proc/{CHILD}/stat", again.replace("1000000", "9000000"))
    tree.cpu((200, 1000), (200, 1000))
    assert machine.look(CHILD, after=1.0).own_cpu_percent == 0.0


def test_what_may_not_be_read_is_absent(tmp_path: Path) -> None:
    files = Files(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe 12")
    assert files.read("/folder") is None
    assert files.read("/folder/missing") is None
    assert files.read("/bytes") == "\ufffd\ufffd 12"
    assert files.names("/bytes") == []
    assert files.names("/nowhere") == []


def test_free_space_is_that_of_the_folder_to_be(tmp_path: Path) -> None:
    assert disk_free(tmp_path / "a" / "b") is not None
    assert disk_free(None) is None


# -- NVIDIA


class NVMLError(Exception):
    """As pynvml's."""


class FakeNvml:
    """The functions of pynvml that are used. ``broken`` names those that fail."""

    NVMLError = NVMLError

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetName": "NVIDIA GeForce RTX 4070",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=88, memory=10),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=12 * GIB, free=4 * GIB, used=8 * GIB),
            "nvmlDeviceGetTemperature": 66,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x40,
            "nvmlDeviceGetComputeRunningProcesses": [
                SimpleNamespace(pid=7, usedGpuMemory=3 * GIB),
                SimpleNamespace(pid=8, usedGpuMemory=None),
                SimpleNamespace(pid=9, usedGpuMemory=GIB),
            ],
            "nvmlDeviceGetProcessUtilization": [
                SimpleNamespace(pid=7, smUtil=50, timeStamp=100),
                SimpleNamespace(pid=7, smUtil=60, timeStamp=200),
                SimpleNamespace(pid=9, smUtil=28, timeStamp=200),
            ],
        }

        def call(*arguments: object) -> Any:
            self.calls.append(name)
            if name in self.broken:
                raise NVMLError(f"{name}: {arguments}")
            return answers[name]

        return call


def test_an_nvidia_card() -> None:
    fake = FakeNvml()
    nvml = Nvml(lambda: fake)
    (gpu,) = nvml.read(frozenset({7, 8}))
    assert (gpu.name, gpu.vendor, gpu.use_percent, gpu.own_percent) == ("NVIDIA GeForce RTX 4070", "nvidia", 88.0, 60.0)
    assert (gpu.memory_total, gpu.memory_free, gpu.own_memory) == (12 * GIB, 4 * GIB, 3 * GIB)
    assert (gpu.temperature, gpu.throttled) == (66.0, True)
    fake.calls.clear()
    (asleep,) = nvml.read(frozenset(), asleep=True)
    assert (asleep.use_percent, asleep.memory_total, asleep.name) == (0.0, 12 * GIB, gpu.name)
    assert fake.calls == []


def test_what_an_nvidia_card_does_not_tell_is_unknown() -> None:
    fake = FakeNvml()
    fake.broken = {
        name
        for name in ("Name", "UtilizationRates", "MemoryInfo", "Temperature", "ComputeRunningProcesses")
        for name in (f"nvmlDeviceGet{name}",)
    } | {"nvmlDeviceGetCurrentClocksThrottleReasons"}
    (gpu,) = Nvml(lambda: fake).read(frozenset({7}))
    known = {name for name in gpu.__struct_fields__ if getattr(gpu, name) is not None}
    assert known == {"name", "vendor"}
    assert gpu.name == "NVIDIA 0"


def test_no_library_and_no_driver_is_no_gpu() -> None:
    now = 1000.0
    fake = FakeNvml()
    fake.broken = {"nvmlInit"}
    nvml = Nvml(lambda: fake, clock=lambda: now)
    assert nvml.read(frozenset()) == nvml.read(frozenset()) == ()
    assert fake.calls == ["nvmlInit"], "not again so soon"
    fake.broken = set()
    now += 301.0
    assert len(nvml.read(frozenset())) == 1
    fake.broken = {"nvmlDeviceGetCount"}
    assert nvml.read(frozenset()) == ()
    fake.broken = set()
    assert nvml.read(frozenset()) == ()
    now += 301.0
    assert len(nvml.read(frozenset())) == 1
    assert Nvml(lambda: None).read(frozenset()) == ()


# -- this machine


@pytest.mark.parametrize(
    "machine", [open_machine(Path.cwd()), PortableMachine(models=Path.cwd())], ids=["native", "psutil"]
)
def test_the_machine_that_this_runs_on(machine: LinuxMachine | PortableMachine) -> None:
    for _ in range(2):
        sample = machine.read_sample((os.getppid(),), now=1.0, jobs=0, thorough=True)
        assert sample.cores is not None
        assert 0 < sample.cores <= (os.cpu_count() or 1)
        assert sample.memory_total is not None
        assert sample.memory_available is not None
        assert 0 < sample.memory_available <= sample.memory_total
        assert sample.memory_percent is not None
        assert 0 <= sample.memory_percent <= 100
        assert sample.own_memory is not None
        assert sample.own_memory > MIB
        assert sample.disk_free is not None


# -- the thread


class Stuck:
    """Sensors that hang until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def read_sample(self, pids: tuple[int, ...], *, now: float, jobs: int, thorough: bool) -> ResourceSample:
        self.go.wait(60)
        return ResourceSample(taken_at=now, jobs=jobs)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    machine = Stuck()
    yield machine
    machine.go.set()


async def test_sensors_that_hang_are_left_alone(stuck: Stuck, autojump_clock: trio.testing.MockClock) -> None:
    sensors = Sensors(machine=stuck)
    before = trio.current_time()
    assert await sensors.sample((), jobs=0, thorough=True) is None
    assert trio.current_time() - before == pytest.approx(STUCK_SECONDS)
    assert await sensors.sample((), jobs=0, thorough=True) is None, "one reading at a time"


async def test_a_sample_comes_from_a_thread(stuck: Stuck) -> None:
    stuck.go.set()
    with trio.fail_after(60):
        sample = await Sensors(machine=stuck).sample((), jobs=4, thorough=True)
    assert sample is not None
    assert sample.jobs == 4
