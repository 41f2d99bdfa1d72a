"""How long one routing decision takes: the pure :func:`oblix_actors.core.policy.plan`, by the number of candidates.

Every provider has as many models as `auto` considers of one.
"""

from __future__ import annotations

import timeit
from typing import Final

from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.decision import Network, Price, Snapshot
from oblix_actors.core.names import AUTO_MODELS
from oblix_actors.core.policy import plan
from oblix_actors.core.timing import Speed

CANDIDATES: Final = (1, 10, 50, 200)
GOAL_MICROSECONDS: Final = 100
ROUNDS: Final = 7


def main() -> None:
    """Print microseconds for each number of candidates: the best of a few rounds, and per candidate."""
    print(f"{'candidates':>12} {'µs a decision':>15} {'µs a candidate':>15}   (goal: {GOAL_MICROSECONDS} µs for 50)")
    for count in CANDIDATES:
        microseconds = measure(count)
        print(f"{count:12} {microseconds:15.1f} {microseconds / count:15.2f}")


def measure(count: int) -> float:
    """The time of one decision among ``count`` models, each with a learned speed and a price."""
    localities = ("local", "lan", "cloud")
    catalogue = tuple(
        ProviderState(
            name=f"provider{number}",
            kind="openai",
            locality=localities[number % 3],  # type: ignore[arg-type]
            order=number,
            status="ready",
            models=tuple(
                Model(f"model{place}", frozenset({"tools"}), 32_768, loaded=True, size_bytes=4_000_000_000)
                for place in range(min(AUTO_MODELS, count - number * AUTO_MODELS))
            ),
        )
        for number in range(-(-count // AUTO_MODELS))
    )
    speeds = {}
    for state in catalogue:
        for model in state.models:
            speed = speeds[state.name, model.id] = Speed()
            for _ in range(10):
                speed.learn(prompt=100, cached=0, answer=100, first=0.3, total=2.0, loaded=True)
    snapshot = Snapshot(
        network=Network(routes={"loopback": "optimal", "lan": "optimal", "internet": "optimal"}),
        speeds=speeds,
        prices=dict.fromkeys(speeds, Price(1, 4)),
    )
    request = ChatRequest(model="auto", messages=(Message("user", "word " * 50),), needs=frozenset({"tools"}))
    timer = timeit.Timer(lambda: plan(request, snapshot, catalogue, 0.0))
    number, _ = timer.autorange()
    return min(timer.repeat(ROUNDS, number)) / number * 1e6


if __name__ == "__main__":
    main()
