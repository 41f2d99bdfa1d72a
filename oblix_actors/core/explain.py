"""A decision as JSON that a person can read: for ``/v1/route``, ``/v1/decisions`` and the ``oblix`` field of answers.

Names are the original's: ``routing_decision.{resource_routing,connectivity_routing}.{state,target,reason}`` and the
``metrics``. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oblix_actors.core.decision import AttemptRecord, Decision, Plan, Price, Routing
from oblix_actors.core.events import Usage


class Metrics(msgspec.Struct, frozen=True):
    """Seconds and tokens of one answer, as the client saw it."""

    time_to_first_token: float | None
    total_latency: float
    input_tokens: int
    output_tokens: int
    estimated: bool = False

    def body(self) -> dict[str, Any]:
        """JSON-ready. ``tokens_per_second`` is of the time after the first token."""
        decoding = None if self.time_to_first_token is None else self.total_latency - self.time_to_first_token
        rate = round((self.output_tokens - 1) / decoding, 2) if decoding and self.output_tokens > 1 else None
        first = self.time_to_first_token
        return {
            "time_to_first_token": None if first is None else round(first, 4),
            "tokens_per_second": rate,
            "total_latency": round(self.total_latency, 4),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "estimated": self.estimated,
        }


def measured(usage: Usage, *, first: float | None, total: float) -> Metrics:
    """The metrics of an answer whose first token came after ``first`` seconds and whose end after ``total``."""
    return Metrics(first, total, usage.input_tokens, usage.output_tokens, usage.estimated)


def explain_plan(plan: Plan) -> dict[str, Any]:
    """``routing_decision``, and every model that was weighed: candidates best first, then those left out.

    ``expected_seconds`` is to the end of the answer, ``expected_cost`` in US dollars; both, and ``score`` (lower is
    better), are null where ``excluded`` names the rule. ``provider:*`` is a provider whose models nobody knows.
    """
    return {
        "routing_decision": {
            "policy": plan.policy,
            "target": plan.target,
            "reason": plan.reason,
            "privacy": plan.privacy,
            "privacy_reason": plan.privacy_reason,
            "resource_routing": _routing(plan.resource_routing),
            "connectivity_routing": _routing(plan.connectivity_routing),
            "warming": None if plan.warm is None else plan.warm.name,
        },
        "candidates": [
            *(
                {
                    "model": entry.candidate.name,
                    "locality": entry.candidate.locality,
                    "score": entry.score,
                    "reason": entry.candidate.reason,
                    "expected_seconds": entry.seconds,
                    "expected_cost": entry.cost,
                    "excluded": None,
                }
                for entry in plan.ranked
            ),
            *(
                {
                    "model": f"{item.provider}:{item.model or '*'}" if item.provider else item.model,
                    "locality": item.locality,
                    "score": None,
                    "reason": item.reason,
                    "expected_seconds": None,
                    "expected_cost": None,
                    "excluded": item.rule,
                }
                for item in plan.excluded
            ),
        ],
    }


def explain_decision(decision: Decision) -> dict[str, Any]:
    """One decision and what became of it, for the list of decisions."""
    return {
        "id": decision.job,
        "created": decision.at,
        "asked": decision.asked,
        "served": decision.served,
        "outcome": decision.outcome,
        "attempts": [_attempt(attempt) for attempt in decision.attempts],
        **explain_plan(decision.plan),
    }


def explain_answer(decision: Decision, metrics: Metrics, usage: Usage) -> dict[str, Any]:
    """The ``oblix`` field of a response: the decision, its attempts, the metrics and the cost in US dollars."""
    price = decision.attempts[-1].price if decision.attempts else Price()
    return {
        **explain_plan(decision.plan),
        "attempts": [_attempt(attempt) for attempt in decision.attempts],
        "metrics": metrics.body(),
        "cost": round(price.of(usage.input_tokens, usage.output_tokens), 8),
    }


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "model": attempt.model,
        "reason": attempt.reason,
        "error": attempt.error,
        "message": attempt.message,
    }


def _routing(routing: Routing) -> dict[str, Any]:
    return {"state": routing.state, "target": routing.target, "reason": routing.reason}
