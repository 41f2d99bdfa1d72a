"""Trees of ``/proc`` and ``/sys`` as real machines have them, shortened to what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.core.test_resource_parsers import FDINFO, UEVENT

GB: Final = 10**9
GIB: Final = 1 << 30
PAGE: Final = 4096
PID: Final = 1000
CHILD: Final = 2000
GRANDCHILD: Final = 2001


class Tree:
    """A root folder; :meth:`write` adds or replaces files in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def cpu(self, *busy_and_idle: tuple[int, int]) -> None:
        """``/proc/stat``: one pair of ticks per CPU."""
        lines = (f"cpu{number} {busy} 0 0 {idle} 0 0 0 0 0 0" for number, (busy, idle) in enumerate(busy_and_idle))
        self.write("/proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\n" + "\n".join(lines) + "\nintr 12345 0 0\n")

    def memory(self, total: int, available: int, *, swap: int = 0, swap_free: int = 0) -> None:
        """``/proc/meminfo``, from bytes."""
        figures = {"MemTotal": total, "MemFree": 0, "MemAvailable": available, "SwapTotal": swap, "SwapFree": swap_free}
        self.write("/proc/meminfo", "".join(f"{name}:  {value // 1024} kB\n" for name, value in figures.items()))

    def process(self, pid: int, ticks: int, own: int, shared: int = 0, children: tuple[int, ...] = ()) -> None:
        """One process of ``own`` and ``shared`` resident bytes."""
        self.write(f"/proc/{pid}/stat", f"{pid} (some) thing) S " + "0 " * 10 + f"{ticks} 0 0 0 20 0 1 0 {pid} 0 0")
        self.write(f"/proc/{pid}/statm", f"0 {(own + shared) // PAGE} {shared // PAGE} 0 0 0 0")
        self.write(f"/proc/{pid}/task/{pid}/children", " ".join(map(str, children)))

    def pressure(self, folder: str, name: str, some: float, full: float = 0.0) -> None:
        """``folder`` and ``name`` are of ``/proc/pressure/cpu``, or of a group's ``cpu.pressure``."""
        rest = "avg60=0.00 avg300=0.00 total=1"
        self.write(f"{folder}/{name}", f"some avg10={some:.2f} {rest}\nfull avg10={full:.2f} {rest}\n")

    def group(self, folder: str, **files: object) -> None:
        """A control group's files; ``__`` in a name is a dot."""
        for name, value in files.items():
            self.write(f"{folder}/{name.replace('__', '.')}", f"{value}\n")


def bare(root: Path) -> Tree:
    """Nothing but two CPUs, memory and this process: an old kernel in a small virtual machine."""
    tree = Tree(root)
    tree.cpu((100, 900), (100, 900))
    tree.memory(2 * GIB, GIB)
    tree.process(PID, 10, 50 << 20)
    return tree


def container(root: Path) -> Tree:
    """Version 2: half a gigabyte and one and a half of the host's eight CPUs, inside a slice that has less memory left.

    The host is half idle, and has memory.
    """
    tree = Tree(root)
    tree.cpu(*[(1000, 1000)] * 8)
    tree.memory(64 * GIB, 48 * GIB, swap=GIB, swap_free=GIB)
    tree.write("/proc/loadavg", "30.00 29.00 28.00 30/4000 99999\n")
    tree.process(PID, 0, 60 << 20)
    for what in ("cpu", "memory", "io"):
        tree.pressure("/proc/pressure", what, 1.0)
    tree.write("/proc/self/status", "Name:\tpython\nCpus_allowed_list:\t0-7\n")
    tree.write("/proc/self/cgroup", "0::/apps.slice/oblix.scope\n")
    tree.write("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
    tree.group(
        "/sys/fs/cgroup/apps.slice/oblix.scope",
        cpu__max="150000 100000",
        cpu__stat="usage_usec 1000000",
        memory__max=512 << 20,
        memory__high="max",
        memory__current=400 << 20,
        memory__stat=f"inactive_file {200 << 20}\nactive_file {50 << 20}",
    )
    tree.group(
        "/sys/fs/cgroup/apps.slice",
        cpu__max="max 100000",
        cpu__stat="usage_usec 9000000",
        memory__max=4 * GIB,
        memory__current=4 * GIB - (128 << 20),
        memory__stat=f"inactive_file 0\nactive_file {GIB}",
    )
    tree.pressure("/sys/fs/cgroup/apps.slice/oblix.scope", "cpu.pressure", 12.0)
    tree.pressure("/sys/fs/cgroup/apps.slice/oblix.scope", "memory.pressure", 3.0, 2.0)
    return tree


def old_container(root: Path) -> Tree:
    """Version 1, as Docker mounts it on an older host: half a CPU and a gigabyte."""
    tree = bare(root)
    tree.write("/proc/self/cgroup", "9:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n")
    tree.write(
        "/proc/self/mountinfo",
        "40 39 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "41 39 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
    )
    tree.group(
        "/sys/fs/cgroup/cpu,cpuacct",
        cpu__cfs_quota_us=50_000,
        cpu__cfs_period_us=100_000,
        cpuacct__usage=1_000_000_000,
    )
    tree.group(
        "/sys/fs/cgroup/memory",
        memory__limit_in_bytes=GIB,
        memory__usage_in_bytes=900 << 20,
        memory__stat=f"inactive_file 0\nhierarchical_memory_limit {GIB}\ntotal_inactive_file {300 << 20}",
    )
    tree.pressure("/proc/pressure", "cpu", 77.0)
    return tree


def laptop(root: Path) -> Tree:
    """An AMD laptop on battery: a discrete GPU that our child computes on, an integrated Intel one, and heat."""
    tree = bare(root)
    tree.write("/proc/loadavg", "1.00 0.80 0.49 3/117 19497\n")
    tree.memory(16 * GIB, 8 * GIB, swap=4 * GIB, swap_free=3 * GIB)
    tree.write("/proc/vmstat", "nr_free_pages 5\npswpin 100\npswpout 200\n")
    for what in ("cpu", "memory", "io"):
        tree.pressure("/proc/pressure", what, 5.0, 1.0)
    tree.process(CHILD, 100, GIB, 2 * GIB, children=(GRANDCHILD,))
    tree.process(GRANDCHILD, 50, GIB)
    card, chip = "/sys/class/drm/card1/device", "/sys/class/drm/card1/device/hwmon/hwmon4"
    tree.write(f"{card}/uevent", UEVENT)
    tree.write(f"{card}/vendor", "0x1002\n")
    tree.write(f"{card}/gpu_busy_percent", "90\n")
    tree.write(f"{card}/mem_info_vram_total", f"{8 * GIB}\n")
    tree.write(f"{card}/mem_info_vram_used", f"{3 * GIB}\n")
    tree.write(f"{card}/power/runtime_status", "active\n")
    tree.write(f"{chip}/temp1_input", "71000\n")
    tree.write("/sys/class/drm/card1-HDMI-A-1/status", "connected\n")
    tree.write("/sys/class/drm/card0/device/uevent", "DRIVER=i915\nPCI_ID=8086:46A6\nPCI_SLOT_NAME=0000:00:02.0\n")
    tree.write("/sys/class/drm/card0/gt/gt0/rc6_residency_ms", "5000\n")
    tree.write(f"/proc/{CHILD}/fdinfo/0", "pos:\t0\nflags:\t02\n")
    tree.write(f"/proc/{CHILD}/fdinfo/9", FDINFO.format(busy=10**9))
    tree.write(
        "/sys/class/power_supply/BAT0/uevent",
        "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_STATUS=Discharging\nPOWER_SUPPLY_PRESENT=1\nPOWER_SUPPLY_CAPACITY=63\n",
    )
    tree.write("/sys/class/power_supply/AC/uevent", "POWER_SUPPLY_TYPE=Mains\nPOWER_SUPPLY_ONLINE=0\n")
    tree.write("/sys/class/hwmon/hwmon0/name", "nvme\n")
    tree.write("/sys/class/hwmon/hwmon0/temp1_input", "93000\n")
    tree.write("/sys/class/hwmon/hwmon1/name", "k10temp\n")
    tree.write("/sys/class/hwmon/hwmon1/temp1_input", "81250\n")
    tree.write("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "7\n")
    return tree
