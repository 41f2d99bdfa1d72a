"""How long an answer will take: rates learned per model, with priors until something is learned. Pure.

Learned are: the wait for the first token per prompt-size bin, prefill and decode rates, load times. Kept
are exponentially weighted means and P² quantiles (Jain and Chlamtac, 1985), so that a model costs a few
hundred bytes for ever.
"""

from __future__ import annotations

from bisect import bisect_right
from math import isfinite
from typing import Final

import msgspec

from oblix_actors.core.catalogue import Locality, Model

BINS: Final = (256, 1024, 4096, 16384)
"""Edges of the prompt-size bins, in tokens: a long prompt says nothing of a short one's first token."""
WEIGHT: Final = 0.2
"""How much the newest sample counts in a mean."""
SHORTEST: Final = 1e-6
"""Seconds: what is measured to be quicker was not measured."""
FEW: Final = 3
"""So many samples replace a prior."""


class Prior(msgspec.Struct, frozen=True):
    """What is believed of a model nobody has measured: rates in tokens per second, ``overhead`` and ``load`` in s."""

    prefill: float
    decode: float
    overhead: float
    load: float


PRIORS: Final[dict[Locality, Prior]] = {
    "local": Prior(prefill=200.0, decode=20.0, overhead=0.05, load=5.0),
    "lan": Prior(prefill=600.0, decode=30.0, overhead=0.1, load=5.0),
    "cloud": Prior(prefill=3000.0, decode=60.0, overhead=0.6, load=0.0),
}
LOAD_BYTES_PER_SECOND: Final = 500e6
"""A disk's pace: what the load of a model of known size is expected to take before it was measured."""


class Quantile(msgspec.Struct):
    """A running estimate of one quantile by the P² algorithm: five markers, no samples kept."""

    p: float
    count: int = 0
    heights: list[float] = []
    positions: list[float] = []

    def add(self, value: float) -> None:
        """Take in one sample; what is not a finite number is no sample."""
        if not isfinite(value):
            return
        self.count += 1
        if self.count <= 5:
            self.heights = sorted([*self.heights, value])
            self.positions = [1.0, 2.0, 3.0, 4.0, 5.0][: self.count]
            return
        heights, positions = self.heights, self.positions
        if value < heights[0]:
            heights[0] = value
        elif value >= heights[4]:
            heights[4] = value
        cell = min(max(bisect_right(heights, value), 1), 4)
        for index in range(cell, 5):
            positions[index] += 1
        p = self.p
        span = self.count - 1
        wanted = (1.0, 1 + span * p / 2, 1 + span * p, 1 + span * (1 + p) / 2, float(self.count))
        for index in (1, 2, 3):
            gap = wanted[index] - positions[index]
            if (gap >= 1 and positions[index + 1] - positions[index] > 1) or (
                gap <= -1 and positions[index - 1] - positions[index] < -1
            ):
                self._move(index, 1 if gap > 0 else -1)

    def _move(self, index: int, step: int) -> None:
        """Move one marker by one place: parabolically, or in a straight line where the parabola leaves the order."""
        q, n = self.heights, self.positions
        left, right = n[index] - n[index - 1], n[index + 1] - n[index]
        parabola = q[index] + step / (left + right) * (
            (left + step) * (q[index + 1] - q[index]) / right + (right - step) * (q[index] - q[index - 1]) / left
        )
        if q[index - 1] < parabola < q[index + 1]:
            q[index] = parabola
        else:
            q[index] += step * (q[index + step] - q[index]) / (n[index + step] - n[index])
        n[index] += step

    @property
    def value(self) -> float | None:
        """The estimate, or ``None`` before the first sample."""
        if not self.heights:
            return None
        if self.count <= 5:
            return self.heights[min(int(self.p * self.count), self.count - 1)]
        return self.heights[2]


class Pace(msgspec.Struct, frozen=True):
    """What one whole answer showed: tokens, seconds to its first and its last, and whether the model was in memory."""

    prompt: int
    cached: int
    answer: int
    first: float
    total: float
    loaded: bool | None = None


class Speed(msgspec.Struct):
    """What is known of one model's pace. Times are seconds, rates tokens per second; ``None`` is not measured yet."""

    prefill: float | None = None
    decode: float | None = None
    load: float | None = None
    samples: int = 0
    first_token: list[float | None] = []
    first_token_p90: list[Quantile] = []
    between_p99: Quantile = msgspec.field(default_factory=lambda: Quantile(0.99))

    def learn(self, *, prompt: int, cached: int, answer: int, first: float, total: float, loaded: bool | None) -> None:
        """Take in one answer: ``prompt`` tokens of which ``cached`` were not computed, ``answer`` tokens,
        ``first`` and ``total`` seconds. The first token of a model that had to load says how long loading takes."""
        if not (isfinite(first) and isfinite(total)) or first < SHORTEST or total < first:
            return
        if loaded is False:
            self.load = _mean(self.load, first)
            return
        self.samples += 1
        if not self.first_token:
            self.first_token = [None] * (len(BINS) + 1)
            self.first_token_p90 = [Quantile(0.9) for _ in range(len(BINS) + 1)]
        place = size_bin(prompt)
        self.first_token[place] = _mean(self.first_token[place], first)
        self.first_token_p90[place].add(first)
        computed = max(prompt - cached, 1)
        self.prefill = _mean(self.prefill, computed / first)
        if answer > 1 and total - first >= SHORTEST:
            self.decode = _mean(self.decode, (answer - 1) / (total - first))


def size_bin(prompt: int) -> int:
    """Which of the :data:`BINS` a prompt of so many tokens falls into."""
    return bisect_right(BINS, prompt)


def _mean(old: float | None, new: float) -> float:
    return new if old is None else old + WEIGHT * (new - old)


class Expected(msgspec.Struct, frozen=True, gc=False):
    """Seconds until an answer's first token, and until its last."""

    first: float
    total: float


def expect(
    speed: Speed | None, locality: Locality, prompt: int, cached: int, answer: int, ahead: float, model: Model
) -> Expected:
    """What an answer of ``answer`` tokens will take.

    ``ahead`` is how many requests per slot run or wait before this one; each is taken to need as long as
    this one's decoding.
    """
    prior = PRIORS[locality]
    decode, prefill, first = prior.decode, prior.prefill, None
    if speed is not None and speed.samples >= FEW:
        decode, prefill = speed.decode or decode, speed.prefill or prefill
        if speed.first_token and not cached:
            first = speed.first_token[bisect_right(BINS, prompt)]
    if first is None:
        first = prior.overhead + max(prompt - cached, 0) / prefill
    decoding = answer / decode
    if model.loaded is False:
        load = speed.load if speed is not None else None
        if load is None:
            load = _load_time(prior, locality, model)
        first += load
    if ahead:
        first += ahead * decoding
    return Expected(first, first + decoding)


def _load_time(prior: Prior, locality: Locality, model: Model) -> float:
    """What loading a model takes before it was measured: reading its file, where that is here."""
    if locality != "local" or model.size_bytes is None:
        return prior.load
    return 0.5 + model.size_bytes / LOAD_BYTES_PER_SECOND
