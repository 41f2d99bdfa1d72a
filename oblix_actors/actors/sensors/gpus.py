"""AMD's and Intel's GPUs, from the files of Linux' graphics drivers."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from oblix_actors.actors.sensors.files import Files
from oblix_actors.core import drm
from oblix_actors.core.procfs import whole
from oblix_actors.core.resources import GpuSample

DRM: Final = "/sys/class/drm"
NVIDIA: Final = "0x10de"
MOST_DESCRIPTORS: Final = 512
"""Of one process are looked through for graphics contexts."""
IDLE_FILES: Final = (
    "gt/gt0/rc6_residency_ms",  # i915 since Linux 5.18
    "power/rc6_residency_ms",  # i915 before
    "device/tile0/gt0/gtidle/idle_residency_ms",  # xe
)
_CARD: Final = re.compile(r"card[0-9]{1,3}")


class DrmGpus:
    """Remembers the counters of the last reading."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._read_at: float | None = None
        self._idle: dict[str, int] = {}
        self._clients: tuple[drm.Client, ...] = ()

    def read(self, pids: frozenset[int], at: float) -> tuple[GpuSample, ...]:
        """Every GPU whose driver tells something; ``at`` is the time of a monotonic clock."""
        seconds = 0.0 if self._read_at is None else at - self._read_at
        self._read_at = at
        cards = [
            (name, card)
            for name in self._files.names(DRM)
            if _CARD.fullmatch(name)
            if (card := drm.card(self._files.read(f"{DRM}/{name}/device/uevent"))) is not None
        ]
        before, self._clients = self._clients, self._contexts(pids) if cards else ()
        found = []
        for name, card in cards:
            gpu = self._amd(name, card) if card.vendor == "amd" else self._intel(name, card, seconds)
            found.append(self._with_own(gpu, card, before, seconds))
        return tuple(found)

    def nvidia_sleeps(self) -> bool:
        """Whether every GPU of NVIDIA's is switched off to save power, and a question would wake it."""
        cards = [
            name
            for name in self._files.names(DRM)
            if _CARD.fullmatch(name) and (self._files.read(f"{DRM}/{name}/device/vendor") or "").strip() == NVIDIA
        ]
        return bool(cards) and all(self._sleeps(name) for name in cards)

    def _sleeps(self, name: str) -> bool:
        return (self._files.read(f"{DRM}/{name}/device/power/runtime_status") or "").strip() == "suspended"

    def _amd(self, name: str, card: drm.Card) -> GpuSample:
        device = f"{DRM}/{name}/device"
        busy: str | None = "0"
        heat = None
        if not self._sleeps(name):  # to read these two would wake it
            chips = self._files.names(f"{device}/hwmon")
            busy = self._files.read(f"{device}/gpu_busy_percent")
            heat = self._files.read(f"{device}/hwmon/{chips[0]}/temp1_input") if chips else None
        return drm.amd_sample(
            drm.name_of(card, self._files.read(f"{device}/product_name")),
            busy=busy,
            total=self._files.read(f"{device}/mem_info_vram_total"),
            used=self._files.read(f"{device}/mem_info_vram_used"),
            heat=heat,
        )

    def _intel(self, name: str, card: drm.Card, seconds: float) -> GpuSample:
        texts = (self._files.read(f"{DRM}/{name}/{path}") for path in IDLE_FILES)
        idle = next((count for count in map(whole, texts) if count is not None), None)
        before = self._idle.pop(name, None)
        if idle is not None:
            self._idle[name] = idle
        use = drm.awake_percent(before, idle, seconds)
        return GpuSample(name=drm.name_of(card, None), vendor=card.vendor, use_percent=use)

    def _with_own(self, gpu: GpuSample, card: drm.Card, before: tuple[drm.Client, ...], seconds: float) -> GpuSample:
        """With the part that our processes' graphics contexts caused, where they have any there."""
        ours = [client for client in self._clients if client.slot == card.slot]
        if not ours:
            return gpu
        own = drm.own_use(before, ours, card.slot, seconds)
        return msgspec.structs.replace(gpu, own_percent=own, own_memory=sum(client.memory for client in ours))

    def _contexts(self, pids: frozenset[int]) -> tuple[drm.Client, ...]:
        found: dict[tuple[str, str], drm.Client] = {}
        for pid in sorted(pids):
            folder = f"/proc/{pid}/fdinfo"
            for descriptor in self._files.names(folder)[:MOST_DESCRIPTORS]:
                client = drm.client(self._files.read(f"{folder}/{descriptor}"))
                if client is not None:  # one context may be open more than once
                    found[client.slot, client.client] = client
        return tuple(found.values())
