"""``GET /v1/decisions`` and ``GET /v1/agents``: what was decided lately, and how everybody is."""

from __future__ import annotations

import dataclasses
from math import inf, nan
from typing import Any

import pytest
import trio

from oblix_actors.core.catalogue import Model
from oblix_actors.runtime.supervisor import ActorState
from tests.front.deciding import PROVIDERS, deciding, failing, named
from tests.front.harness import CHAT, chat_body, make_house, running, silence, until
from tests.front.shapes import Agent, Decision, read


async def test_a_decision_has_every_field() -> None:
    async with deciding(script=failing("acme:tiny")) as front:
        reply = (await front.server.chat()).json()
        (only,) = await front.decisions()
    decision = read(only, Decision)
    assert (decision.id, decision.created) == (reply["id"], reply["created"])
    assert (decision.asked, decision.served, decision.outcome) == ("auto", "box:llama3.2:3b", "completed")
    assert [(attempt.model, attempt.error) for attempt in decision.attempts] == [
        ("acme:tiny", "upstream_overloaded"),
        ("box:llama3.2:3b", None),
    ]
    assert decision.candidates[0].model == "acme:tiny"


async def test_what_came_to_nothing_is_remembered_too() -> None:
    everybody = failing("acme:tiny", "box:llama3.2:3b", "sky:gpt-4o")
    async with deciding(script=everybody) as front:
        assert (await front.server.chat()).status == 503
        assert (await front.server.chat(model="no-such")).status == 404
        unknown, failed = [read(entry, Decision) for entry in await front.decisions()]
    assert (failed.served, failed.outcome, len(failed.attempts)) == (None, "upstream_overloaded", 3)
    assert (unknown.served, unknown.outcome, unknown.attempts) == (None, "model_not_found", [])
    assert unknown.candidates[0].excluded == "model"


async def test_a_client_that_left_is_remembered() -> None:
    async with deciding(script=silence) as front:
        async with await front.server.connect() as client:
            await client.send("POST", CHAT, chat_body())
            await until(lambda: front.attempts == ["acme:tiny"])
        await until(lambda: not len(front.house.jobs))
        (only,) = await front.decisions()
    decision = read(only, Decision)
    assert (decision.served, decision.outcome, len(decision.attempts)) == (None, "aborted", 1)


async def test_the_newest_come_first_and_no_more_than_are_wanted() -> None:
    models = ["acme:tiny", "box:llama3.2:3b", "sky:gpt-4o"]
    async with deciding(script=named) as front:
        for model in models:
            await front.server.chat(model=model)
        assert [entry["asked"] for entry in await front.decisions()] == models[::-1]
        for limit in (1, 2, 3, 500):
            found = await front.decisions(f"?limit={limit}")
            assert [entry["asked"] for entry in found] == models[::-1][:limit]


async def test_the_ring_is_bounded() -> None:
    async with deciding() as front:
        for number in range(505):
            front.house.router.tell(_submit(front, f"no-such-{number}"))
            await trio.lowlevel.checkpoint()
        await until(lambda: not front.house.router.state().depth)
        found = await front.decisions("?limit=500")
        assert len(await front.decisions()) == 50
    assert (len(found), found[0]["asked"], found[-1]["asked"]) == (500, "no-such-504", "no-such-5")


def _submit(front: Any, model: str) -> Any:
    from oblix_actors.actors.messages import Submit
    from oblix_actors.core.chat import ChatRequest

    return Submit(front.house.jobs.open(ChatRequest(model=model, messages=()), created=1_800_000_000, submitted=0.0))


@pytest.mark.parametrize("limit", ["0", "501", "-1", "", "x", "1.5", "1e2", "+5", "%20", "١", "9" * 5000])
async def test_a_limit_that_makes_no_sense(limit: str) -> None:
    from urllib.parse import quote

    async with deciding() as front:
        answer = await front.server.ask("GET", f"/v1/decisions?limit={quote(limit, safe='%')}")
    assert answer.status == 400
    assert answer.error()["param"] == "limit"


# -- the agents


def sensors() -> dict[str, Any]:
    return {
        "resources": {"state": "constrained", "reasons": ["cpu 85 % > 80 % for 7 s"], "load": nan, "gpus": [inf]},
        "connectivity": {"state": "degraded", "reasons": ["latency"]},
        "embedded": {"phase": "ready"},
    }


async def test_every_actor_with_its_state_its_mailbox_and_its_last_sample() -> None:
    house = make_house(sensors=sensors)
    names = ("resource_monitor", "connectivity", "engine", "worker:acme", "router", "notebook")
    house = dataclasses.replace(
        house,
        actors=lambda: tuple(ActorState(name, "running", trio.current_time()) for name in names),
        mailboxes=lambda: {"router": house.router.state(), "worker:acme": house.router.state()},
    )
    async with running(house) as server:
        document = (await server.ask("GET", "/v1/agents")).json()
    assert document["object"] == "list"
    agents = {agent.name: agent for agent in (read(entry, Agent) for entry in document["data"])}
    assert tuple(agents) == names
    samples = {name: agent.sample for name, agent in agents.items()}
    assert samples["resource_monitor"] == {**sensors()["resources"], "load": None, "gpus": [None]}
    assert samples["connectivity"] == sensors()["connectivity"]
    assert samples["engine"] == {"phase": "ready"}
    assert samples["router"] == {"open": 0, "limit": 1000, "draining": False}
    assert samples["notebook"] is None
    worker = samples["worker:acme"]
    assert worker is not None
    assert (worker["status"], worker["models"], worker["running"], worker["slots"]) == ("ready", 2, 0, 1)
    assert agents["router"].mailbox is not None
    assert agents["router"].mailbox.size == 100
    assert agents["notebook"].mailbox is None


async def test_a_crash_is_seen() -> None:
    async with running() as server:
        agents = [read(entry, Agent) for entry in (await server.ask("GET", "/v1/agents")).json()["data"]]
    crashed = next(agent for agent in agents if agent.name == "connectivity")
    assert (crashed.state, crashed.restarts, crashed.last_error) == ("restarting", 2, "OSError")
    assert crashed.sample is None


async def test_health_says_why_the_machine_and_the_network_are_as_they_are() -> None:
    async with running(make_house(sensors=sensors)) as server:
        report = (await server.ask("GET", "/health")).json()
    assert (report["resources"]["state"], report["resources"]["reasons"]) == (
        "constrained",
        ["cpu 85 % > 80 % for 7 s"],
    )
    assert (report["connectivity"]["state"], report["connectivity"]["reasons"]) == ("degraded", ["latency"])
    assert report["resources"]["load"] is None


async def test_the_providers_behind_the_workers_are_those_of_now() -> None:
    states = [PROVIDERS[0]]
    house = make_house(providers=lambda: tuple(states))
    house = dataclasses.replace(house, actors=lambda: (ActorState("worker:acme", "running", trio.current_time()),))
    async with running(house) as server:
        before = (await server.ask("GET", "/v1/agents")).json()["data"][0]["sample"]
        states[0] = type(states[0])(
            name="acme", kind="openai", locality="local", order=0, status="down", reason="gone", models=(Model("x"),)
        )
        after = (await server.ask("GET", "/v1/agents")).json()["data"][0]["sample"]
    assert (before["status"], after["status"], after["reason"]) == ("ready", "down", "gone")
