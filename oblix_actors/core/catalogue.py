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

LOCALITY_RANK: Final[dict[Locality, int]] = {"local": 0, "lan": 1, "cloud": 2}


class Model(msgspec.Struct, frozen=True):
    """One model of a provider.

    ``capabilities`` and ``context`` (tokens) are ``None`` where nobody knows; ``loaded`` says whether its
    weights are in memory now; ``chat`` is false for models that only embed, transcribe or draw;
    ``remote`` models are listed by a server here and run in a cloud.
    """

    id: str
    capabilities: frozenset[str] | None = None
    context: int | None = None
    loaded: bool | None = None
    size_bytes: int | None = None
    chat: bool = True
    remote: bool = False


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


def runs_at(provider: ProviderState, model: Model) -> Locality:
    """Where a request to ``model`` ends up, whoever is asked first: what a privacy fence has to go by."""
    return "cloud" if model.remote else provider.locality


def preferring(models: tuple[Model, ...], prefer: tuple[str, ...]) -> tuple[Model, ...]:
    """``models`` with the preferred ones first: an entry of ``prefer`` is a model's name, or how its name begins."""

    def place(model: Model) -> int:
        exact = (index for index, name in enumerate(prefer) if model.id == name)
        begins = (index for index, name in enumerate(prefer) if model.id.startswith(name))
        return next(exact, next(begins, len(prefer)))

    return tuple(sorted(models, key=place))


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A model that may serve a request, and why it stands where it stands."""

    provider: str
    model: str
    locality: Locality
    reason: str

    @property
    def name(self) -> str:
        """``provider:model``."""
        return f"{self.provider}:{self.model}"
