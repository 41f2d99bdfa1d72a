"""What could answer: providers, their models, and how they are at the moment.

A :class:`ProviderState` is made by that provider's worker and by nobody else; the router and the
front only read it.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Kind = Literal["openai", "ollama", "anthropic", "embedded", "scripted"]
Locality = Literal["local", "lan", "cloud"]
Status = Literal["ready", "starting", "down", "absent"]
"""``ready``: would answer now. ``starting``: not asked yet. ``down``: configured and not reachable.
``absent``: looked for on its default port and not there (only for providers nobody configured)."""

LOCALITY_RANK: Final[dict[str, int]] = {"local": 0, "lan": 1, "cloud": 2}


class Model(msgspec.Struct, frozen=True):
    """One model of a provider.

    ``capabilities`` and ``context`` (tokens) are ``None`` where nobody knows; ``loaded`` says whether its
    weights are in memory now; ``chat`` is false for models that only embed, transcribe or draw.
    """

    id: str
    capabilities: frozenset[str] | None = None
    context: int | None = None
    loaded: bool | None = None
    size_bytes: int | None = None
    chat: bool = True


class ProviderState(msgspec.Struct, frozen=True, kw_only=True):
    """One provider as its worker sees it.

    ``order`` is its place in the config; ``last_resort`` ranks it behind all others for ``auto``;
    ``reason`` says why it is not ready; ``slots`` is how many requests it takes at once.
    """

    name: str
    kind: Kind
    locality: Locality
    order: int
    status: Status = "starting"
    reason: str = ""
    models: tuple[Model, ...] = ()
    last_resort: bool = False
    running: int = 0
    waiting: int = 0
    slots: int = 1


class Candidate(msgspec.Struct, frozen=True):
    """A model that may serve a request, and why it stands where it stands."""

    provider: str
    model: str
    locality: Locality
    reason: str

    @property
    def name(self) -> str:
        """``provider:model``."""
        return f"{self.provider}:{self.model}"


class Excluded(msgspec.Struct, frozen=True):
    """A model that may not, and the rule that says so."""

    provider: str
    model: str
    rule: str
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """Candidates, best first, and what was left out."""

    candidates: tuple[Candidate, ...]
    excluded: tuple[Excluded, ...] = ()
