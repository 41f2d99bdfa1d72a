"""How the server decides: ``POST /v1/route`` (what would you do?), ``GET /v1/decisions`` and ``GET /v1/agents``."""

from __future__ import annotations

from typing import Final

import trio
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from oblix_actors.actors.messages import Explain, Recall
from oblix_actors.core.decision import Decision, Plan
from oblix_actors.core.explain import explain_decision, explain_plan
from oblix_actors.errors import Busy, OblixError
from oblix_actors.front.errors import json_response
from oblix_actors.front.health import agents_with_samples
from oblix_actors.front.house import House
from oblix_actors.front.limits import check_content, check_key, fence_of, read_body
from oblix_actors.front.options import what_if, with_options
from oblix_actors.front.request import current
from oblix_actors.wire.openai import parse_chat_request

PATIENCE: Final = 5.0
"""Seconds that the router may take to answer a question; it needs microseconds."""
MOST_DECISIONS: Final = 500
DEFAULT_DECISIONS: Final = 50


def install(app: QuartTrio, house: House) -> None:
    """Add the routes to ``app``."""

    async def route() -> TrioResponse:
        request = current()
        check_key(request, house.keys)
        check_content(request)
        chat = parse_chat_request(await read_body(request, house.settings))
        chat = with_options(chat, request.headers.get, fence_of(request, house.fenced))
        supposed = what_if(chat)
        try:
            with trio.fail_after(PATIENCE):
                plan: Plan = await house.router.ask(lambda reply: Explain(chat, reply, supposed))
        except (Busy, trio.TooSlowError):
            raise _busy() from None
        return json_response(explain_plan(plan))

    async def decisions() -> TrioResponse:
        request = current()
        check_key(request, house.keys)
        limit = _limit(request.args.get("limit", str(DEFAULT_DECISIONS)))
        try:
            with trio.fail_after(PATIENCE):
                found: tuple[Decision, ...] = await house.router.ask(lambda reply: Recall(limit, reply))
        except (Busy, trio.TooSlowError):
            raise _busy() from None
        return json_response({"object": "list", "data": [explain_decision(decision) for decision in found]})

    async def show_agents() -> TrioResponse:
        check_key(current(), house.keys)
        return json_response({"object": "list", "data": agents_with_samples(house, trio.current_time())})

    app.add_url_rule("/v1/route", view_func=route, methods=["POST"])
    app.add_url_rule("/v1/decisions", view_func=decisions, methods=["GET"])
    app.add_url_rule("/v1/agents", view_func=show_agents, methods=["GET"])


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_DECISIONS:
        raise OblixError("invalid_request", f"limit must be a number from 1 to {MOST_DECISIONS}", param="limit")
    return int(text)


def _busy() -> OblixError:
    return OblixError("busy", "The router is busy.", retry_after=1.0)
