"""What this machine has left: one sample of it, the verdict on it, and how both are shown.

A figure that nobody can tell is ``None``, never a guess. Percent are 0…100 of what this process may use: in a
container its limits are the machine. Times are seconds of one monotonic clock, handed in.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, Protocol

import msgspec

State = Literal["available", "constrained", "critical"]
Target = Literal["local_gpu", "local_cpu", "cloud"]
Vendor = Literal["nvidia", "amd", "intel", "apple"]

OWN_MEMORY_OF_A_GPU: Final = 1 << 30
"""Bytes: with less memory of its own a GPU (an integrated one) is no place for a model."""


class Thresholds(Protocol):
    """What is too much: ``[resource_monitor]`` of the configuration. Percent, run-queue length per core, seconds."""

    @property
    def check_interval(self) -> float: ...
    @property
    def cpu_threshold(self) -> float: ...
    @property
    def memory_threshold(self) -> float: ...
    @property
    def gpu_threshold(self) -> float: ...
    @property
    def load_threshold(self) -> float: ...
    @property
    def critical_cpu(self) -> float: ...
    @property
    def critical_memory(self) -> float: ...
    @property
    def critical_gpu(self) -> float: ...
    @property
    def dwell_seconds(self) -> float: ...


class GpuSample(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU. Memory is its own, in bytes; ``temperature`` is °C.

    ``use_percent`` is the share of the time in which it did something (Intel's: in which it was awake);
    ``own_percent`` and ``own_memory`` are the parts that our own processes cause.
    """

    name: str
    vendor: Vendor
    use_percent: float | None = None
    own_percent: float | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    own_memory: int | None = None
    temperature: float | None = None
    throttled: bool | None = None

    @property
    def holds_models(self) -> bool:
        """Whether a model can run here: it has enough memory of its own, or shares the machine's as Apple's do."""
        return self.vendor == "apple" or (self.memory_total or 0) >= OWN_MEMORY_OF_A_GPU


class Pressure(msgspec.Struct, frozen=True, kw_only=True):
    """Percent of the last 10 s in which work waited for a resource (https://docs.kernel.org/accounting/psi.html).

    ``memory_full``: in which all work waited; the others: in which some did.
    """

    cpu: float | None = None
    memory: float | None = None
    memory_full: float | None = None
    io: float | None = None


class ResourceSample(msgspec.Struct, frozen=True, kw_only=True):
    """The machine at ``taken_at``. Bytes, percent, °C.

    ``seconds`` is how long a time ``cpu_percent`` and the rates are averages of; ``cores`` is how many we may use,
    also a part of one; ``load`` is the run queue of the last minute per core. ``own_*`` is the part of a figure that
    this process and its children cause. ``swap_in`` and ``swap_out`` are bytes per second; ``jobs`` is how many of our
    jobs run.
    """

    taken_at: float
    seconds: float | None = None
    jobs: int = 0
    cores: float | None = None
    cpu_percent: float | None = None
    own_cpu_percent: float | None = None
    load: float | None = None
    own_load: float | None = None
    memory_total: int | None = None
    memory_available: int | None = None
    memory_percent: float | None = None
    own_memory: int | None = None
    swap_used: int | None = None
    swap_in: float | None = None
    swap_out: float | None = None
    pressure: Pressure = Pressure()
    gpus: tuple[GpuSample, ...] = ()
    battery_percent: float | None = None
    charging: bool | None = None
    on_battery: bool | None = None
    temperature: float | None = None
    throttled: bool | None = None
    disk_free: int | None = None


class Against(msgspec.Struct, frozen=True):
    """One figure that counts against this machine (``cpu``, ``memory pressure``, …), how much, and why in words."""

    figure: str
    level: State
    reason: str


class ResourceState(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict. ``reasons`` are for people; ``against`` is what made ``state`` so; ``since`` is when it began."""

    state: State
    target: Target
    reasons: tuple[str, ...]
    against: tuple[Against, ...] = ()
    since: float = 0.0


class ResourceReport(msgspec.Struct, frozen=True):
    """What the monitor publishes: the verdict, and the sample it is the verdict on."""

    state: ResourceState
    sample: ResourceSample


def unknown(now: float) -> ResourceReport:
    """The report before anything was measured: nothing speaks against this machine."""
    state = ResourceState(state="available", target="local_cpu", reasons=("nothing was measured yet",), since=now)
    return ResourceReport(state, ResourceSample(taken_at=now))


def figure(value: float | None) -> float | None:
    """``value`` where it is a figure that can be judged and shown: finite, and not negative."""
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def percent(value: float | None) -> float | None:
    """``value`` as a share: a :func:`figure` of at most 100."""
    number = figure(value)
    return None if number is None else min(number, 100.0)


def target_of(state: State, gpus: tuple[GpuSample, ...]) -> Target:
    """Where the machine's state alone would send a request."""
    if state != "available":
        return "cloud"
    return "local_gpu" if any(gpu.holds_models for gpu in gpus) else "local_cpu"


def as_json(report: ResourceReport, now: float) -> dict[str, Any]:
    """The section of ``/health``: plain finite JSON values, ages in seconds, ``null`` where nobody knows."""
    state, sample = report.state, report.sample
    shown: dict[str, Any] = {
        "state": state.state,
        "target": state.target,
        "reasons": list(state.reasons),
        "for_seconds": _short(_age(state.since, now)),
        "sampled_seconds_ago": _short(_age(sample.taken_at, now)),
    }
    for name in _FIGURES:
        shown[name] = _plain(getattr(sample, name))
    shown["pressure"] = {name: _plain(getattr(sample.pressure, name)) for name in Pressure.__struct_fields__}
    shown["gpus"] = [{name: _plain(getattr(gpu, name)) for name in GpuSample.__struct_fields__} for gpu in sample.gpus]
    return shown


_FIGURES: Final = tuple(
    name for name in ResourceSample.__struct_fields__ if name not in {"taken_at", "seconds", "pressure", "gpus"}
)


def _plain(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = figure(value)
        return int(number) if isinstance(value, int) and number is not None else _short(number)
    return value


def _short(number: float | None) -> float | None:
    return None if number is None else round(number, 2)


def _age(at: float, now: float) -> float | None:
    return figure(max(0.0, now - at))
