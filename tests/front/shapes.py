"""The shapes of what the server says about its decisions: every field, with its type, and no other."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")
Figure = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Words = Annotated[str, Meta(min_length=1)]
ModelName = Annotated[str, Meta(pattern="^[^:]+:.+$")]


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """No field may be missing, none may be there that is not named."""


class ResourceRouting(Shape):
    state: Literal["available", "constrained", "critical"]
    target: Literal["local_cpu", "local_gpu", "cloud"]
    reason: str


class ConnectivityRouting(Shape):
    state: Literal["optimal", "degraded", "disconnected"]
    target: Literal["local", "hybrid", "cloud"]
    reason: str


class RoutingDecision(Shape):
    policy: Words
    target: Literal["local", "cloud"]
    reason: Words
    privacy: Literal["local", "lan", "any"]
    privacy_reason: Words
    resource_routing: ResourceRouting
    connectivity_routing: ConnectivityRouting
    warming: ModelName | None


class Candidate(Shape):
    """One that may answer has figures; one that is out has a rule."""

    model: str
    locality: Literal["local", "lan", "cloud"] | None
    score: float | None
    reason: Words
    expected_seconds: Figure | None
    expected_cost: Figure | None
    excluded: Words | None

    def __post_init__(self) -> None:
        figures = (self.score, self.expected_seconds, self.expected_cost)
        assert all((figure is None) == (self.excluded is not None) for figure in figures)


class Plan(Shape):
    routing_decision: RoutingDecision
    candidates: list[Candidate]

    @property
    def ranked(self) -> list[str]:
        return [candidate.model for candidate in self.candidates if candidate.excluded is None]

    @property
    def out(self) -> dict[str, str]:
        return {candidate.model: candidate.excluded for candidate in self.candidates if candidate.excluded is not None}


class Attempt(Shape):
    model: ModelName
    reason: Words
    error: Words | None
    message: Words | None


class Metrics(Shape):
    time_to_first_token: Figure | None
    tokens_per_second: Figure | None
    total_latency: Figure
    input_tokens: Count
    output_tokens: Count
    estimated: bool


class Answer(Shape):
    """The ``oblix`` field of a response."""

    routing_decision: RoutingDecision
    candidates: list[Candidate]
    attempts: list[Attempt]
    metrics: Metrics
    cost: Figure


class Decision(Shape):
    """One entry of ``/v1/decisions``."""

    id: Annotated[str, Meta(pattern="^chatcmpl-")]
    created: Annotated[int, Meta(gt=1_700_000_000)]
    asked: Words
    served: ModelName | None
    outcome: Words | None
    attempts: list[Attempt]
    routing_decision: RoutingDecision
    candidates: list[Candidate]


class Mailbox(Shape):
    depth: Count
    size: Count
    refused: Count


class Agent(Shape):
    """One entry of ``/v1/agents``."""

    name: Words
    state: Literal["starting", "running", "restarting", "stopped"]
    seconds: Figure
    restarts: Count
    last_error: Words | None
    mailbox: Mailbox | None
    sample: dict[str, Any] | None


def read(value: Any, shape: type[T]) -> T:
    """``value`` as ``shape``. What follows the last candidate that may answer are only those that may not."""
    made = msgspec.convert(value, shape)
    excluded = [candidate.excluded is not None for candidate in getattr(made, "candidates", ())]
    assert excluded == sorted(excluded)
    return made
