"""Which model should answer: a ranking of everything that could, and a reason for each place and each absence.

Pure: :func:`plan` is a function of its arguments, and never raises. In this order: hard rules
(:mod:`~oblix_actors.core.rules`), the privacy fence among them; the original's precedence between here and
elsewhere; expected time within a tier; or, instead of these two, the weights or the list of a wish. What it
cannot satisfy comes out as exclusions, which :func:`nobody` turns into the error that a client is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

import msgspec

from oblix_actors.core import rules, wishes
from oblix_actors.core.catalogue import LOCALITY_RANK, Candidate, Locality, Model, ProviderState, runs_at
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import Excluded, Name, Plan, Ranked, Resting, Routing, Snapshot, stricter
from oblix_actors.core.names import Catalogue, Wanted, meant, resolve
from oblix_actors.core.rules import ROUTES
from oblix_actors.core.timing import expect
from oblix_actors.core.transcript import estimate_prompt
from oblix_actors.core.wishes import AUTO, BUILT_IN, Weights, Wish
from oblix_actors.errors import OblixError

ANSWER_TOKENS: Final = 300
"""How long an answer is taken to be when the client sets no limit, or one that is hardly meant (models' maxima)."""

Key = tuple[float, ...]


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A model that passed the rules, with all that a ranking compares. One is made for every candidate of every
    request, so it holds figures; words are only put to those that are told."""

    provider: ProviderState
    model: Model
    locality: Locality
    place: int
    rest: Resting | None
    score: float
    seconds: float
    cost: float


def plan(
    request: ChatRequest,
    snapshot: Snapshot,
    catalogue: Catalogue,
    now: float,
    known_wishes: Mapping[str, Wish] = BUILT_IN,
) -> Plan:
    """Rank every model that may answer ``request``, best first."""
    wanted = resolve(request.model, catalogue, known_wishes)
    wish = (wanted.wish if wanted is not None else None) or Wish("by name")
    if stricter(snapshot.fence, wish.privacy) != snapshot.fence:
        reason = f"the model {request.model!r} is bound to it"
        snapshot = msgspec.structs.replace(snapshot, fence=wish.privacy, fence_reason=reason)
    target, why = precedence(snapshot)
    made = Plan(
        policy=wish.name,
        target=target,
        reason=why,
        resource_routing=_routing(snapshot.machine.state, snapshot.machine.target, snapshot.machine.reasons),
        connectivity_routing=_routing(snapshot.network.state, snapshot.network.target, snapshot.network.reasons),
        privacy=snapshot.fence,
        privacy_reason=snapshot.fence_reason,
    )
    if wanted is None:
        missing = Excluded("", request.model[:200], "model", f"no provider has a model named {request.model[:200]!r}")
        return msgspec.structs.replace(made, excluded=(missing,))
    entries, excluded = _sift(request, snapshot, catalogue, now, wanted, wish)
    places = _listed(wish, catalogue)
    entries.sort(key=lambda entry: _key(entry, target, wish, places))
    warm = None
    if snapshot.warm_behind and wish.weights is None and not wish.models and wanted.wish is not None:
        entries, warm = _warm_behind(entries)
    words = _words(wanted, wish, target)
    ranked = tuple([_told(entry, words, now) for entry in entries])
    return msgspec.structs.replace(made, ranked=ranked, excluded=tuple(excluded), warm=warm)


def precedence(snapshot: Snapshot) -> tuple[str, str]:
    """The original's rule: disconnected goes local; constrained or critical goes to the cloud; all else is local."""
    if snapshot.network.routes.get("internet", snapshot.network.state) == "disconnected":
        return "local", "the internet is disconnected"
    if snapshot.machine.state != "available":
        return "cloud", f"this machine is {snapshot.machine.state}"
    return "local", "this machine is available"


def nobody(request: ChatRequest, made: Plan, catalogue: Catalogue) -> OblixError:
    """Why a plan without candidates has none, as the client is told."""
    out = [item for item in made.excluded if item.model]
    found = {item.rule for item in out}
    if "model" in found:
        names = [f"{provider.name}:{model.id}" for provider in catalogue for model in provider.models]
        close = get_close_matches(request.model[:200], [AUTO, *names], n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; GET /v1/models lists what there is"
        return OblixError("model_not_found", f"No provider has the model {request.model[:200]!r}{hint}", param="model")
    who = "; ".join(f"{item.provider}:{item.model}: {item.reason}" for item in out[:5])
    if found and found <= {"capability"}:
        needs = ", ".join(sorted(request.needs)) or "chat"
        message = f"No reachable model can do what the request needs ({needs}): {who}"
        return OblixError("unsupported_capability", message, param=_param(request.needs))
    if found and found <= {"capability", "context"}:
        return OblixError("context_length_exceeded", f"The prompt fits no reachable model: {who}", param="messages")
    if "privacy" in found and not found - {"privacy", "capability", "context", "budget"}:
        return OblixError("no_model_available", f"No model within the privacy fence can answer: {who}")
    why = who or "; ".join(f"{p.name}: {p.reason or p.status}" for p in catalogue if p.status != "absent")
    return OblixError("no_model_available", f"No model can answer right now ({why or 'no provider is configured'})")


def _sift(
    request: ChatRequest, snapshot: Snapshot, catalogue: Catalogue, now: float, wanted: Wanted, wish: Wish
) -> tuple[list[_Entry], list[Excluded]]:
    """Every model that ``wanted`` can mean, weighed, or excluded by the first hard rule that applies."""
    prompt = estimate_prompt(request)
    needed = prompt + (request.max_tokens or 1)
    answer = min(request.max_tokens or ANSWER_TOKENS, 4 * ANSWER_TOKENS)
    limit = _max_cost(request)
    listed = _listed(wish, catalogue)
    by_name = wanted.wish is None
    walls = {
        locality: rules.connectivity(locality, snapshot) or rules.privacy(locality, snapshot) for locality in ROUTES
    }
    # What the loop needs of records, by short ways: it runs for every model of every request.
    needs, weights = request.needs, wish.weights
    speeds, prices, cached = snapshot.speeds.get, snapshot.prices.get, snapshot.cached.get
    entries: list[_Entry] = []
    excluded: list[Excluded] = []
    for provider in catalogue:
        if not by_name and not wish.models and (reason := _nothing_known(provider)):
            excluded.append(Excluded(provider.name, "", "health", reason, provider.locality))
        unhealthy = rules.health(provider, by_name=by_name)
        queue = (provider.running + provider.waiting) / provider.slots if provider.running >= provider.slots else 0.0
        for place, model in enumerate(_candidates(provider, wanted, wish, listed)):
            name = (provider.name, model.id)
            price = prices(name)
            cost = 0.0 if price is None else price.of(prompt, answer)
            locality = provider.locality if not model.remote else runs_at(provider, model)
            # Nearly always nothing speaks against a model, which one look tells; the rules are asked where it may.
            if not (
                model.chat
                and (model.capabilities is None or needs <= model.capabilities)
                and (model.context is None or needed <= model.context)
                and model.loaded is not False
                and unhealthy is None
                and walls[locality] is None
                and limit is None
            ):
                verdict = (
                    rules.capability(request, model)
                    or rules.context(needed, model)
                    or unhealthy
                    or walls[locality]
                    or rules.memory(provider, model, snapshot)
                    or rules.budget(cost, limit)
                )
                if verdict is not None:
                    excluded.append(Excluded(*name, *verdict, provider.locality))
                    continue
            seconds = expect(speeds(name), locality, prompt, cached(name, 0), answer, queue, model).total
            score = seconds if weights is None else _score(provider, name, snapshot, weights, seconds, cost)
            rest = _rest(snapshot, name, now) if snapshot.rests else None
            entries.append(_Entry(provider, model, locality, place, rest, score, seconds, cost))
    return entries, excluded


def _nothing_known(provider: ProviderState) -> str:
    """Why a provider has no model to weigh; empty where it has some, or where nobody asked for it to be there."""
    models = provider.models
    if (models and models[0].chat) or provider.status == "absent" or any(model.chat for model in models):
        return ""
    return "it has no chat model" if provider.status == "ready" else provider.reason or provider.status


def _candidates(provider: ProviderState, wanted: Wanted, wish: Wish, listed: Mapping[Name, int]) -> list[Model]:
    if not wish.models:
        return meant(provider, wanted)
    known = {model.id: model for model in provider.models}
    return [known.get(model) or Model(model) for name, model in listed if name == provider.name]


def _listed(wish: Wish, catalogue: Catalogue) -> dict[Name, int]:
    """The place of each model in a wish's own list."""
    places: dict[Name, int] = {}
    for place, name in enumerate(wish.models):
        wanted = resolve(name, catalogue, {})
        if wanted is not None:
            for provider in catalogue:
                for model in meant(provider, wanted):
                    places.setdefault((provider.name, model.id), place)
    return places


def _score(
    provider: ProviderState, name: Name, snapshot: Snapshot, weights: Weights, seconds: float, cost: float
) -> float:
    local = provider.locality == "local"
    prior = wishes.LOCAL_QUALITY if provider.locality != "cloud" else wishes.CLOUD_QUALITY
    quality = snapshot.quality.get(name, wishes.SMALL_QUALITY if provider.last_resort else prior)
    watt_hours = wishes.energy_wh(seconds, local=local, on_battery=snapshot.machine.on_battery)
    return wishes.score(weights, seconds=seconds, dollars=cost, watt_hours=watt_hours, quality=quality)


def _key(entry: _Entry, target: str, wish: Wish, places: Mapping[Name, int]) -> Key:
    """What the ranking compares. Who is down or rests is behind the rest, whatever else speaks for it."""
    provider = entry.provider
    behind = 2 * (provider.status != "ready") + (entry.rest is not None)
    if wish.models:
        return behind, places[provider.name, entry.model.id]
    if wish.weights is not None:
        return behind, entry.score, provider.order, entry.place
    # Where the machine is to be spared, anywhere but on it will do.
    tier = entry.locality == "local" if target == "cloud" else LOCALITY_RANK[entry.locality]
    rank = 8 * behind + 4 * provider.last_resort + tier  # one figure, because it is compared again and again
    return rank, entry.score, provider.order, entry.place


def _warm_behind(entries: list[_Entry]) -> tuple[list[_Entry], Candidate | None]:
    """Where the best model is local and cold, a quicker one elsewhere answers, and this one is loaded meanwhile."""
    if not entries or entries[0].model.loaded is not False or entries[0].provider.locality != "local":
        return entries, None
    cold = entries[0]
    for index, other in enumerate(entries):
        warm = other.model.loaded is not False and not other.provider.last_resort and other.rest is None
        if warm and other.seconds < cold.seconds:
            loading = Candidate(cold.provider.name, cold.model.id, cold.locality, "loaded behind another's answer")
            return [other, *entries[:index], *entries[index + 1 :]], loading
    return entries, None


def _words(wanted: Wanted, wish: Wish, target: str) -> dict[Locality, str]:
    """Why a model stands where it stands, by where it runs. The figures that it was compared by stand beside it."""
    if wanted.wish is None:
        why = "asked for by name"
    elif wish.models:
        why = f"in the list of {wish.name}"
    elif wish.weights is not None:
        why = f"{wish.name}: compared by its figures"
    else:
        why = f"{target} first"
    return {locality: f"{locality}; {why}" for locality in LOCALITY_RANK}


def _told(entry: _Entry, words: Mapping[Locality, str], now: float) -> Ranked:
    """``entry`` with its reason in words."""
    provider = entry.provider
    if entry.rest is not None:
        reason = f"{entry.locality}; rests for {entry.rest.until - now:.1f} s after {entry.rest.reason}"
    elif provider.last_resort:
        reason = "local; the last resort"
    else:
        reason = words[entry.locality]
    candidate = Candidate(provider.name, entry.model.id, entry.locality, reason)
    return Ranked(candidate, entry.score, entry.seconds, entry.cost)


def _rest(snapshot: Snapshot, name: Name, now: float) -> Resting | None:
    for key in ((name[0], None), name):
        rest = snapshot.rests.get(key)
        if rest is not None and rest.until > now:
            return rest
    return None


def _routing(state: str, target: str, reasons: tuple[str, ...]) -> Routing:
    return Routing(state, target, "; ".join(reasons))


def _max_cost(request: ChatRequest) -> float | None:
    options = request.body.get("oblix")
    limit = options.get("max_cost") if isinstance(options, dict) else None
    if not isinstance(limit, int | float) or isinstance(limit, bool):
        return None
    return float(max(-1e9, min(limit, 1e9)))  # an integer may be larger than any float


def _param(needs: frozenset[str]) -> str | None:
    fields = {"tools": "tools", "n": "n", "logprobs": "logprobs", "json_schema": "response_format"}
    fields |= {"json_object": "response_format", "images": "messages", "audio": "messages", "files": "messages"}
    return fields[min(needs)] if needs else None
