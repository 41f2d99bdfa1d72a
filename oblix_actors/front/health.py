"""``/health``, ``/livez``, ``/readyz`` and ``/``: how the server is, from published values only.

Nothing here waits for anybody, so that the answer comes in one scheduler pass whatever the load. They need no key:
whoever watches the server has none.
"""

from __future__ import annotations

from typing import Any, Final

import trio
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from oblix_actors import __version__
from oblix_actors.core.catalogue import ProviderState
from oblix_actors.errors import OblixError
from oblix_actors.front.errors import json_response
from oblix_actors.front.house import House
from oblix_actors.runtime.mailbox import MailboxState
from oblix_actors.runtime.supervisor import ActorState

_FRESH: Final = {"cache-control": "no-store"}

HELLO: Final[dict[str, Any]] = {
    "name": "oblix-actors",
    "version": __version__,
    "endpoints": [
        "POST /v1/chat/completions",
        "GET /v1/models",
        "GET /v1/models/{id}",
        "POST /v1/route",
        "GET /v1/decisions",
        "GET /v1/agents",
        "GET /health",
        "GET /livez",
        "GET /readyz",
    ],
}


def install(app: QuartTrio, house: House) -> None:
    """Add the routes to ``app``."""

    async def health() -> TrioResponse:
        document = report(house, trio.current_time())
        return json_response(document, 200 if document["status"] == "healthy" else 503, _FRESH)

    async def livez() -> TrioResponse:
        return json_response({"status": "alive"}, headers=_FRESH)

    async def readyz() -> TrioResponse:
        if house.jobs.closed:
            raise OblixError("shutting_down", "The server is stopping.", retry_after=1.0)
        if not can_answer(house.providers()):
            raise OblixError("no_model_available", "No model can answer right now.", retry_after=1.0)
        return json_response({"status": "ready"}, headers=_FRESH)

    async def hello() -> TrioResponse:
        return json_response(HELLO)

    for path, view in (("/health", health), ("/livez", livez), ("/readyz", readyz), ("/", hello)):
        app.add_url_rule(path, view_func=view, methods=["GET"])


def can_answer(providers: tuple[ProviderState, ...]) -> bool:
    """Whether there is a provider that is ready and has a chat model."""
    return any(provider.status == "ready" and _chat_models(provider) for provider in providers)


def report(house: House, now: float) -> dict[str, Any]:
    """What ``/health`` says. ``now`` is trio's clock; all times are seconds.

    ``models`` counts the chat models that could answer now, ``types`` by the kind of their provider. The sensors'
    sections stand beside ours, and never in their place.
    """
    providers = house.providers()
    types: dict[str, int] = {}
    for provider in providers:
        if provider.status == "ready" and (count := _chat_models(provider)):
            types[provider.kind] = types.get(provider.kind, 0) + count
    return {
        **house.sensors(),
        "status": "healthy" if types and not house.jobs.closed else "unhealthy",
        "version": __version__,
        "uptime": round(now - house.started, 3),
        "models": {"count": sum(types.values()), "types": types},
        "providers": {provider.name: _provider(provider) for provider in providers},
        "agents": {agent.pop("name"): agent for agent in agents(house, now)},
        "jobs": _jobs(house),
    }


def agents(house: House, now: float) -> list[dict[str, Any]]:
    """Every actor, in the order in which they started: its state, its restarts, its mailbox. Times are seconds."""
    mail = house.mailboxes()
    return [{"name": state.name, **_agent(state, mail.get(state.name), now)} for state in house.actors()]


def agents_with_samples(house: House, now: float) -> list[dict[str, Any]]:
    """The same, each with the last it has published in ``sample``: a monitor's figures, a worker's provider, the
    router's jobs; ``null`` where there is nothing to tell."""
    sensors = house.sensors()
    samples: dict[str, Any] = {
        "resource_monitor": sensors.get("resources"),
        "connectivity": sensors.get("connectivity"),
        "engine": sensors.get("embedded"),
        "router": _jobs(house),
        **{f"worker:{provider.name}": _provider(provider) for provider in house.providers()},
    }
    return [{**agent, "sample": samples.get(agent["name"])} for agent in agents(house, now)]


def _jobs(house: House) -> dict[str, Any]:
    return {"open": len(house.jobs), "limit": house.jobs.limit, "draining": house.jobs.closed}


def _chat_models(provider: ProviderState) -> int:
    return sum(model.chat for model in provider.models)


def _provider(provider: ProviderState) -> dict[str, Any]:
    return {
        "kind": provider.kind,
        "locality": provider.locality,
        "status": provider.status,
        "reason": provider.reason,
        "models": _chat_models(provider),
        "running": provider.running,
        "waiting": provider.waiting,
        "slots": provider.slots,
    }


def _agent(state: ActorState, mailbox: MailboxState | None, now: float) -> dict[str, Any]:
    return {
        "state": state.phase,
        "seconds": round(now - state.since, 3),
        "restarts": state.restarts,
        "last_error": state.error,
        "mailbox": mailbox,
    }
