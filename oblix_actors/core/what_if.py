"""What would be decided if the machine or the network were different: a snapshot with parts replaced. Pure.

What is not replaced stays: a machine that is critical for want of memory is no better for an idle CPU.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from oblix_actors.core.decision import Machine, Network, Snapshot
from oblix_actors.core.resource_judge import LOW_BATTERY
from oblix_actors.core.resources import Against, State, Thresholds

Percent = Annotated[float, Meta(ge=0, le=100)]

_FIGURES: Final[dict[str, tuple[str, ...]]] = {
    "cpu": ("cpu", "cpu pressure", "load"),
    "memory": ("memory", "memory pressure", "full memory pressure", "swap"),
    "gpu": ("gpu",),
    "battery": ("battery",),
}
"""What each field stands for among the figures that are judged (:mod:`~oblix_actors.core.resource_judge`)."""


class WhatIf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``oblix.what_if`` of a route request: ``connectivity`` is a state; ``cpu``, ``memory`` and ``gpu`` are percent in
    use, ``battery`` is percent of charge while nothing charges it."""

    connectivity: Literal["optimal", "degraded", "disconnected"] | None = None
    cpu: Percent | None = None
    memory: Percent | None = None
    gpu: Percent | None = None
    battery: Percent | None = None


def apply(what_if: WhatIf, snapshot: Snapshot, thresholds: Thresholds) -> Snapshot:
    """``snapshot`` as it would be. Dwell times do not count: the figures are taken to have lasted."""
    network = snapshot.network
    if what_if.connectivity is not None:
        routes = {**network.routes, "internet": what_if.connectivity}
        reasons = (f"what if: the network is {what_if.connectivity}",)
        network = Network(what_if.connectivity, _TARGETS[what_if.connectivity], reasons, routes)
    return msgspec.structs.replace(snapshot, network=network, machine=_machine(what_if, snapshot.machine, thresholds))


_TARGETS: Final = {"optimal": "cloud", "degraded": "hybrid", "disconnected": "local"}


def _machine(what_if: WhatIf, machine: Machine, limits: Thresholds) -> Machine:
    given = {name: value for name in _FIGURES if (value := getattr(what_if, name)) is not None}
    if not given:
        return machine
    replaced = {figure for name in given for figure in _FIGURES[name]}
    supposed = {name: _against(name, value, limits) for name, value in given.items()}
    against = [entry for entry in machine.against if entry.figure not in replaced]
    against += [entry for entry in supposed.values() if entry is not None]
    fine = (f"what if: {name} {given[name]:g} %" for name, entry in supposed.items() if entry is None)
    state: State = "available"
    if against:
        state = "critical" if any(entry.level == "critical" for entry in against) else "constrained"
    free, total = machine.memory_available, machine.memory_total
    if what_if.memory is not None and total is not None:
        free = int(total * (100 - what_if.memory) / 100)
    return msgspec.structs.replace(
        machine,
        state=state,
        target=_target(state, machine),
        reasons=(*(entry.reason for entry in against), *fine),
        against=tuple(against),
        memory_available=free,
        on_battery=machine.on_battery or what_if.battery is not None,
    )


def _against(name: str, value: float, limits: Thresholds) -> Against | None:
    """Whether a figure that is supposed would count."""
    if name == "battery":
        reason = f"what if: battery {value:g} % < {LOW_BATTERY:g} %"
        return Against(name, "constrained", reason) if value < LOW_BATTERY else None
    threshold, critical = {
        "cpu": (limits.cpu_threshold, limits.critical_cpu),
        "memory": (limits.memory_threshold, limits.critical_memory),
        "gpu": (limits.gpu_threshold, limits.critical_gpu),
    }[name]
    if value > critical:
        return Against(name, "critical", f"what if: {name} {value:g} % > {critical:g} %")
    if value > threshold:
        return Against(name, "constrained", f"what if: {name} {value:g} % > {threshold:g} %")
    return None


def _target(state: State, machine: Machine) -> str:
    """Where the machine alone would send a request. Of one that is busy now, nobody told whether it has a GPU."""
    if state != "available":
        return "cloud"
    return machine.target if machine.target != "cloud" else "local_cpu"
