"""The ``oblix`` field of an answer: who was weighed, who was tried, how fast it was and what it cost."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from oblix_actors.core.decision import Price
from oblix_actors.core.events import Delta, Served, Usage
from tests.front.client import text_of
from tests.front.deciding import PRICE, deciding, failing, named
from tests.front.harness import Script, Stage
from tests.front.shapes import Answer, read

FAR = "sky:gpt-4o"
ASKED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"oblix": {"explain": True}}, {}),
    ({}, {"x-oblix-explain": "1"}),
    ({"oblix": {"explain": False}}, {"x-oblix-explain": "TRUE"}),
    ({"oblix": {"explain": True}}, {"x-oblix-explain": "0"}),
]
NOT_ASKED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"oblix": {}}, {"x-oblix-explain": "no"}),
    ({"oblix": {"explain": False, "privacy": "lan"}}, {}),
]


def check(found: Answer) -> None:
    """What :func:`named` has said by gpt-4o."""
    assert [attempt.model for attempt in found.attempts] == [FAR]
    assert found.attempts[0].error is None
    assert found.routing_decision.policy == "by name"
    assert [candidate.model for candidate in found.candidates] == [FAR]
    metrics = found.metrics
    assert (metrics.input_tokens, metrics.output_tokens, metrics.estimated) == (11, 7, False)
    assert metrics.time_to_first_token is not None
    assert metrics.time_to_first_token <= metrics.total_latency
    assert found.cost == pytest.approx(PRICE.of(11, 7))


@pytest.mark.parametrize(("fields", "headers"), ASKED)
async def test_a_whole_answer_explains_itself(fields: dict[str, Any], headers: dict[str, str]) -> None:
    async with deciding(script=named) as front:
        answer = (await front.server.chat(headers, model=FAR, **fields)).json()
    assert answer["choices"][0]["message"]["content"] == f"{FAR}!"
    assert answer["usage"]["total_tokens"] == 18
    check(read(answer["oblix"], Answer))


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize(("fields", "headers"), ASKED)
async def test_a_stream_explains_itself_in_its_last_chunk(
    fields: dict[str, Any], headers: dict[str, str], usage: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    async with deciding(script=named) as front:
        answer = await front.server.chat(headers, model=FAR, stream=True, **options, **fields)
    *chunks, last, done = answer.events()
    assert done == "[DONE]"
    assert text_of(chunks) == f"{FAR}!"
    assert not any("oblix" in chunk for chunk in chunks)
    assert last["object"] == "chat.completion.chunk"
    assert last["choices"] == []
    assert (last.get("usage") or {}).get("total_tokens") == (18 if usage else None)
    assert ("usage" in last) == usage
    check(read(last["oblix"], Answer))


@pytest.mark.parametrize(("fields", "headers"), NOT_ASKED)
async def test_nobody_else_is_bothered_with_it(fields: dict[str, Any], headers: dict[str, str]) -> None:
    async with deciding(script=named) as front:
        assert "oblix" not in (await front.server.chat(headers, **fields)).json()
        answer = await front.server.chat(headers, stream=True, **fields)
    assert b'"oblix"' not in answer.body
    assert answer.events()[-2]["choices"] != []


@pytest.mark.parametrize("stream", [False, True])
async def test_the_attempts_before_it_are_told_with_their_errors(stream: bool) -> None:
    async with deciding(script=failing("acme:tiny", "box:llama3.2:3b")) as front:
        answer = await front.server.chat(stream=stream, oblix={"explain": True})
        found = read((answer.events()[-2] if stream else answer.json())["oblix"], Answer)
        assert front.attempts == ["acme:tiny", "box:llama3.2:3b", FAR]
    assert [(attempt.model, attempt.error) for attempt in found.attempts] == [
        ("acme:tiny", "upstream_overloaded"),
        ("box:llama3.2:3b", "upstream_overloaded"),
        (FAR, None),
    ]
    assert found.attempts[0].message == "too many people"
    assert "after acme:tiny failed" in found.attempts[1].reason
    assert found.cost == pytest.approx(PRICE.of(11, 7))  # who answered is who is paid


async def untold(stage: Stage) -> None:
    """No usage from the upstream."""
    await stage.emit(Served("acme", "tiny", "x"), Delta(text="word " * 40))
    await stage.finish()


async def wordless(stage: Stage) -> None:
    """An answer without content."""
    await stage.emit(Served("acme", "tiny", "x"), Delta(finish="stop"), Usage(3, 0))
    await stage.finish()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "first", "output", "estimated"), [(untold, True, 50, True), (wordless, False, 0, False)]
)
async def test_what_was_not_measured_is_not_made_up(
    script: Script, first: bool, output: int, estimated: bool, stream: bool
) -> None:
    async with deciding(script=script) as front:
        answer = await front.server.chat(stream=stream, oblix={"explain": True})
    metrics = read((answer.events()[-2] if stream else answer.json())["oblix"], Answer).metrics
    assert (metrics.time_to_first_token is not None) == first
    assert (metrics.output_tokens, metrics.estimated) == (output, estimated)
    if not first:
        assert metrics.tokens_per_second is None


@pytest.mark.parametrize("model", ["auto", "auto:cheap", FAR])
async def test_figures_that_json_has_not_become_null(model: str) -> None:
    prices = {("sky", "gpt-4o"): Price(inf, nan), ("box", "llama3.2:3b"): Price(nan, -inf)}
    async with deciding(script=named, prices=prices) as front:
        for stream in (False, True):
            answer = await front.server.chat(model=model, stream=stream, oblix={"explain": True})
            shown = (answer.events()[-2] if stream else answer.json())["oblix"]
            far = next(entry for entry in shown["candidates"] if entry["model"] == FAR)
            assert far["expected_cost"] is None
            assert b"NaN" not in answer.body
            assert b"Infinity" not in answer.body
        plan = await front.plan(model=model)  # which is read by a parser that knows no such figures
        assert plan["candidates"]
        assert len(await front.decisions()) == 2
