"""The scripted provider does what a model's name says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from oblix_actors.core import chat
from oblix_actors.core.events import Usage
from oblix_actors.core.script import NAMES, SENTENCE, THOUGHT
from oblix_actors.core.upstream import Upstream
from oblix_actors.errors import OblixError
from oblix_actors.providers.scripted import ScriptedUpstream
from oblix_actors.settings import ProviderSettings
from oblix_actors.wire.openai import parse_chat_request
from tests.providers.sink import Sink

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
USER = {"role": "user", "content": "Say  it again."}


def scripted(*models: str) -> Upstream:
    return ScriptedUpstream(ProviderSettings(name="script", kind="scripted", models=models))


async def ask(model: str, *messages: dict[str, Any], upstream: Upstream | None = None, **fields: Any) -> Sink:
    request = parse_chat_request(json.dumps({"model": "auto", "messages": messages or [USER], **fields}).encode())
    sink = Sink()
    await (upstream or scripted()).chat(request, model, sink)
    return sink


async def fail(model: str, words: str = "", upstream: Upstream | None = None) -> OblixError:
    sink = Sink()
    request = parse_chat_request(json.dumps({"model": "auto", "messages": [USER]}).encode())
    with pytest.raises(OblixError) as caught:
        await (upstream or scripted()).chat(request, model, sink)
    assert sink.text == words
    assert caught.value.provider == "script"
    return caught.value


@pytest.mark.parametrize(
    ("model", "text", "count"),
    [
        ("say", SENTENCE, len(SENTENCE.split())),
        ("echo", "Say  it again.", 3),
        ("words-3", "w0 w1 w2", 3),
        ("words-0", "", 0),
        ("tools", "No tool was offered.", 4),
        ("flaky", SENTENCE, len(SENTENCE.split())),
    ],
)
async def test_what_it_says(model: str, text: str, count: int) -> None:
    sink = await ask(model)
    assert sink.text == text
    assert sink.transcript.finish() == "stop"
    usage = sink.batches[-1][-1]
    assert isinstance(usage, Usage)
    assert usage.output_tokens == count
    assert usage.input_tokens > 0


async def test_reasoning() -> None:
    sink = await ask("reasoning")
    message = sink.transcript.completion(
        parse_chat_request(json.dumps({"model": "a", "messages": [USER]}).encode()), job_id="i", created=1
    )["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == (THOUGHT, SENTENCE)


async def test_max_tokens_are_words() -> None:
    sink = await ask("words-9", max_tokens=2)
    assert (sink.text, sink.transcript.finish()) == ("w0 w1", "length")


async def test_pace(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    await ask("slow-250")
    pauses = len(SENTENCE.split()) - 1
    assert trio.current_time() - start == pytest.approx(pauses * 0.25)


async def test_hang(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(1_000_000) as patience:
        await ask("hang")
    assert patience.cancelled_caught


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("drop-2", "upstream_reset", "w0 w1"),
        ("drop", "upstream_reset", "w0 w1 w2"),
        ("truncate-1", "upstream_truncated", "w0"),
        ("malformed-0", "upstream_malformed", ""),
        ("error-frame-2", "upstream_error_frame", "w0 w1"),
        ("error", "upstream_server_error", ""),
        ("error:401", "upstream_auth", ""),
        ("error:404", "upstream_model_not_found", ""),
        ("error:529", "upstream_overloaded", ""),
    ],
)
async def test_failures(model: str, code: str, words: str) -> None:
    assert (await fail(model, words)).code == code


async def test_a_rate_limit_says_how_long() -> None:
    error = await fail("error:429")
    assert (error.code, error.upstream_status, error.retry_after) == ("upstream_rate_limited", 429, 1.0)


async def test_flaky_fails_every_so_often() -> None:
    upstream = scripted()
    for _ in range(3):
        for _ in range(2):
            assert (await ask("flaky-3", upstream=upstream)).text == SENTENCE
        assert (await fail("flaky-3", upstream=upstream)).code == "upstream_server_error"
    assert (await ask("flaky", upstream=upstream)).text == SENTENCE, "each name counts for itself"


async def test_an_agent_s_loop_ends() -> None:
    sink = await ask("tools", tools=[TOOL])
    request = parse_chat_request(json.dumps({"model": "a", "messages": [USER]}).encode())
    choice = sink.transcript.completion(request, job_id="i", created=1)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"text"}'}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "rain"}
    assert (await ask("tools", USER, choice["message"], result, tools=[TOOL])).text == "The tool said: rain"


async def test_an_unknown_name_is_told_the_menu() -> None:
    error = await fail("nope")
    assert error.code == "upstream_model_not_found"
    assert all(name in error.message for name in NAMES)


async def test_discover() -> None:
    models = await scripted().discover()
    assert tuple(model.id for model in models) == NAMES
    assert models[0].capabilities is not None
    assert chat.TOOLS in models[0].capabilities
    assert not models[0].capabilities & {chat.CHOICES, chat.LOGPROBS}
    assert [model.id for model in await scripted("slow-50", "say").discover()] == ["slow-50", "say"]
