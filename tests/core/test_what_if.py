"""A snapshot with parts replaced: whatever is supposed, the rest stays and the result is a sane machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.decision import Machine, Network, Snapshot
from oblix_actors.core.resources import Against
from oblix_actors.core.what_if import WhatIf, apply
from oblix_actors.settings import ResourceMonitorSettings

SETTINGS = ResourceMonitorSettings()
HOT = Against("heat", "constrained", "heat throttles the CPU")
LOADED = Against("load", "constrained", "load 5.0 per core > 4")
BUSY = Against("cpu", "critical", "cpu 99 % > 90 % for 9 s")
SHORT = Against("memory", "critical", "memory 97 % > 95 % for 9 s")
THRASHING = Against("full memory pressure", "constrained", "full memory pressure 9 % > 5 %")
FLAT = Against("battery", "constrained", "battery 9 % < 20 % and nothing charges it")


def machine(*against: Against, target: str = "cloud") -> Machine:
    levels = {entry.level for entry in against}
    state = "critical" if "critical" in levels else "constrained" if against else "available"
    return Machine(state, target, tuple(entry.reason for entry in against), against=against)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "what_if", "state", "figures"),
    [
        (machine(BUSY, LOADED), WhatIf(cpu=10), "available", []),
        (machine(BUSY, SHORT), WhatIf(cpu=10), "critical", ["memory"]),
        (machine(BUSY, HOT), WhatIf(cpu=10), "constrained", ["heat"]),
        (machine(SHORT, THRASHING), WhatIf(memory=10), "available", []),
        (machine(FLAT), WhatIf(battery=100), "available", []),
        (machine(FLAT), WhatIf(cpu=85), "constrained", ["battery", "cpu"]),
        (machine(SHORT), WhatIf(memory=90), "constrained", ["memory"]),
        (machine(), WhatIf(gpu=99, cpu=85), "critical", ["cpu", "gpu"]),
    ],
)
def test_what_is_not_replaced_stays(before: Machine, what_if: WhatIf, state: str, figures: list[str]) -> None:
    after = apply(what_if, Snapshot(machine=before), SETTINGS).machine
    assert after.state == state
    assert [entry.figure for entry in after.against] == figures
    assert after.target == ("local_cpu" if state == "available" else "cloud")


def test_a_gpu_is_still_there_afterwards() -> None:
    snapshot = Snapshot(machine=machine(target="local_gpu"))
    assert apply(WhatIf(cpu=10), snapshot, SETTINGS).machine.target == "local_gpu"
    assert apply(WhatIf(cpu=95), snapshot, SETTINGS).machine.target == "cloud"


def test_other_routes_are_left_alone() -> None:
    routes = {"loopback": "optimal", "lan": "disconnected", "internet": "optimal"}
    snapshot = Snapshot(network=Network(routes=routes))
    network = apply(WhatIf(connectivity="degraded"), snapshot, SETTINGS).network
    assert network.routes == {**routes, "internet": "degraded"}


percent = st.none() | st.floats(0, 100)


@given(
    what_if=st.builds(WhatIf, cpu=percent, memory=percent, gpu=percent, battery=percent),
    against=st.lists(st.sampled_from([HOT, LOADED, BUSY, SHORT, THRASHING, FLAT]), unique=True),
    total=st.none() | st.integers(0, 2**50),
)
def test_whatever_is_supposed_the_state_is_what_its_reasons_say(
    what_if: WhatIf, against: list[Against], total: int | None
) -> None:
    import msgspec

    before = msgspec.structs.replace(machine(*against), memory_total=total, memory_available=total)
    after = apply(what_if, Snapshot(machine=before), SETTINGS).machine
    levels = {entry.level for entry in after.against}
    assert after.state == ("critical" if "critical" in levels else "constrained" if levels else "available")
    assert all(entry.reason in after.reasons for entry in after.against)
    assert (after.target == "cloud") == bool(after.against) or what_if == WhatIf()
    assert after.memory_available is None or 0 <= after.memory_available <= (total or 0)
