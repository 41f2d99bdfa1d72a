"""GPUs without a library: what Linux' graphics drivers write into ``/sys/class/drm`` and ``/proc/PID/fdinfo``.

``amdgpu``: https://docs.kernel.org/gpu/amdgpu/driver-misc.html and thermal.html; per process:
https://docs.kernel.org/gpu/drm-usage-stats.html. Pure; what is not there stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from oblix_actors.core.procfs import whole
from oblix_actors.core.resources import GpuSample, Vendor

VENDORS: Final[dict[str, Vendor]] = {"amdgpu": "amd", "i915": "intel", "xe": "intel"}
"""The kernel drivers that tell something; NVIDIA's tells it through NVML."""
_NAMES: Final[dict[Vendor, str]] = {"amd": "AMD", "intel": "Intel", "nvidia": "NVIDIA", "apple": "Apple"}
_UNITS: Final = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class Card(NamedTuple):
    """One GPU as its ``device/uevent`` names it; ``slot`` is its PCI address."""

    vendor: Vendor
    driver: str
    slot: str
    pci_id: str


class Client(NamedTuple):
    """What one open graphics context has used: ``busy`` nanoseconds per engine, ``memory`` bytes of the GPU's own."""

    slot: str
    client: str
    busy: dict[str, int]
    memory: int


def card(uevent: str | None) -> Card | None:
    """Read ``/sys/class/drm/cardN/device/uevent``; ``None`` for a driver that tells nothing here."""
    fields = dict(line.partition("=")[::2] for line in (uevent or "").splitlines())
    driver = fields.get("DRIVER", "")
    vendor = VENDORS.get(driver)
    if vendor is None:
        return None
    return Card(vendor, driver, fields.get("PCI_SLOT_NAME", ""), fields.get("PCI_ID", ""))


def name_of(found: Card, product: str | None) -> str:
    """What to call it: the product's name where the card tells it, else the maker's and the PCI id."""
    return (product or "").strip()[:80] or f"{_NAMES[found.vendor]} {found.pci_id}".strip()


def amd_sample(name: str, *, busy: str | None, total: str | None, used: str | None, heat: str | None) -> GpuSample:
    """``gpu_busy_percent``, ``mem_info_vram_total``, ``mem_info_vram_used``, ``hwmon*/temp1_input``."""
    size, taken, use = whole(total), whole(used), whole(busy)
    return GpuSample(
        name=name,
        vendor="amd",
        use_percent=None if use is None else float(min(use, 100)),
        memory_total=size,
        memory_free=None if size is None or taken is None else max(0, size - taken),
        temperature=celsius(heat),
    )


def awake_percent(idle_before: int | None, idle_now: int | None, seconds: float) -> float | None:
    """Intel's GPUs count the milliseconds in their idle state (RC6): the rest of ``seconds`` they were awake."""
    if idle_before is None or idle_now is None or idle_now < idle_before or not seconds > 0:
        return None
    return max(0.0, min(100.0, 100.0 - (idle_now - idle_before) / (seconds * 10)))


def celsius(millidegrees: str | None) -> float | None:
    """A ``temp*_input`` or ``thermal_zone*/temp``; a sensor that is not wired up says something impossible."""
    number = whole(millidegrees)
    return number / 1000 if number is not None and 0 < number < 150_000 else None


def client(fdinfo: str | None) -> Client | None:
    """One ``/proc/PID/fdinfo/FD``; ``None`` where the file is no graphics context."""
    fields: dict[str, str] = {}
    for line in (fdinfo or "").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.startswith("drm-"):
            fields[name] = value.strip()
    if "drm-client-id" not in fields:
        return None
    busy: dict[str, int] = {}
    memory: dict[str, int] = {}
    for name, value in fields.items():
        number, _, unit = value.partition(" ")
        amount = whole(number)
        if amount is None:
            continue
        if name.startswith("drm-engine-") and not name.startswith("drm-engine-capacity-"):
            busy[name.removeprefix("drm-engine-")] = amount
        for prefix in ("drm-resident-", "drm-memory-"):
            if name.startswith((prefix + "vram", prefix + "local")):
                region = name.removeprefix(prefix)
                memory[region] = max(memory.get(region, 0), amount * _UNITS.get(unit, 1))
    return Client(fields.get("drm-pdev", ""), fields["drm-client-id"], busy, sum(memory.values()))


def own_use(before: Iterable[Client], now: Iterable[Client], slot: str, seconds: float) -> float | None:
    """Percent of the last ``seconds`` in which the busiest engine of the GPU at ``slot`` worked for these clients."""
    if not seconds > 0:
        return None
    old = {(each.client, engine): spent for each in before if each.slot == slot for engine, spent in each.busy.items()}
    spent: dict[str, int] = {}
    for each in now:
        if each.slot == slot:
            for engine, total in each.busy.items():
                new = total - old.get((each.client, engine), total)
                spent[engine] = spent.get(engine, 0) + max(0, new)
    return min(100.0, max(spent.values(), default=0) / (seconds * 1e7))
