"""What would be decided if the machine or the network were different: a snapshot with parts replaced. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from oblix_actors.core.decision import Machine, Network, Snapshot
from oblix_actors.core.resources import Thresholds

Percent = Annotated[float, Meta(ge=0, le=100)]

LOW_BATTERY: Final = 20.0
"""Percent under which a machine that runs on its battery is taken for constrained."""


class WhatIf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``oblix.what_if`` of a route request: ``connectivity`` is a state, the others percent in use, or of charge."""

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
        network = Network(what_if.connectivity, _TARGETS[what_if.connectivity], ("what if",), routes)
    return msgspec.structs.replace(snapshot, network=network, machine=_machine(what_if, snapshot.machine, thresholds))


_TARGETS: Final = {"optimal": "cloud", "degraded": "hybrid", "disconnected": "local"}


def _machine(what_if: WhatIf, machine: Machine, limits: Thresholds) -> Machine:
    figures = (
        ("cpu", what_if.cpu, limits.cpu_threshold, limits.critical_cpu),
        ("memory", what_if.memory, limits.memory_threshold, limits.critical_memory),
        ("gpu", what_if.gpu, limits.gpu_threshold, limits.critical_gpu),
    )
    reasons: list[str] = []
    critical = False
    for name, value, limit, worst in figures:
        if value is not None and value > limit:
            critical = critical or value > worst
            reasons.append(f"what if: {name} {value:g} % > {worst if value > worst else limit:g} %")
    on_battery = machine.on_battery
    if what_if.battery is not None:
        on_battery = True
        if what_if.battery < LOW_BATTERY:
            reasons.append(f"what if: battery {what_if.battery:g} % < {LOW_BATTERY:g} %")
    if all(value is None for value in (what_if.cpu, what_if.memory, what_if.gpu, what_if.battery)):
        return machine
    if not reasons:
        target = "local_cpu" if machine.target == "cloud" else machine.target
        return msgspec.structs.replace(
            machine, state="available", target=target, reasons=("what if",), on_battery=on_battery
        )
    state: Literal["critical", "constrained"] = "critical" if critical else "constrained"
    return msgspec.structs.replace(machine, state=state, target="cloud", reasons=tuple(reasons), on_battery=on_battery)
