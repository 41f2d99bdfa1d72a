"""What a model's name stands for: a wish, one provider's model, or any provider's model of that name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.wishes import BUILT_IN, Wish

AUTO_MODELS: Final = 3
"""How many models of one provider a wish considers: the first ones of its list. More would only lengthen the way to
the next provider when this one is in trouble."""

KIND_ALIASES: Final = {"claude": "anthropic", "anthropic": "anthropic", "ollama": "ollama", "openai": "openai"}
"""The original's prefixes: where no provider has this name, the first of this kind is meant."""

Catalogue = tuple[ProviderState, ...]


class Wanted(msgspec.Struct, frozen=True):
    """``wish`` where a policy chooses; else the model called ``model``, of ``provider`` or of anybody."""

    provider: str | None = None
    model: str | None = None
    wish: Wish | None = None


def resolve(name: str, catalogue: Catalogue, wishes: Mapping[str, Wish] = BUILT_IN) -> Wanted | None:
    """Read a model name: a wish, ``provider:model`` (split at the first colon) or a bare model name.

    ``None`` where nobody has it. A bare name may hold colons itself (``llama3.2:3b`` is a tag).
    """
    wish = wishes.get(name)
    if wish is not None:
        return Wanted(wish=wish)
    prefix, colon, rest = name.partition(":")
    if colon and rest:
        provider = _provider(prefix, catalogue)
        if provider is not None:
            return Wanted(provider.name, rest)
    if any(same(model.id, name) for provider in catalogue for model in provider.models):
        return Wanted(None, name)
    return None


def meant(provider: ProviderState, wanted: Wanted) -> list[Model]:
    """The models of ``provider`` that ``wanted`` can mean. A model asked for by provider and name need not be listed:
    the upstream's own answer is the truth about names that it does not list."""
    if wanted.wish is not None:
        first = list(provider.models[:AUTO_MODELS])
        if all(model.chat for model in first):
            return first
        return [model for model in provider.models if model.chat][:AUTO_MODELS]
    if wanted.model is None or wanted.provider not in {None, provider.name}:
        return []
    listed = [model for model in provider.models if same(model.id, wanted.model)][:1]
    return listed or ([] if wanted.provider is None else [Model(wanted.model)])


def same(offered: str, name: str) -> bool:
    """Whether ``name`` means the model ``offered``: Ollama's tag ``latest`` goes without saying."""
    return offered in {name, name + ":latest"}


def _provider(prefix: str, catalogue: Catalogue) -> ProviderState | None:
    for provider in catalogue:
        if provider.name == prefix:
            return provider
    kind = KIND_ALIASES.get(prefix)
    return next((provider for provider in catalogue if provider.kind == kind), None)
