"""``POST /v1/route``: what would be done with a request, and why; nothing is done."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from oblix_actors.core.catalogue import Model
from oblix_actors.core.decision import Machine, Network
from oblix_actors.core.resources import Against
from tests.front.deciding import BOX, OFF, PROVIDERS, SKY, deciding
from tests.front.harness import CHAT, READY, make_house, running
from tests.front.shapes import Plan, read

OFFLINE = Network(
    "disconnected",
    "local",
    ("link down",),
    {"loopback": "optimal", "lan": "optimal", "internet": "disconnected"},
)
FULL = Machine(
    "critical",
    "cloud",
    ("memory 97 % > 95 % for 12 s",),
    memory_available=1_000_000_000,
    memory_total=32_000_000_000,
    against=(Against("memory", "critical", "memory 97 % > 95 % for 12 s"),),
)


async def test_a_plan_has_every_field_best_first() -> None:
    async with deciding() as front:
        plan = read(await front.plan(), Plan)
    decision = plan.routing_decision
    assert (decision.policy, decision.target, decision.privacy) == ("balanced", "local", "any")
    assert decision.warming is None
    assert plan.ranked == ["acme:tiny", "box:llama3.2:3b", "sky:gpt-4o"]
    assert plan.out == {"off:*": "health"}
    by_name = {candidate.model: candidate for candidate in plan.candidates}
    assert [by_name[name].locality for name in plan.ranked] == ["local", "lan", "cloud"]
    assert by_name["acme:tiny"].expected_cost == 0
    assert by_name["sky:gpt-4o"].expected_cost is not None
    assert by_name["sky:gpt-4o"].expected_cost > 0
    assert by_name["off:*"].reason == "connection refused"
    assert by_name["off:*"].locality == "lan"


async def test_nothing_is_generated_and_nothing_is_remembered() -> None:
    async with deciding() as front:
        for stream in (False, True):
            await front.plan(stream=stream)
        await front.plan(model="acme:tiny")
        assert await front.decisions() == []
        assert len(front.house.jobs) == 0
        assert front.attempts == []
        answer = await front.server.chat()  # what comes next through the same mailbox does reach a worker
        assert answer.status == 200
        assert front.attempts == ["acme:tiny"]


async def test_what_the_monitors_say_is_in_it() -> None:
    async with deciding(machine=FULL, network=OFFLINE) as front:
        plan = read(await front.plan(), Plan)
    decision = plan.routing_decision
    assert decision.resource_routing.state == "critical"
    assert decision.resource_routing.target == "cloud"
    assert decision.resource_routing.reason == "memory 97 % > 95 % for 12 s"
    assert decision.connectivity_routing.state == "disconnected"
    assert decision.connectivity_routing.target == "local"
    assert decision.connectivity_routing.reason == "link down"
    assert (decision.target, decision.reason) == ("local", "the internet is disconnected")
    assert plan.out["sky:gpt-4o"] == "connectivity"


async def test_a_cold_model_is_warmed_behind_a_warm_one() -> None:
    cold = msgspec.structs.replace(READY, models=(Model("big", loaded=False, size_bytes=20_000_000_000),))
    async with deciding(providers=(cold, SKY)) as front:
        plan = read(await front.plan(), Plan)
    assert plan.routing_decision.warming == "acme:big"
    assert plan.ranked == ["sky:gpt-4o", "acme:big"]


@pytest.mark.parametrize(
    ("fields", "out"),
    [
        ({"model": "box:llama3.2:3b"}, {}),
        ({"model": "auto:private"}, {"box:llama3.2:3b": "privacy", "sky:gpt-4o": "privacy", "off:*": "health"}),
        ({"oblix": {"max_cost": 0.0}}, {"sky:gpt-4o": "budget", "off:*": "health"}),
        ({"model": "no-such-model"}, {"no-such-model": "model"}),
    ],
)
async def test_who_is_left_out_and_by_which_rule(fields: dict[str, Any], out: dict[str, str]) -> None:
    async with deciding() as front:
        plan = read(await front.plan(**fields), Plan)
    assert plan.out == out


async def test_what_the_request_needs() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    plain = (msgspec.structs.replace(READY, models=(Model("tiny", capabilities=frozenset()),)), SKY)
    async with deciding(providers=plain) as front:
        plan = read(await front.plan(tools=tools), Plan)
    assert plan.ranked == ["sky:gpt-4o"]
    assert plan.out == {"acme:tiny": "capability"}


# -- what if


@pytest.mark.parametrize(
    ("what_if", "target", "state", "reason"),
    [
        ({"connectivity": "disconnected"}, "local", "available", ""),
        ({"cpu": 81}, "cloud", "constrained", "what if: cpu 81 % > 80 %"),
        ({"cpu": 95}, "cloud", "critical", "what if: cpu 95 % > 90 %"),
        ({"memory": 86.5}, "cloud", "constrained", "what if: memory 86.5 % > 85 %"),
        ({"memory": 97}, "cloud", "critical", "what if: memory 97 % > 95 %"),
        ({"gpu": 86}, "cloud", "constrained", "what if: gpu 86 % > 85 %"),
        ({"gpu": 100}, "cloud", "critical", "what if: gpu 100 % > 95 %"),
        ({"battery": 19}, "cloud", "constrained", "what if: battery 19 % < 20 %"),
        ({"battery": 80}, "local", "available", "what if: battery 80 %"),
        ({"cpu": 0, "memory": 85, "gpu": 85}, "local", "available", "what if: cpu 0 %; what if: memory 85 %"),
        ({"cpu": 95, "connectivity": "disconnected"}, "local", "critical", "what if: cpu 95 % > 90 %"),
        ({"cpu": None}, "local", "available", ""),
        ({}, "local", "available", ""),
    ],
)
async def test_what_if_the_machine_were_different(what_if: Any, target: str, state: str, reason: str) -> None:
    async with deciding() as front:
        plan = read(await front.plan(oblix={"what_if": what_if}), Plan)
        now = read(await front.plan(), Plan)
    decision = plan.routing_decision
    assert (decision.target, decision.resource_routing.state) == (target, state)
    assert decision.resource_routing.reason.startswith(reason)
    assert plan.ranked[0] == ("sky:gpt-4o" if target == "cloud" else "acme:tiny")
    assert now.routing_decision.resource_routing.state == "available"  # it was only a question


@pytest.mark.parametrize(
    ("state", "target", "out"),
    [("optimal", "cloud", {}), ("degraded", "hybrid", {}), ("disconnected", "local", {"sky:gpt-4o": "connectivity"})],
)
async def test_what_if_the_network_were_different(state: str, target: str, out: dict[str, str]) -> None:
    async with deciding(network=None if out else OFFLINE) as front:
        plan = read(await front.plan(oblix={"what_if": {"connectivity": state}}), Plan)
    routing = plan.routing_decision.connectivity_routing
    assert (routing.state, routing.target) == (state, target)
    assert routing.reason == f"what if: the network is {state}"
    assert plan.out == {**out, "off:*": "health"}


async def test_what_is_not_replaced_stays() -> None:
    async with deciding(machine=FULL, network=OFFLINE) as front:
        idle = read(await front.plan(oblix={"what_if": {"cpu": 1}}), Plan).routing_decision
        relieved = read(await front.plan(oblix={"what_if": {"memory": 10}}), Plan).routing_decision
    assert idle.resource_routing.state == "critical"
    assert idle.resource_routing.reason == "memory 97 % > 95 % for 12 s; what if: cpu 1 %"
    assert relieved.resource_routing.state == "available"
    assert relieved.connectivity_routing.state == "disconnected"


async def test_memory_that_is_supposed_to_be_used_is_not_free() -> None:
    cold = msgspec.structs.replace(READY, models=(Model("big", loaded=False, size_bytes=4_000_000_000),))
    free = msgspec.structs.replace(
        FULL, state="available", target="local_gpu", against=(), memory_available=20_000_000_000
    )
    async with deciding(providers=(cold,), machine=free) as front:
        assert read(await front.plan(), Plan).ranked == ["acme:big"]
        full = read(await front.plan(oblix={"what_if": {"memory": 90}}), Plan)
        roomy = read(await front.plan(oblix={"what_if": {"memory": 50}}), Plan)
    assert full.out == {"acme:big": "memory"}
    assert roomy.routing_decision.resource_routing.target == "local_gpu"
    assert roomy.ranked == ["acme:big"]


@pytest.mark.parametrize(
    ("what_if", "param"),
    [
        *[({name: value}, f".{name}") for name in ("cpu", "memory", "gpu", "battery") for value in (-0.1, 100.1, "95")],
        ({"cpu": True}, ".cpu"),
        ({"cpu": 10**300}, ".cpu"),
        ({"connectivity": "offline"}, ".connectivity"),
        ({"connectivity": 1}, ".connectivity"),
        ({"disk": 5}, ""),
        ([], ""),
        ("cpu=95", ""),
        (0, ""),
    ],
)
async def test_what_cannot_be_supposed(what_if: Any, param: str) -> None:
    async with deciding() as front:
        answer = await front.route(oblix={"what_if": what_if})
    assert answer.status == 400
    error = answer.error()
    assert (error["code"], error["param"]) == ("invalid_request", f"oblix.what_if{param}")


# -- around it


async def test_it_refuses_what_chat_refuses() -> None:
    async with deciding() as front:
        for body, kind, status, code in (
            (b"{", "application/json", 400, "invalid_json"),
            (b'{"model": "auto"}', "application/json", 400, "invalid_request"),
            (b"{}", "text/plain", 415, "unsupported_media_type"),
        ):
            for path in ("/v1/route", CHAT):
                answer = await front.server.ask("POST", path, body, {"content-type": kind})
                assert (answer.status, answer.error()["code"]) == (status, code)
        assert (await front.server.ask("GET", "/v1/route")).status == 405


async def test_a_key_is_needed_where_there_are_keys() -> None:
    async with deciding(make_house(keys=("k",))) as front:
        for method, path in (("POST", "/v1/route"), ("GET", "/v1/decisions"), ("GET", "/v1/agents")):
            for headers in ({}, {"authorization": "Bearer wrong"}):
                answer = await front.server.ask(method, path, b"", headers)
                assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
        await front.plan({"authorization": "Bearer k"})
        for path in ("/v1/decisions", "/v1/agents"):
            assert (await front.server.ask("GET", path, b"", {"authorization": "Bearer k"})).status == 200


async def test_a_router_without_room_is_busy() -> None:
    house = make_house(mailbox=0)
    async with running(house, deaf_router=True) as server:
        for method, path, body in (
            ("POST", "/v1/route", b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'),
            ("GET", "/v1/decisions", b""),
        ):
            answer = await server.ask(method, path, body)
            assert (answer.status, answer.error()["code"]) == (429, "busy")
            assert answer.headers["retry-after"] == "1"


async def test_no_provider_at_all() -> None:
    async with deciding(providers=()) as front:
        assert read(await front.plan(), Plan).candidates == []


async def test_providers_that_were_only_looked_for_are_not_told_of() -> None:
    absent = msgspec.structs.replace(OFF, name="lmstudio", status="absent")
    empty = msgspec.structs.replace(BOX, name="empty", models=())
    async with deciding(providers=(*PROVIDERS, absent, empty)) as front:
        plan = read(await front.plan(), Plan)
    assert plan.out == {"off:*": "health", "empty:*": "health"}
    assert plan.candidates[-1].reason == "it has no chat model"
