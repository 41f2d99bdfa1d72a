"""What a client may ask of us beside OpenAI's fields, in the body or by header; and what it may not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from oblix_actors.settings import Secret
from tests.front.deciding import PROVIDERS, deciding
from tests.front.harness import chat_body, make_house
from tests.front.shapes import Plan, read

HERE = "acme:tiny"
NEAR = "box:llama3.2:3b"
FAR = "sky:gpt-4o"


@pytest.mark.parametrize(
    ("field", "header", "ranked", "reason"),
    [
        (None, None, [HERE, NEAR, FAR], "no rule restricts it"),
        ("any", "any", [HERE, NEAR, FAR], "no rule restricts it"),
        ("lan", None, [HERE, NEAR], "the request asks for it"),
        (None, "lan", [HERE, NEAR], "the request asks for it"),
        ("local", "any", [HERE], "the request asks for it"),
        ("any", "local", [HERE], "the request asks for it"),
        ("lan", "local", [HERE], "the request asks for it"),
    ],
)
async def test_privacy_is_the_narrower_of_field_and_header(
    field: str | None, header: str | None, ranked: list[str], reason: str
) -> None:
    options = {} if field is None else {"oblix": {"privacy": field}}
    async with deciding() as front:
        plan = read(await front.plan({} if header is None else {"x-oblix-privacy": header}, **options), Plan)
    assert plan.ranked == ranked
    assert plan.routing_decision.privacy_reason == reason
    assert all(rule == "privacy" for name, rule in plan.out.items() if name in {NEAR, FAR})


async def test_a_key_narrows_the_fence_and_nobody_widens_it() -> None:
    house = dataclasses.replace(make_house(keys=("open", "bound")), fenced=((Secret("bound"), "lan"),))
    async with deciding(house) as front:
        for headers, options, ranked in (
            ({"authorization": "Bearer open"}, {}, [HERE, NEAR, FAR]),
            ({"authorization": "Bearer bound"}, {}, [HERE, NEAR]),
            ({"authorization": "Bearer bound", "x-oblix-privacy": "any"}, {"privacy": "any"}, [HERE, NEAR]),
            ({"authorization": "Bearer bound"}, {"privacy": "local"}, [HERE]),
        ):
            plan = read(await front.plan(headers, oblix=options), Plan)
            assert plan.ranked == ranked


async def test_a_request_that_may_not_leave_is_answered_here_or_not_at_all() -> None:
    async with deciding(providers=PROVIDERS[2:]) as front:
        answer = await front.server.chat(oblix={"privacy": "local"})
        assert (answer.status, answer.error()["code"]) == (503, "no_model_available")
        assert "privacy" in answer.error()["message"]
        assert front.attempts == []
        assert (await front.server.chat()).status == 200
        assert front.attempts == [FAR]


BAD: list[tuple[Any, str]] = [
    ("explain", "oblix"),
    ([], "oblix"),
    (True, "oblix"),
    ({"privcy": "local"}, "oblix"),
    ({"": 1}, "oblix"),
    ({"x" * 10_000: 1}, "oblix"),
    ({"privacy": "Local"}, "oblix.privacy"),
    ({"privacy": "locla"}, "oblix.privacy"),
    ({"privacy": ""}, "oblix.privacy"),
    ({"privacy": True}, "oblix.privacy"),
    ({"privacy": ["local"]}, "oblix.privacy"),
    ({"explain": 1}, "oblix.explain"),
    ({"explain": "true"}, "oblix.explain"),
    ({"max_cost": "1"}, "oblix.max_cost"),
    ({"max_cost": True}, "oblix.max_cost"),
    ({"max_cost": -0.01}, "oblix.max_cost"),
    ({"max_cost": 1e300}, "oblix.max_cost"),
    ({"max_cost": 10**400}, "oblix.max_cost"),
    ({"max_cost": {}}, "oblix.max_cost"),
]


@pytest.mark.parametrize("path", ["/v1/route", "/v1/chat/completions"])
async def test_what_cannot_be_meant_is_refused_with_the_field_at_fault(path: str) -> None:
    async with deciding() as front:
        for options, param in BAD:
            answer = await front.server.ask("POST", path, chat_body(oblix=options))
            assert answer.status == 400, options
            error = answer.error()
            assert (error["code"], error["param"]) == ("invalid_request", param), options
            assert len(error["message"]) < 300
        assert front.attempts == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-oblix-privacy", "Local"),
        ("x-oblix-privacy", "none"),
        ("x-oblix-privacy", ""),
        ("x-oblix-explain", "maybe"),
        ("x-oblix-explain", "2"),
    ],
)
async def test_a_header_that_cannot_be_meant_is_refused_too(name: str, value: str) -> None:
    async with deciding() as front:
        for path in ("/v1/route", "/v1/chat/completions"):
            answer = await front.server.ask("POST", path, chat_body(), {name: value})
            assert answer.status == 400
            assert answer.error()["param"] == name
        assert front.attempts == []


@pytest.mark.parametrize("options", [None, {}, {"privacy": None, "explain": None, "max_cost": None, "what_if": None}])
async def test_null_counts_as_not_given(options: Any) -> None:
    async with deciding() as front:
        assert read(await front.plan(oblix=options), Plan).ranked == [HERE, NEAR, FAR]
        assert (await front.server.chat(oblix=options)).status == 200


async def test_a_model_answers_in_the_world_as_it_is() -> None:
    async with deciding() as front:
        for stream in (False, True):
            answer = await front.server.chat(oblix={"what_if": {"cpu": 95}}, stream=stream)
            assert (answer.status, answer.error()["param"]) == (400, "oblix.what_if")
        assert front.attempts == []
