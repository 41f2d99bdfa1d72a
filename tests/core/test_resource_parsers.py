"""What Linux writes about itself, and what we read in it. Texts are as real machines give them, shortened."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oblix_actors.core import cgroups, drm, power, procfs
from oblix_actors.core.cgroups import Hierarchy, MemoryLevel
from oblix_actors.core.procfs import CpuTimes, ProcessMemory, ProcessTimes, Stall

STAT = """cpu  330 15 120 8000 60 5 10 40 100 0
cpu0 130 5 60 4000 30 5 5 40 50 0
cpu1 200 10 60 4000 30 0 5 0 50 0
intr 1234567 0 9 0
ctxt 987
"""


def test_cpu_times() -> None:
    assert procfs.cpu_times(STAT, frozenset()) == CpuTimes(520, 8580, 2)
    assert procfs.cpu_times(STAT, frozenset({1})) == CpuTimes(275, 4305, 1)
    assert procfs.cpu_times(STAT, frozenset({7})) is None
    assert procfs.cpu_times("cpu0 1 2 3\n", frozenset()) is None
    assert procfs.cpu_times(None, frozenset()) is None


@pytest.mark.parametrize(
    ("text", "stall"),
    [
        (
            "some avg10=41.67 avg60=20.67 avg300=5.79 total=45528341\nfull avg10=1.50 avg60=0.00 avg300=0.00 total=0\n",
            Stall(41.67, 1.5),
        ),
        ("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", Stall(0.0, None)),
        ("some avg10=nan\n", Stall(None, None)),
        ("", Stall(None, None)),
        (None, Stall(None, None)),
    ],
)
def test_pressure(text: str | None, stall: Stall) -> None:
    assert procfs.pressure(text) == stall


def test_meminfo() -> None:
    text = (
        "MemTotal:       16314656 kB\nMemFree: 1 kB\nMemAvailable:    9876540 kB\nSwapFree:  0 kB\nHugePages_Total: 0\n"
    )
    assert procfs.meminfo(text) == {"MemTotal": 16314656 * 1024, "MemAvailable": 9876540 * 1024, "SwapFree": 0}


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,7\n", {0, 1, 2, 3, 7}),
        ("5", {5}),
        ("3-1", set()),
        ("0-999999999", set()),
        ("", set()),
        (None, set()),
        ("0,x", set()),
    ],
)
def test_cpu_list(text: str | None, cpus: set[int]) -> None:
    assert procfs.cpu_list(text) == cpus


def test_a_process() -> None:
    stat = "4242 (a) b (c\n) S 1 2 3 0 -1 4194560 10 20 30 40 250 50 7 8 39 19 5 0 987654 5000 600 1 2"
    assert procfs.process_times(stat) == ProcessTimes(300, 987654)
    assert procfs.process_times("4242 (short) S 1 2") is None
    assert procfs.process_memory("5000 900 300 10 0 600 0\n") == ProcessMemory(600, 300)
    assert procfs.process_memory("") is None
    assert procfs.process_ids("17 4711 \n") == (17, 4711)
    assert procfs.process_ids(None) == ()
    assert procfs.status_field("Name:\tx\nCpus_allowed_list:\t0-1\n", "Cpus_allowed_list") == "0-1"
    assert procfs.load_average("1.80 0.80 0.49 3/117 19497\n") == 1.8


V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = """32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
"""


@pytest.mark.parametrize(
    ("what", "memberships", "mounts", "found"),
    [
        (
            "a service of systemd's",
            "0::/system.slice/oblix.service\n",
            V2_MOUNT,
            {"": ("/sys/fs/cgroup/system.slice/oblix.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup")},
        ),
        ("a container with a namespace of its own", "0::/\n", V2_MOUNT, {"": ("/sys/fs/cgroup",)}),
        (
            "a container that sees the host's paths",
            "0::/docker/abc/app\n",
            "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            {"": ("/sys/fs/cgroup/app", "/sys/fs/cgroup")},
        ),
        ("outside of what is mounted", "0::/../../user\n", V2_MOUNT.replace(" / ", " /x "), {"": ("/sys/fs/cgroup",)}),
        (
            "version 1",
            "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n",
            V1_MOUNTS.replace("0:32 /", "0:32 /docker/abc"),
            {
                "memory": ("/sys/fs/cgroup/memory",),
                "cpu": (
                    "/sys/fs/cgroup/cpu,cpuacct/docker/abc",
                    "/sys/fs/cgroup/cpu,cpuacct/docker",
                    "/sys/fs/cgroup/cpu,cpuacct",
                ),
            },
        ),
        ("a mount with a space", "0::/\n", V2_MOUNT.replace("/sys/fs/", "/my\\040sys/"), {"": ("/my sys/cgroup",)}),
        ("not Linux", None, None, {}),
    ],
)
def test_hierarchies(what: str, memberships: str | None, mounts: str | None, found: dict[str, tuple[str, ...]]) -> None:
    seen = {each.controller: each.directories for each in cgroups.hierarchies(memberships, mounts)}
    assert {name: seen[name] for name in found} == found
    assert seen.keys() - {"cpuacct"} == found.keys()


def test_a_path_is_part_of_another_only_at_its_ends() -> None:
    found = cgroups.hierarchies("0::/docker/abcdef\n", V2_MOUNT.replace(" / ", " /docker/abc "))
    assert found == (Hierarchy(2, "", ("/sys/fs/cgroup",)),)


def test_cpu_limits() -> None:
    assert cgroups.cpu_max("150000 100000\n") == 1.5
    assert cgroups.cpu_max("max 100000\n") is None
    assert cgroups.cpu_max("100000 0") is None
    assert cgroups.cpu_max(None) is None
    assert cgroups.cpu_quota("50000\n", "100000\n") == 0.5
    assert cgroups.cpu_quota("-1\n", "100000\n") is None
    assert cgroups.cpu_seconds(stat="usage_usec 2500000\nuser_usec 1\n") == 2.5
    assert cgroups.cpu_seconds(usage="2500000000\n") == 2.5
    assert cgroups.cpu_seconds(stat="user_usec 1\n") is None


@pytest.mark.parametrize(
    ("what", "used", "stat", "limits", "level", "available"),
    [
        ("a limit", "600\n", "inactive_file 100\nactive_file 50\n", ["1000\n"], MemoryLevel(1000, 600, 100, 50), 500),
        ("the soft limit is the lower one", "600", None, ["1000", "800"], MemoryLevel(800, 600, 0, 0), 200),
        ("no limit", "600", "inactive_file 100\n", ["max\n"], None, None),
        ("version 1 without one", "600", "", ["9223372036854771712"], None, None),
        (
            "version 1 with one outside the container",
            "600",
            "inactive_file 1\nhierarchical_memory_limit 900\ntotal_inactive_file 200\n",
            ["9223372036854771712"],
            MemoryLevel(900, 600, 200, 0),
            500,
        ),
        ("over it", "1200", "", ["1000"], MemoryLevel(1000, 1200, 0, 0), 0),
        ("nothing told", None, None, ["1000"], None, None),
    ],
)
def test_memory_levels(
    what: str,
    used: str | None,
    stat: str | None,
    limits: list[str | None],
    level: MemoryLevel | None,
    available: int | None,
) -> None:
    found = cgroups.memory_level(used, stat, limits)
    assert found == level
    assert available == (None if found is None else found.available)


# -- GPUs

UEVENT = "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:73BF\nPCI_SUBSYS_ID=1002:0E3A\nPCI_SLOT_NAME=0000:03:00.0\n"
FDINFO = """pos:	0
flags:	02100002
drm-driver:	amdgpu
drm-pdev:	0000:03:00.0
drm-client-id:	42
drm-memory-vram:	2097152 KiB
drm-resident-vram:	2097152 KiB
drm-memory-gtt:	1024 KiB
drm-engine-capacity-compute:	4
drm-engine-gfx:	0 ns
drm-engine-compute:	{busy} ns
"""


def test_a_card() -> None:
    card = drm.card(UEVENT)
    assert card == drm.Card("amd", "amdgpu", "0000:03:00.0", "1002:73BF")
    assert drm.name_of(card, None) == "AMD 1002:73BF"
    assert drm.name_of(card, "Radeon PRO W7900\n") == "Radeon PRO W7900"
    assert drm.card("DRIVER=nouveau\n") is None
    assert drm.card(None) is None


def test_an_amd_card() -> None:
    gpu = drm.amd_sample("Card", busy="37\n", total="17163091968\n", used="1163091968\n", heat="61000\n")
    assert (gpu.use_percent, gpu.memory_free, gpu.temperature) == (37.0, 16_000_000_000, 61.0)
    gpu = drm.amd_sample("Card", busy=None, total="x", used="1", heat="-273000")
    assert (gpu.use_percent, gpu.memory_total, gpu.memory_free, gpu.temperature) == (None, None, None, None)


def test_intel_is_awake_when_it_is_not_idle() -> None:
    assert drm.awake_percent(1000, 1750, 1.0) == 25.0
    assert drm.awake_percent(1000, 3000, 1.0) == 0.0
    assert drm.awake_percent(None, 3000, 1.0) is None
    assert drm.awake_percent(4000, 3000, 1.0) is None
    assert drm.awake_percent(1000, 3000, 0.0) is None


def test_our_own_part_of_a_gpu() -> None:
    before, now = drm.client(FDINFO.format(busy=1_000_000_000)), drm.client(FDINFO.format(busy=1_900_000_000))
    assert before is not None
    assert now is not None
    assert now.memory == 2 << 30
    assert drm.own_use([before], [now], "0000:03:00.0", 2.0) == 45.0
    assert drm.own_use([before], [now], "0000:99:00.0", 2.0) == 0.0
    assert drm.own_use([], [now], "0000:03:00.0", 2.0) == 0.0, "what a new context used before is not known"
    assert drm.own_use([before], [now], "0000:03:00.0", 0.0) is None
    assert drm.client("pos:\t0\nflags:\t02\n") is None


# -- power


def uevent(**fields: object) -> str:
    return "".join(f"POWER_SUPPLY_{name.upper()}={value}\n" for name, value in fields.items())


BATTERY = uevent(name="BAT0", type="Battery", status="Discharging", present=1, capacity=63)
MAINS = uevent(name="AC", type="Mains", online=0)


@pytest.mark.parametrize(
    ("what", "supplies", "found"),
    [
        ("a desktop", [MAINS], power.Power()),
        ("nothing", [], power.Power()),
        ("on battery", [BATTERY, MAINS], power.Power(63.0, charging=False, on_battery=True)),
        (
            "plugged in and charging",
            [BATTERY.replace("Discharging", "Charging"), MAINS.replace("=0", "=1")],
            power.Power(63.0, charging=True, on_battery=False),
        ),
        ("a weak charger", [BATTERY, MAINS.replace("=0", "=1")], power.Power(63.0, charging=False, on_battery=False)),
        ("only a battery tells", [BATTERY], power.Power(63.0, charging=False, on_battery=True)),
        (
            "it does not know",
            [BATTERY.replace("Discharging", "Unknown")],
            power.Power(63.0, charging=False, on_battery=None),
        ),
        ("a mouse's", [BATTERY + uevent(scope="Device")], power.Power()),
        ("a bay without one", [BATTERY.replace("PRESENT=1", "PRESENT=0")], power.Power()),
        (
            "two of different size",
            [BATTERY + uevent(energy_now=10, energy_full=20), BATTERY + uevent(energy_now=60, energy_full=80)],
            power.Power(70.0, charging=False, on_battery=True),
        ),
    ],
)
def test_power(what: str, supplies: list[str], found: power.Power) -> None:
    assert power.power(power.supply(text) for text in supplies) == found


# -- whatever is written there

WORDS = st.sampled_from(
    ["some avg10=", "cpu0 ", "MemTotal: ", "0::/", " - cgroup2 x y", "\n", "max", "-1", "9" * 30, "٣"]
)
TEXTS = st.none() | st.text(max_size=200) | st.lists(WORDS | st.text(max_size=5), max_size=20).map("".join)


@given(TEXTS, TEXTS)
@example("some avg10=inf", "1e999")
@example("cpu²", "²")
def test_no_text_raises(text: str | None, other: str | None) -> None:
    assert all(value is None or math.isfinite(value) for value in procfs.pressure(text))
    for number in (procfs.load_average(text), procfs.decimal(text), drm.celsius(text), cgroups.cpu_max(text)):
        assert number is None or (math.isfinite(number) and number >= 0)
    procfs.cpu_times(text, procfs.cpu_list(other))
    procfs.meminfo(text)
    procfs.process_times(text)
    procfs.process_memory(text)
    procfs.process_ids(text)
    procfs.status_field(text, "Name")
    cgroups.cpu_seconds(stat=text, usage=other)
    level = cgroups.memory_level(text, other, [text, other])
    assert level is None or 0 <= level.available <= level.limit
    for hierarchy in cgroups.hierarchies(text, other):
        assert hierarchy.directories
    drm.card(text)
    client = drm.client(text)
    if client is not None:
        assert (drm.own_use([client], [client], client.slot, 1.0) or 0) >= 0
    drm.amd_sample("x", busy=text, total=other, used=text, heat=other)
    found = power.power([power.supply(text), power.supply(other)])
    assert found.percent is None or 0 <= found.percent <= 100
