"""What is learned of a model's speed, and what is expected of it."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.catalogue import Locality, Model
from oblix_actors.core.timing import BINS, FEW, PRIORS, Quantile, Speed, expect, size_bin

HOT = Model("m", loaded=True)


def learned(times: int = 10, *, first: float = 0.5, rate: float = 50.0, prompt: int = 100) -> Speed:
    """A speed of which ``times`` whole answers were seen."""
    speed = Speed()
    for _ in range(times):
        speed.learn(prompt=prompt, cached=0, answer=101, first=first, total=first + 100 / rate, loaded=True)
    return speed


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("draw", [random.Random(1).random, lambda: random.expovariate(1.0)])
def test_a_quantile_comes_near_the_exact_one_without_keeping_samples(p: float, draw: object) -> None:
    random.seed(7)
    samples = [draw() for _ in range(5000)]  # type: ignore[operator]
    estimate = Quantile(p)
    for sample in samples:
        estimate.add(sample)
    exact = sorted(samples)[int(p * len(samples))]
    assert estimate.value == pytest.approx(exact, rel=0.12)
    assert len(estimate.heights) == 5


@given(st.sampled_from([0.1, 0.5, 0.9, 0.99]), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80))
def test_a_quantile_stays_among_its_samples(p: float, samples: list[float]) -> None:
    estimate = Quantile(p)
    for sample in samples:
        estimate.add(sample)
    assert estimate.value is not None
    assert min(samples) <= estimate.value <= max(samples)
    assert sorted(estimate.heights) == estimate.heights


def test_what_is_no_figure_is_no_sample() -> None:
    estimate = Quantile(0.5)
    for odd in (math.nan, math.inf, -math.inf):
        estimate.add(odd)
    assert (estimate.count, estimate.value) == (0, None)


def test_until_enough_was_seen_the_prior_holds() -> None:
    for times in range(FEW):
        found = expect(learned(times, first=9.0), "cloud", 100, 0, 60, 0.0, HOT)
        assert found == expect(None, "cloud", 100, 0, 60, 0.0, HOT)
    assert expect(learned(FEW, first=9.0), "cloud", 100, 0, 60, 0.0, HOT).first == pytest.approx(9.0)


def test_first_tokens_are_learned_per_size_of_the_prompt() -> None:
    speed = learned(first=0.2, prompt=50)
    for _ in range(10):
        speed.learn(prompt=5000, cached=0, answer=10, first=4.0, total=5.0, loaded=True)
    assert expect(speed, "local", 60, 0, 1, 0.0, HOT).first == pytest.approx(0.2)
    assert expect(speed, "local", 6000, 0, 1, 0.0, HOT).first == pytest.approx(4.0)
    assert [size_bin(size) for size in (0, *BINS)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("what", "slower", "quicker"),
    [
        ("a longer answer", {"answer": 400}, {}),
        ("a queue", {"ahead": 3.0}, {}),
        ("a cold model", {"model": Model("m", loaded=False)}, {}),
        (
            "a big cold model",
            {"model": Model("m", loaded=False, size_bytes=9 * 10**9)},
            {"model": Model("m", loaded=False)},
        ),
        ("an empty cache", {"prompt": 9000}, {"prompt": 9000, "cached": 8900}),
    ],
)
def test_what_takes_longer(what: str, slower: dict[str, object], quicker: dict[str, object]) -> None:
    usual: dict[str, object] = {"prompt": 100, "cached": 0, "answer": 100, "ahead": 0.0, "model": HOT}
    times = [expect(None, "local", **{**usual, **change}).total for change in (slower, quicker)]  # type: ignore[arg-type]
    assert times[0] > times[1], what


def test_a_load_is_learned_apart_from_the_pace() -> None:
    speed = learned(first=0.2)
    speed.learn(prompt=100, cached=0, answer=50, first=12.0, total=13.0, loaded=False)
    assert expect(speed, "local", 100, 0, 1, 0.0, HOT).first == pytest.approx(0.2)
    assert expect(speed, "local", 100, 0, 1, 0.0, Model("m", loaded=False)).first == pytest.approx(12.2)


figures = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), figures, figures, st.none() | st.booleans())),
    st.sampled_from(sorted(PRIORS)),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_nothing_that_was_measured_makes_an_odd_expectation(
    answers: list[tuple[int, int, float, float, bool | None]], locality: Locality, prompt: int, cached: int
) -> None:
    speed = Speed()
    for size, answer, first, total, loaded in answers:
        speed.learn(prompt=size, cached=0, answer=answer, first=first, total=total, loaded=loaded)
    found = expect(speed, locality, prompt, cached, 100, 0.0, HOT)
    assert 0 <= found.first <= found.total
    assert math.isfinite(found.total)
    assert msgspec.json.decode(msgspec.json.encode(speed), type=Speed) == speed
