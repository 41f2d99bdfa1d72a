"""Whether this machine should take more work: pure judgement of samples against thresholds, with patience.

Every figure is judged by itself, less the part that our own processes cause: a queue says more about our own load
than a full CPU does. A figure counts once it has been over its threshold for the dwell time, and stops to count once
it has been a margin below it for as long, so that spikes flip nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from oblix_actors.core.resources import (
    Against,
    ResourceSample,
    ResourceState,
    State,
    Thresholds,
    figure,
    percent,
    target_of,
)

MARGIN_PERCENT: Final = 5.0
"""Points below its threshold that a share has to fall before it may stop to count."""
MARGIN: Final = 0.9
"""The same for everything that is no share: a part of the threshold."""
CPU_PRESSURE: Final = 60.0
"""Percent of the time in which work waits for a core. Only the others' part of it counts."""
MEMORY_PRESSURE: Final = 20.0
MEMORY_PRESSURE_FULL: Final = 5.0
"""Percent of the time in which some, or all, work waits for memory to be reclaimed or read back: it thrashes."""
SWAP_RATE: Final = 10e6
"""Bytes per second in and out; judged where the system does not tell its pressure."""
LOW_BATTERY: Final = 20.0
"""Percent, while nothing charges it."""
FASTEST_SECONDS: Final = 0.5
LEAST_SECONDS: Final = 0.05
"""No interval between two samples is shorter, whatever the settings say."""
JUMP_PERCENT: Final = 15.0
"""A share that moved by so many points since the last sample is on the move."""

Level = Literal["constrained", "critical"]


class Over(msgspec.Struct, frozen=True):
    """One figure's patience: over its threshold since ``since``; ``counts`` once that was long enough.

    ``below`` is since when a figure that counts is well below its threshold again.
    """

    since: float
    counts: bool = False
    below: float | None = None


class JudgeMemory(msgspec.Struct, frozen=True):
    """What one :func:`judge` hands to the next. ``due`` is when time alone may change the verdict."""

    over: dict[str, Over] = {}
    state: State = "available"
    since: float | None = None
    due: float | None = None


class _Check(NamedTuple):
    """One figure against one threshold. ``over`` it may begin to count, ``well_below`` it may stop to.

    ``shown`` is the figure, ``limit`` the threshold, ``note`` what belongs to both. The figure covers the last
    ``average_of`` seconds.
    """

    key: str
    level: Level
    shown: str
    limit: str
    over: bool
    well_below: bool
    note: str = ""
    average_of: float = 0.0


def judge(
    sample: ResourceSample, settings: Thresholds, memory: JudgeMemory, now: float
) -> tuple[ResourceState, JudgeMemory]:
    """The verdict on ``sample`` at ``now``, and what to hand to the next call."""
    dwell = settings.dwell_seconds
    over: dict[str, Over] = {}
    counted: list[_Check] = []
    waiting: list[str] = []
    due: float | None = None
    for check in _checks(sample, settings):
        entry = _patience(check, memory.over.get(check.key), dwell, now)
        if entry is None:
            continue
        over[check.key] = entry
        if entry.counts:
            counted.append(check)
        else:
            waiting.append(f"{_over(check, entry, now)}, counts after {dwell:g} s")
        turns = entry.below if entry.counts else entry.since
        if turns is not None:
            due = min(due or math.inf, turns + dwell)
    state: State = "available"
    if counted:
        state = "critical" if any(check.level == "critical" for check in counted) else "constrained"
    since = now if memory.since is None or state != memory.state else memory.since
    against = tuple(
        Against(_name(check), check.level, _reason(check, over[check.key], dwell, now)) for check in _strongest(counted)
    )
    reasons = tuple(entry.reason for entry in against) or figures(sample)
    verdict = ResourceState(
        state=state,
        target=target_of(state, sample.gpus),
        reasons=(*reasons, *waiting),
        against=against,
        since=since,
    )
    return verdict, JudgeMemory(over, state, since, due)


def changing(sample: ResourceSample, before: ResourceSample, settings: Thresholds) -> bool:
    """Whether the CPU's or the memory's use moves, somewhere near its threshold: worth a closer look."""
    moves = (
        (sample.cpu_percent, before.cpu_percent, settings.cpu_threshold),
        (sample.memory_percent, before.memory_percent, settings.memory_threshold),
    )
    return any(
        new is not None and old is not None and abs(new - old) > JUMP_PERCENT and max(new, old) > threshold / 2
        for new, old, threshold in ((percent(a), percent(b), threshold) for a, b, threshold in moves)
    )


def next_interval(
    last: float, settings: Thresholds, *, lively: bool, on_battery: bool, due_in: float | None = None
) -> float:
    """Seconds until the next sample, after an interval of ``last``.

    While something is ``lively`` (jobs run, figures move, a dwell time runs) it is a tenth of the dwell time, at most
    half a second; when nothing is, it grows to a quarter of the dwell time, so that what begins is seen in time, and on
    battery to twice the dwell time; never above ``check_interval``. ``due_in`` is when a dwell time ends.
    """
    dwell = settings.dwell_seconds
    fastest = min(FASTEST_SECONDS, dwell / 10) * (2 if on_battery else 1)
    slowest = min(settings.check_interval, dwell * 2 if on_battery else dwell / 4)
    soonest = fastest if due_in is None else min(fastest, due_in)
    pause = soonest if lively else max(fastest, last * 1.5)
    return max(LEAST_SECONDS, min(pause, slowest) if math.isfinite(pause) else slowest)


def figures(sample: ResourceSample) -> tuple[str, ...]:
    """The figures in words, where no reason speaks against the machine."""
    told: list[str] = []
    cpu, memory, own = percent(sample.cpu_percent), percent(sample.memory_percent), percent(sample.own_cpu_percent)
    if cpu is not None:
        of = figure(sample.cores)
        told.append(
            f"cpu {cpu:.0f} %"
            + ("" if of is None else f" of {of:g} cores")
            + (f", {own:.0f} % of it ours" if own is not None and own >= 1 else "")
        )
    if memory is not None:
        total = figure(sample.memory_total)
        told.append(f"memory {memory:.0f} %" + ("" if total is None else f" of {total / 1e9:.1f} GB"))
    for gpu in sample.gpus:
        use = percent(gpu.use_percent)
        if gpu.holds_models and use is not None:
            told.append(f"{gpu.name} {use:.0f} %")
    return tuple(told) or ("nothing can be measured here",)


def _patience(check: _Check, before: Over | None, dwell: float, now: float) -> Over | None:
    """Where one figure's patience goes; ``None`` when it is not over its threshold."""
    if before is None:
        if not check.over:
            return None
        # An average over some seconds that is over the threshold speaks for all of them.
        before = Over(now - check.average_of)
    if not before.counts:
        if not check.over:
            return None
        return Over(before.since, counts=now - before.since >= dwell)
    if not check.well_below:
        return Over(before.since, counts=True)
    below = now if before.below is None else before.below
    return None if now - below >= dwell else Over(before.since, counts=True, below=below)


def _checks(sample: ResourceSample, settings: Thresholds) -> Iterator[_Check]:
    yield from _load_checks(sample, settings)
    yield from _memory_checks(sample, settings)
    yield from _gpu_checks(sample, settings)
    battery = percent(sample.battery_percent)
    if battery is not None and sample.on_battery is not None:
        drains = sample.on_battery and not sample.charging
        low = drains and battery < LOW_BATTERY
        fine = not drains or battery > LOW_BATTERY + MARGIN_PERCENT
        shown, limit = f"battery {battery:.0f} %", f"< {LOW_BATTERY:g} %"
        yield _Check("battery", "constrained", shown, limit, low, fine, " and nothing charges it")
    if sample.throttled is not None:
        heat = figure(sample.temperature)
        shown = "heat throttles the CPU" + ("" if heat is None else f" ({heat:.0f} °C)")
        yield _Check("heat", "constrained", shown, "", sample.throttled, not sample.throttled)


def _load_checks(sample: ResourceSample, settings: Thresholds) -> Iterator[_Check]:
    cpu, own = percent(sample.cpu_percent), percent(sample.own_cpu_percent) or 0.0
    if cpu is not None:
        others = max(0.0, cpu - own)
        note = f" (without the {own:.0f} % of our own jobs)" if own >= 1 else ""
        yield from _shares("cpu", others, settings.cpu_threshold, settings.critical_cpu, note, figure(sample.seconds))
        stalled = percent(sample.pressure.cpu)
        if stalled is not None:
            theirs = stalled * (others / cpu if cpu > 0 else 0.0)
            yield _share("cpu pressure", "constrained", theirs, CPU_PRESSURE)
    load = figure(sample.load)
    if load is not None:
        theirs = max(0.0, load - (figure(sample.own_load) or 0.0))
        limit = settings.load_threshold
        shown = f"load {theirs:.1f} per core"
        yield _Check("load", "constrained", shown, f"> {limit:g}", theirs > limit, theirs < limit * MARGIN)


def _memory_checks(sample: ResourceSample, settings: Thresholds) -> Iterator[_Check]:
    used, total = percent(sample.memory_percent), figure(sample.memory_total)
    if used is not None:
        own = 0.0 if not total else min(used, 100.0 * (figure(sample.own_memory) or 0.0) / total)
        note = f" (without the {own:.0f} % of our own)" if own >= 1 else ""
        yield from _shares("memory", used - own, settings.memory_threshold, settings.critical_memory, note)
    some, full = percent(sample.pressure.memory), percent(sample.pressure.memory_full)
    if some is not None:
        yield _share("memory pressure", "constrained", some, MEMORY_PRESSURE)
    if full is not None:
        yield _share("full memory pressure", "constrained", full, MEMORY_PRESSURE_FULL)
    rates = [rate for rate in (figure(sample.swap_in), figure(sample.swap_out)) if rate is not None]
    if rates and some is None:
        rate = min(sum(rates), 1e18)
        shown, limit = f"swapping {rate / 1e6:.0f} MB/s", f"> {SWAP_RATE / 1e6:g} MB/s"
        yield _Check("swap", "constrained", shown, limit, rate > SWAP_RATE, rate < SWAP_RATE * MARGIN)


def _gpu_checks(sample: ResourceSample, settings: Thresholds) -> Iterator[_Check]:
    """The GPU with the most to spare is judged. What is not known to be others' work is not held against it."""
    free: tuple[float, str] | None = None
    for gpu in sample.gpus:
        use = percent(gpu.use_percent)
        if use is None or not gpu.holds_models:
            continue
        own = percent(gpu.own_percent)
        if own is None:
            own = use if sample.jobs > 0 else 0.0
        free = min(free or (math.inf, ""), (max(0.0, use - own), f" ({gpu.name})"))
    if free is not None:
        yield from _shares("gpu", free[0], settings.gpu_threshold, settings.critical_gpu, free[1])


def _shares(
    name: str, value: float, threshold: float, critical: float, note: str, average_of: float | None = None
) -> Iterator[_Check]:
    yield _share(name, "constrained", value, threshold, note, average_of)
    yield _share(name, "critical", value, critical, note, average_of)


def _share(
    name: str, level: Level, value: float, limit: float, note: str = "", average_of: float | None = None
) -> _Check:
    well_below = value < limit - min(MARGIN_PERCENT, limit * (1 - MARGIN))
    shown, words = f"{name} {value:.0f} %", f"> {limit:g} %"
    return _Check(f"{name} {level}", level, shown, words, value > limit, well_below, note, average_of or 0.0)


def _strongest(counted: list[_Check]) -> list[_Check]:
    """Without the lower threshold of a figure that is over the higher one too."""
    critical = {_name(check) for check in counted if check.level == "critical"}
    return [check for check in counted if check.level == "critical" or _name(check) not in critical]


def _name(check: _Check) -> str:
    return check.key.removesuffix(f" {check.level}")


def _over(check: _Check, entry: Over, now: float) -> str:
    return f"{check.shown} {check.limit}".strip() + f"{check.note} for {_seconds(now - entry.since)}"


def _reason(check: _Check, entry: Over, dwell: float, now: float) -> str:
    """Why a figure counts: it is over its threshold, not far enough below it, or not for long enough."""
    if check.over:
        return _over(check, entry, now)
    was = f"{_name(check)} was {check.limit}{check.note}" if check.limit else f"{_name(check)} was too much"
    if entry.below is None:
        return f"{was}, and {check.shown} is hardly less"
    return f"{was} until {_seconds(now - entry.below)} ago, ends after {dwell:g} s"


def _seconds(seconds: float) -> str:
    return f"{max(0.0, seconds):.0f} s" if math.isfinite(seconds) else "some time"
