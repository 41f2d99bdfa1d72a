"""The verdict on the machine: each row is a machine and what is said about it."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.resource_judge import LEAST_SECONDS, JudgeMemory, changing, judge, next_interval
from oblix_actors.core.resources import (
    GpuSample,
    Pressure,
    ResourceReport,
    ResourceSample,
    ResourceState,
    State,
    Target,
    as_json,
    figure,
    percent,
    unknown,
)
from oblix_actors.settings import ResourceMonitorSettings

SETTINGS = ResourceMonitorSettings()
GB = 10**9


def machine(**figures: Any) -> ResourceSample:
    """A quiet machine with 4 cores and 16 GB, and what is different about it."""
    quiet: dict[str, Any] = {"seconds": 1.0, "cores": 4.0, "cpu_percent": 5.0, "own_cpu_percent": 0.0}
    quiet |= {"memory_total": 16 * GB, "memory_percent": 40.0, "own_memory": 0, "load": 0.2, "own_load": 0.0}
    return ResourceSample(taken_at=0.0, **quiet | figures)


def card(use: float | None, **figures: Any) -> GpuSample:
    return GpuSample(name="Card", vendor="nvidia", use_percent=use, memory_total=8 * GB, **figures)


def watched(
    sample: ResourceSample, seconds: float, *, memory: JudgeMemory | None = None, start: float = 100.0
) -> tuple[ResourceState, JudgeMemory]:
    """The verdict when the machine is like ``sample`` for so long, looked at once a second."""
    memory = JudgeMemory() if memory is None else memory
    state, memory = judge(sample, SETTINGS, memory, start)
    for second in range(1, math.ceil(seconds) + 1):
        state, memory = judge(sample, SETTINGS, memory, start + second)
    return state, memory


TABLE: list[tuple[str, ResourceSample, State, Target, str]] = [
    # situation, the machine for six seconds, state, target, (a part of) a reason
    ("nothing happens", machine(), "available", "local_cpu", "cpu 5 % of 4 cores"),
    ("nothing is known", ResourceSample(taken_at=0.0), "available", "local_cpu", "nothing can be measured here"),
    ("the first sample has no rate", machine(cpu_percent=None), "available", "local_cpu", "memory 40 % of 16.0 GB"),
    ("at the threshold", machine(cpu_percent=80.0), "available", "local_cpu", "cpu 80 %"),
    ("others compile", machine(cpu_percent=85.0), "constrained", "cloud", "cpu 85 % > 80 % for 7 s"),
    ("others compile everything", machine(cpu_percent=99.0), "critical", "cloud", "cpu 99 % > 90 % for 7 s"),
    (
        "our own model works",
        machine(cpu_percent=99.0, own_cpu_percent=95.0, load=1.1, own_load=1.0),
        "available",
        "local_cpu",
        "cpu 99 % of 4 cores, 95 % of it ours",
    ),
    (
        "our own model and others",
        machine(cpu_percent=100.0, own_cpu_percent=12.0),
        "constrained",
        "cloud",
        "cpu 88 % > 80 % (without the 12 % of our own jobs) for 7 s",
    ),
    ("memory is short", machine(memory_percent=87.0), "constrained", "cloud", "memory 87 % > 85 % for 6 s"),
    ("memory is out", machine(memory_percent=96.5), "critical", "cloud", "memory 96 % > 95 % for 6 s"),
    (
        "our model is large",
        machine(memory_percent=93.0, own_memory=8 * GB),
        "available",
        "local_cpu",
        "memory 93 % of 16.0 GB",
    ),
    (
        "our model is large and others are larger",
        machine(memory_percent=99.0, own_memory=2 * GB),
        "constrained",
        "cloud",
        "memory 86 % > 85 % (without the 12 % of our own) for 6 s",
    ),
    ("a long queue", machine(load=5.0), "constrained", "cloud", "load 5.0 per core > 4 for 6 s"),
    ("a long queue of our own", machine(load=5.0, own_load=1.0), "available", "local_cpu", "cpu"),
    (
        "memory thrashes",
        machine(pressure=Pressure(memory=35.0, memory_full=2.0)),
        "constrained",
        "cloud",
        "memory pressure 35 % > 20 % for 6 s",
    ),
    (
        "memory thrashes so that nothing runs",
        machine(pressure=Pressure(memory=15.0, memory_full=9.0)),
        "constrained",
        "cloud",
        "full memory pressure 9 % > 5 %",
    ),
    (
        "everybody waits for a core",
        machine(cpu_percent=75.0, pressure=Pressure(cpu=90.0)),
        "constrained",
        "cloud",
        "cpu pressure 90 % > 60 %",
    ),
    (
        "only our own threads wait for a core",
        machine(cpu_percent=95.0, own_cpu_percent=93.0, pressure=Pressure(cpu=90.0)),
        "available",
        "local_cpu",
        "93 % of it ours",
    ),
    ("the disk is slow", machine(pressure=Pressure(io=90.0)), "available", "local_cpu", "cpu"),
    ("swapping", machine(swap_in=9e6, swap_out=9e6), "constrained", "cloud", "swapping 18 MB/s > 10 MB/s"),
    (
        "swapping, and nobody waits for it",
        machine(swap_in=9e6, swap_out=9e6, pressure=Pressure(memory=1.0)),
        "available",
        "local_cpu",
        "cpu",
    ),
    ("a GPU", machine(gpus=(card(3.0),)), "available", "local_gpu", "Card 3 %"),
    ("a GPU that tells nothing", machine(gpus=(card(None),)), "available", "local_gpu", "cpu"),
    ("others play", machine(gpus=(card(90.0),)), "constrained", "cloud", "gpu 90 % > 85 % (Card)"),
    ("others train", machine(gpus=(card(99.0),)), "critical", "cloud", "gpu 99 % > 95 % (Card)"),
    ("one of two is free", machine(gpus=(card(99.0), card(2.0))), "available", "local_gpu", "Card 2 %"),
    ("our job on it", machine(gpus=(card(99.0, own_percent=97.0),)), "available", "local_gpu", "Card 99 %"),
    ("a job of ours, on it perhaps", machine(jobs=1, gpus=(card(99.0),)), "available", "local_gpu", "Card 99 %"),
    (
        "a job of ours, and others on it",
        machine(jobs=1, gpus=(card(99.0, own_percent=1.0),)),
        "critical",
        "cloud",
        "gpu 98 % > 95 %",
    ),
    (
        "a busy display chip is no place for models",
        machine(gpus=(GpuSample(name="Intel", vendor="intel", use_percent=99.0),)),
        "available",
        "local_cpu",
        "cpu",
    ),
    ("Apple's shares memory", machine(gpus=(GpuSample(name="M", vendor="apple"),)), "available", "local_gpu", "cpu"),
    (
        "the battery is low",
        machine(battery_percent=12.0, on_battery=True, charging=False),
        "constrained",
        "cloud",
        "battery 12 % < 20 % and nothing charges it",
    ),
    ("it charges", machine(battery_percent=12.0, on_battery=False, charging=True), "available", "local_cpu", "cpu"),
    ("a full battery", machine(battery_percent=80.0, on_battery=True), "available", "local_cpu", "cpu"),
    ("too hot", machine(throttled=True, temperature=97.0), "constrained", "cloud", "heat throttles the CPU (97 °C)"),
    ("hot", machine(throttled=False, temperature=97.0), "available", "local_cpu", "cpu"),
    (
        "two things at once",
        machine(cpu_percent=95.0, memory_percent=86.0),
        "critical",
        "cloud",
        "memory 86 % > 85 %",
    ),
    (
        "a CPU figure that is nonsense",
        machine(cpu_percent=math.nan, memory_percent=-3.0, load=math.inf),
        "available",
        "local_cpu",
        "nothing can be measured here",
    ),
]


@pytest.mark.parametrize(("what", "sample", "state", "target", "reason"), TABLE, ids=[row[0] for row in TABLE])
def test_table(what: str, sample: ResourceSample, state: State, target: Target, reason: str) -> None:
    verdict, _ = watched(sample, SETTINGS.dwell_seconds + 1)
    assert (verdict.state, verdict.target) == (state, target)
    assert reason in " | ".join(verdict.reasons)


def test_a_figure_over_both_thresholds_is_one_reason() -> None:
    verdict, _ = watched(machine(cpu_percent=95.0), 6)
    assert verdict.reasons == ("cpu 95 % > 90 % for 7 s",)


def test_it_counts_when_the_dwell_time_is_over_and_not_before() -> None:
    late = machine(memory_percent=87.0)
    verdict, memory = judge(late, SETTINGS, JudgeMemory(), 100.0)
    assert verdict.state == "available"
    assert verdict.reasons[-1] == "memory 87 % > 85 % for 0 s, counts after 5 s"
    assert memory.due == 105.0
    verdict, memory = judge(late, SETTINGS, memory, 104.9)
    assert (verdict.state, verdict.since) == ("available", 100.0)
    verdict, memory = judge(late, SETTINGS, memory, 105.0)
    assert (verdict.state, verdict.since, memory.due) == ("constrained", 105.0, None)
    verdict, memory = judge(late, SETTINGS, memory, 117.0)
    assert (verdict.reasons, verdict.since) == (("memory 87 % > 85 % for 17 s",), 105.0)


def test_an_average_speaks_for_the_time_it_covers() -> None:
    verdict, _ = judge(machine(cpu_percent=95.0, seconds=5.0), SETTINGS, JudgeMemory(), 100.0)
    assert verdict.state == "critical"
    verdict, memory = judge(machine(cpu_percent=95.0, seconds=4.0), SETTINGS, JudgeMemory(), 100.0)
    assert (verdict.state, memory.due) == ("available", 101.0)


@pytest.mark.parametrize("figures", [{"cpu_percent": 100.0}, {"memory_percent": 99.0}, {"load": 9.0}])
def test_a_hundred_spikes_flip_nothing(figures: dict[str, float]) -> None:
    memory = JudgeMemory()
    seen = set()
    for second in range(200):
        state, memory = judge(machine(**figures) if second % 2 else machine(), SETTINGS, memory, float(second))
        seen.add(state.state)
    assert seen == {"available"}


def test_a_hundred_pauses_end_nothing() -> None:
    _, memory = watched(machine(cpu_percent=100.0), 6)
    seen = set()
    for second in range(200):
        sample = machine() if second % 2 else machine(cpu_percent=100.0)
        state, memory = judge(sample, SETTINGS, memory, 200.0 + second)
        seen.add(state.state)
    assert seen == {"critical"}


def test_it_ends_a_margin_below_and_after_the_dwell_time() -> None:
    _, memory = watched(machine(cpu_percent=85.0), 6)
    hardly, memory = watched(machine(cpu_percent=77.0), 60, memory=memory, start=200.0)
    assert hardly.state == "constrained"
    assert hardly.reasons == ("cpu was > 80 %, and cpu 77 % is hardly less",)
    soon, memory = judge(machine(cpu_percent=70.0), SETTINGS, memory, 300.0)
    assert soon.reasons == ("cpu was > 80 % until 0 s ago, ends after 5 s",)
    soon, memory = judge(machine(cpu_percent=70.0), SETTINGS, memory, 304.0)
    assert soon.state == "constrained"
    over, _ = judge(machine(cpu_percent=70.0), SETTINGS, memory, 305.0)
    assert (over.state, over.since) == ("available", 305.0)


def test_critical_becomes_constrained_before_it_is_over() -> None:
    _, memory = watched(machine(cpu_percent=99.0), 6)
    better, memory = watched(machine(cpu_percent=83.0), 5, memory=memory, start=200.0)
    assert (better.state, better.target) == ("constrained", "cloud")


def test_a_sensor_that_fails_ends_what_it_said() -> None:
    _, memory = watched(machine(memory_percent=99.0), 6)
    gone, _ = judge(machine(memory_percent=None), SETTINGS, memory, 200.0)
    assert gone.state == "available"


def test_thresholds_are_the_settings() -> None:
    settings = ResourceMonitorSettings(cpu_threshold=3.0, critical_cpu=4.0, dwell_seconds=0.5)
    verdict, memory = judge(machine(), settings, JudgeMemory(), 0.0)
    assert verdict.state == "critical"
    calm = machine(cpu_percent=1.0)
    _, memory = judge(calm, settings, memory, 1.0)
    assert judge(calm, settings, memory, 2.0)[0].state == "available"


# -- the pace


def test_the_pace_grows_while_nothing_happens() -> None:
    pace, paces = 0.0, []
    for _ in range(10):
        pace = next_interval(pace, SETTINGS, lively=False, on_battery=False)
        paces.append(pace)
    assert paces[0] == 0.5
    assert paces == sorted(paces)
    assert paces[-1] == SETTINGS.dwell_seconds / 4
    assert next_interval(pace, SETTINGS, lively=True, on_battery=False) == 0.5
    assert next_interval(pace, SETTINGS, lively=True, on_battery=False, due_in=0.2) == 0.2
    assert next_interval(pace, SETTINGS, lively=True, on_battery=True) == 1.0
    assert next_interval(1e9, SETTINGS, lively=False, on_battery=True) == 2 * SETTINGS.dwell_seconds
    assert next_interval(1e9, ResourceMonitorSettings(check_interval=0.7), lively=False, on_battery=True) == 0.7


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        (machine(), machine(), False),
        (machine(), machine(cpu_percent=30.0), False),
        (machine(), machine(cpu_percent=60.0), True),
        (machine(cpu_percent=60.0), machine(), True),
        (machine(), machine(memory_percent=60.0), True),
        (machine(cpu_percent=None), machine(), False),
        (machine(cpu_percent=math.nan), machine(), False),
    ],
)
def test_what_is_worth_a_closer_look(before: ResourceSample, after: ResourceSample, moves: bool) -> None:
    assert changing(after, before, SETTINGS) is moves


# -- whatever comes

ODD = st.none() | st.floats() | st.integers() | st.just(10**400) | st.just(-(10**400))
ODD_BOOL = st.none() | st.booleans()
FLAGS = {"charging", "on_battery", "throttled"}
GPUS = st.builds(
    GpuSample,
    name=st.text(max_size=5),
    vendor=st.sampled_from(["nvidia", "amd", "intel", "apple"]),
    throttled=ODD_BOOL,
    **{name: ODD for name in GpuSample.__struct_fields__ if name not in {"name", "vendor", "throttled"}},
)
SAMPLES = st.builds(
    ResourceSample,
    taken_at=st.floats(),
    jobs=st.integers(),
    pressure=st.builds(Pressure, **dict.fromkeys(Pressure.__struct_fields__, ODD)),
    gpus=st.lists(GPUS, max_size=3).map(tuple),
    **{
        name: ODD_BOOL if name in FLAGS else ODD
        for name in ResourceSample.__struct_fields__
        if name not in {"taken_at", "jobs", "pressure", "gpus"}
    },
)


@given(st.lists(st.tuples(SAMPLES, st.floats()), min_size=1, max_size=6), st.floats())
def test_no_sample_raises_or_gives_what_json_cannot_hold(
    samples: list[tuple[ResourceSample, float]], asked_at: float
) -> None:
    memory = JudgeMemory()
    for sample, now in samples:
        state, memory = judge(sample, SETTINGS, memory, now)
        assert state.reasons
        text = json.dumps(as_json(ResourceReport(state, sample), asked_at), allow_nan=False)
        assert "nan" not in " ".join(state.reasons)
        assert json.loads(text)["state"] == state.state
        pace = next_interval(now, SETTINGS, lively=bool(memory.over), on_battery=False, due_in=memory.due)
        assert LEAST_SECONDS <= pace <= SETTINGS.check_interval


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 3)), min_size=1, max_size=60))
def test_the_state_never_changes_twice_within_a_dwell_time(steps: list[tuple[float, float]]) -> None:
    """Whatever one figure does, each state that it brings about lasts."""
    memory, now, changes = JudgeMemory(), 0.0, [-math.inf]
    settings = ResourceMonitorSettings(critical_memory=85.0)
    last: State = "available"
    for used, pause in steps:
        state, memory = judge(machine(memory_percent=used), settings, memory, now)
        if state.state != last:
            assert now - changes[-1] >= settings.dwell_seconds
            changes.append(now)
        last = state.state
        now += pause


@given(ODD)
def test_figures(value: float | None) -> None:
    for reading in (figure(value), percent(value)):
        assert reading is None or (math.isfinite(reading) and reading >= 0)
    share = percent(value)
    assert share is None or share <= 100


def test_the_report_before_anything_was_measured() -> None:
    shown = as_json(unknown(10.0), 12.5)
    assert shown["state"] == "available"
    assert shown["target"] == "local_cpu"
    assert shown["reasons"] == ["nothing was measured yet"]
    assert shown["for_seconds"] == shown["sampled_seconds_ago"] == 2.5
    assert shown["cpu_percent"] is None
    assert shown["gpus"] == []


def test_what_health_shows() -> None:
    sample = msgspec.structs.replace(machine(gpus=(card(3.0, memory_free=7 * GB),)), taken_at=99.0)
    state, _ = judge(sample, SETTINGS, JudgeMemory(), 100.0)
    shown = as_json(ResourceReport(state, sample), 101.0)
    assert shown["memory_total"] == 16 * GB
    assert shown["cpu_percent"] == 5.0
    assert shown["gpus"][0]["memory_free"] == 7 * GB
    assert shown["pressure"] == {"cpu": None, "memory": None, "memory_full": None, "io": None}
    assert shown["sampled_seconds_ago"] == 2.0
