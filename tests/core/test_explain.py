"""Decisions as JSON: what is shown of rates and prices, and that an odd option ends nothing but itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import AttemptRecord, Decision, Price, Snapshot
from oblix_actors.core.events import Usage
from oblix_actors.core.explain import explain_answer, explain_plan, measured
from oblix_actors.core.policy import nobody, plan

CLOUD = ProviderState(
    name="sky", kind="openai", locality="cloud", order=0, status="ready", models=(Model("gpt-4o"), Model("gpt-5"))
)
DOWN = ProviderState(name="off", kind="ollama", locality="lan", order=1, status="down", reason="connection refused")


def ask(**body: Any) -> ChatRequest:
    return ChatRequest(model="auto", messages=(), body=body)


@pytest.mark.parametrize(
    ("usage", "first", "total", "rate"),
    [
        (Usage(5, 11), 1.0, 3.0, 5.0),  # ten tokens in the two seconds after the first
        (Usage(5, 1), 1.0, 3.0, None),
        (Usage(5, 0), None, 3.0, None),
        (Usage(5, 11), 3.0, 3.0, None),  # all at once: nobody knows
    ],
)
def test_a_rate_is_of_the_time_after_the_first_token(
    usage: Usage, first: float | None, total: float, rate: float | None
) -> None:
    body = measured(usage, first=first, total=total).body()
    assert body["tokens_per_second"] == rate
    assert body["total_latency"] == 3.0


def test_the_last_attempt_is_paid() -> None:
    attempts = (
        AttemptRecord("a:b", "x", Price(100.0, 100.0), "upstream_reset"),
        AttemptRecord("c:d", "y", Price(1, 2)),
    )
    decision = Decision("id", 0, "auto", plan(ask(), Snapshot(), (CLOUD,), 0.0), attempts)
    usage = Usage(1_000_000, 500_000)
    metrics = measured(usage, first=None, total=1.0)
    assert explain_answer(decision, metrics, usage)["cost"] == 2.0
    assert explain_answer(msgspec.structs.replace(decision, attempts=()), metrics, usage)["cost"] == 0.0


def test_every_entry_has_the_same_fields() -> None:
    request = ask(oblix={"max_cost": 0.001})
    prices = {("sky", "gpt-4o"): Price(1000.0, 1000.0)}
    shown = explain_plan(plan(request, Snapshot(prices=prices), (CLOUD, DOWN), 0.0))
    assert [(entry["model"], entry["excluded"]) for entry in shown["candidates"]] == [
        ("sky:gpt-5", None),
        ("sky:gpt-4o", "budget"),
        ("off:*", "health"),
    ]
    assert len({frozenset(entry) for entry in shown["candidates"]}) == 1
    json.dumps(shown, allow_nan=False)


@pytest.mark.parametrize("limit", [10**400, -(10**400), 1e308, -1e308, True, "1", None, []])
def test_no_limit_is_too_odd_to_be_weighed(limit: Any) -> None:
    made = plan(ask(oblix={"max_cost": limit}), Snapshot(), (CLOUD,), 0.0)
    assert len(made.ranked) + len(made.excluded) == 2


def test_a_provider_of_which_nothing_is_known_changes_no_error() -> None:
    for catalogue in ((DOWN,), (msgspec.structs.replace(CLOUD, models=()), DOWN)):
        request = ask()
        error = nobody(request, plan(request, Snapshot(), catalogue, 0.0), catalogue)
        assert error.code == "no_model_available"
        assert "off: connection refused" in error.message
