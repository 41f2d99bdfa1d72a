"""Which model should answer: a ranking of everything that could, and a reason for each place and each absence.

Pure: :func:`plan` is a function of its arguments. It never raises; what it cannot satisfy comes out as
exclusions, which :func:`nobody` turns into the error that a client is told.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

import msgspec

from oblix_actors.core.catalogue import LOCALITY_RANK, Candidate, Excluded, Model, Plan, ProviderState
from oblix_actors.core.chat import ChatRequest
from oblix_actors.errors import OblixError

AUTO: Final = "auto"
AUTO_MODELS: Final = 3
"""How many models of one provider ``auto`` considers: the first ones of its list. More would only
lengthen the way to the next provider when this one is in trouble."""

KIND_ALIASES: Final = {"claude": "anthropic", "anthropic": "anthropic", "ollama": "ollama", "openai": "openai"}
"""The original's prefixes: where no provider has this name, the first of this kind is meant."""

Catalogue = tuple[ProviderState, ...]


class Resting(msgspec.Struct, frozen=True):
    """A provider, or one model of it, that failed lately: it ranks behind the others until ``until`` (trio's clock)."""

    until: float
    reason: str


Rests = dict[tuple[str, str | None], Resting]


class Wanted(msgspec.Struct, frozen=True):
    """What a model name stands for: every model (``auto``), one provider's, or any provider's model of that name."""

    provider: str | None
    model: str | None


def resolve(name: str, catalogue: Catalogue) -> Wanted | None:
    """Read a model name: ``auto``, ``provider:model`` (split at the first colon) or a bare model name.

    ``None`` where nobody has it. A bare name may hold colons itself (``llama3.2:3b`` is a tag).
    """
    if name == AUTO:
        return Wanted(None, None)
    prefix, colon, rest = name.partition(":")
    if colon and rest:
        provider = _provider(prefix, catalogue)
        if provider is not None:
            return Wanted(provider.name, rest)
    if any(_offers(provider, name) for provider in catalogue):
        return Wanted(None, name)
    return None


def plan(request: ChatRequest, catalogue: Catalogue, rests: Rests, now: float) -> Plan:
    """Rank every model that may answer ``request``, best first.

    Order: ready before not ready, rested before resting, then last resorts behind the others, locality
    (local, LAN, cloud), place in the config, place in the provider's list.
    """
    wanted = resolve(request.model, catalogue)
    if wanted is None:
        return Plan((), (Excluded("", request.model, "model", f"no provider has a model named {request.model!r}"),))
    found: list[tuple[tuple[int, ...], Candidate]] = []
    excluded: list[Excluded] = []
    for provider in catalogue:
        for place, model in enumerate(_models(provider, wanted)):
            verdict = _excluded(request, provider, model, wanted)
            if verdict is not None:
                excluded.append(Excluded(provider.name, model.id, *verdict))
                continue
            rest = _rest(rests, provider.name, model.id, now)
            key = (
                provider.status != "ready",
                rest is not None,
                provider.last_resort,
                LOCALITY_RANK[provider.locality],
                provider.order,
                place,
            )
            candidate = Candidate(provider.name, model.id, provider.locality, _reason(provider, wanted, rest, now))
            found.append((key, candidate))
    found.sort(key=lambda entry: entry[0])
    return Plan(tuple(candidate for _, candidate in found), tuple(excluded))


def nobody(request: ChatRequest, plan: Plan, catalogue: Catalogue) -> OblixError:
    """Why a plan without candidates has none, as the client is told."""
    rules = {exclusion.rule for exclusion in plan.excluded}
    if "model" in rules:
        names = [provider.name + ":" + model.id for provider in catalogue for model in provider.models]
        close = get_close_matches(request.model[:200], [AUTO, *names], n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; GET /v1/models lists what there is"
        return OblixError("model_not_found", f"No provider has the model {request.model[:200]!r}{hint}", param="model")
    if rules == {"capability"}:
        who = "; ".join(f"{item.provider}:{item.model}: {item.reason}" for item in plan.excluded[:5])
        return OblixError(
            "unsupported_capability",
            f"No reachable model can do what the request needs ({', '.join(sorted(request.needs))}): {who}",
            param=_param(request.needs),
        )
    why = "; ".join(f"{p.name}: {p.reason or p.status}" for p in catalogue if p.status != "absent")
    return OblixError("no_model_available", f"No model can answer right now ({why or 'no provider is configured'})")


def _provider(prefix: str, catalogue: Catalogue) -> ProviderState | None:
    for provider in catalogue:
        if provider.name == prefix:
            return provider
    kind = KIND_ALIASES.get(prefix)
    return next((provider for provider in catalogue if provider.kind == kind), None)


def _same(offered: str, name: str) -> bool:
    return offered in (name, name + ":latest")


def _offers(provider: ProviderState, name: str) -> bool:
    return any(_same(model.id, name) for model in provider.models)


def _models(provider: ProviderState, wanted: Wanted) -> list[Model]:
    """The models of ``provider`` that ``wanted`` can mean. A model asked for by provider and name need not be listed:
    the upstream's own answer is the truth about names that it does not list."""
    if wanted.provider is not None:
        if wanted.provider != provider.name or wanted.model is None:
            return []
        listed = [model for model in provider.models if _same(model.id, wanted.model)]
        return listed[:1] or [Model(wanted.model)]
    if wanted.model is not None:
        return [model for model in provider.models if _same(model.id, wanted.model)][:1]
    return [model for model in provider.models if model.chat][:AUTO_MODELS]


def _excluded(request: ChatRequest, provider: ProviderState, model: Model, wanted: Wanted) -> tuple[str, str] | None:
    """The rule that rules ``model`` out, and why; ``None`` where it may serve."""
    if wanted.provider is None and provider.status != "ready":
        return "health", provider.reason or provider.status
    if not model.chat:
        return "capability", "it is not a chat model"
    if model.capabilities is not None and not request.needs <= model.capabilities:
        return "capability", f"it lacks {', '.join(sorted(request.needs - model.capabilities))}"
    return None


def _rest(rests: Rests, provider: str, model: str, now: float) -> Resting | None:
    for key in ((provider, None), (provider, model)):
        rest = rests.get(key)
        if rest is not None and rest.until > now:
            return rest
    return None


def _reason(provider: ProviderState, wanted: Wanted, rest: Resting | None, now: float) -> str:
    if rest is not None:
        return f"{provider.locality}; rests for {rest.until - now:.1f} s after {rest.reason}"
    if wanted.model is not None:
        return f"{provider.locality}; asked for by name"
    if provider.last_resort:
        return f"{provider.locality}; the last resort"
    return f"{provider.locality}; ready"


def _param(needs: frozenset[str]) -> str | None:
    fields = {"tools": "tools", "n": "n", "logprobs": "logprobs", "json_schema": "response_format"}
    fields |= {"json_object": "response_format", "images": "messages", "audio": "messages", "files": "messages"}
    return fields[min(needs)] if needs else None
