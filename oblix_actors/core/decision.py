"""What a decision is made from and what it looks like: the snapshot that goes in, the plan that comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from oblix_actors.core.catalogue import LOCALITY_RANK, Candidate, Locality
from oblix_actors.core.resources import Against
from oblix_actors.core.timing import Speed

Privacy = Literal["local", "lan", "any"]
PRIVACY_RANK: Final[dict[Privacy, int]] = {"local": 0, "lan": 1, "any": 2}
"""How far a request may travel: on this machine, on the local network, anywhere."""

MachineState = Literal["available", "constrained", "critical"]
NetworkState = Literal["optimal", "degraded", "disconnected"]


def may_go(privacy: Privacy, locality: Locality) -> bool:
    """Whether a request fenced by ``privacy`` may be given to a provider of ``locality``."""
    return LOCALITY_RANK[locality] <= PRIVACY_RANK[privacy]


def stricter(first: Privacy, second: Privacy) -> Privacy:
    """The narrower of two fences."""
    return first if PRIVACY_RANK[first] <= PRIVACY_RANK[second] else second


class Machine(msgspec.Struct, frozen=True):
    """What the resource monitor says. Memory is in bytes, ``None`` where nobody knows; ``against`` is what ``state``
    was made of."""

    state: MachineState = "available"
    target: str = "local_cpu"
    reasons: tuple[str, ...] = ()
    memory_available: int | None = None
    on_battery: bool = False
    memory_total: int | None = None
    against: tuple[Against, ...] = ()


class Network(msgspec.Struct, frozen=True):
    """What the connectivity monitor says; ``routes`` has a state for ``loopback``, ``lan`` and ``internet``."""

    state: NetworkState = "optimal"
    target: str = "cloud"
    reasons: tuple[str, ...] = ()
    routes: Mapping[str, str] = {}


class Resting(msgspec.Struct, frozen=True):
    """A provider, or one model of it, that failed lately: it ranks behind the others until ``until`` (trio's clock)."""

    until: float
    reason: str


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens."""

    input: float = 0.0
    output: float = 0.0

    def of(self, prompt: int, answer: int) -> float:
        """US dollars for ``prompt`` and ``answer`` tokens."""
        return (self.input * prompt + self.output * answer) / 1_000_000


Name = tuple[str, str]
"""A provider's name and a model's."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision depends on besides the request, the catalogue and the time.

    ``speeds``, ``prices`` and ``quality`` (0…1) are per model; ``cached`` is how many prompt tokens of this
    conversation each model has in its cache; ``fence`` is the request's privacy from every source, and why.
    """

    machine: Machine = Machine()
    network: Network = Network()
    rests: Mapping[tuple[str, str | None], Resting] = {}
    speeds: Mapping[Name, Speed] = {}
    prices: Mapping[Name, Price] = {}
    quality: Mapping[Name, float] = {}
    cached: Mapping[Name, int] = {}
    fence: Privacy = "any"
    fence_reason: str = "no rule restricts it"
    warm_behind: bool = True


class Routing(msgspec.Struct, frozen=True):
    """One half of the original's precedence: what one monitor says, and where that alone would send the request."""

    state: str
    target: str
    reason: str


class Excluded(msgspec.Struct, frozen=True, gc=False):
    """A model that may not answer: the rule that says so, and why in words.

    ``model`` is empty where a whole provider is out and nobody knows its models; ``provider`` and ``locality`` are
    where nobody has the model.
    """

    provider: str
    model: str
    rule: str
    reason: str
    locality: Locality | None = None


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """A model that may: ``score`` is what the policy compares (lower is better), ``seconds`` its expected time to the
    whole answer, ``cost`` its expected price in US dollars."""

    candidate: Candidate
    score: float
    seconds: float
    cost: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The decision: ``ranked`` best first. ``warm`` is a cold local model that is worth loading behind this answer."""

    policy: str = "balanced"
    target: str = "local"
    reason: str = ""
    resource_routing: Routing = Routing("available", "local_cpu", "")
    connectivity_routing: Routing = Routing("optimal", "cloud", "")
    privacy: Privacy = "any"
    privacy_reason: str = ""
    ranked: tuple[Ranked, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    warm: Candidate | None = None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Who may answer, best first."""
        return tuple(entry.candidate for entry in self.ranked)


class AttemptRecord(msgspec.Struct, frozen=True):
    """One attempt of a job: ``error`` is a code of the taxonomy, ``None`` while it runs and after it has answered."""

    model: str
    reason: str
    price: Price = Price()
    error: str | None = None
    message: str | None = None


class Decision(msgspec.Struct, frozen=True):
    """What was decided for one job and what became of it. ``at`` is Unix seconds; ``served`` is ``provider:model``."""

    job: str
    at: int
    asked: str
    plan: Plan
    attempts: tuple[AttemptRecord, ...] = ()
    served: str | None = None
    outcome: str | None = None
