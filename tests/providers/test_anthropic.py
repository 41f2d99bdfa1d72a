"""The Anthropic adapter against a real server in a real process that speaks the Messages API."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio

from oblix_actors.core.catalogue import Model
from oblix_actors.core.events import Usage
from oblix_actors.core.upstream import Upstream
from oblix_actors.errors import OblixError
from oblix_actors.providers.anthropic import AnthropicUpstream
from oblix_actors.providers.http import HttpClient
from oblix_actors.settings import ProviderSettings, Secret
from oblix_actors.wire.anthropic import Traits, capabilities, guess_traits
from oblix_actors.wire.openai import parse_chat_request
from tests.conftest import FaultServer
from tests.faults.menu import EXAMPLES, words
from tests.providers.sink import Sink

SECONDS = 20
ADAPTER: type[Upstream] = AnthropicUpstream
"""For mypy: it is what a worker wants."""
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hé"}], "temperature": 0.5, "reasoning_effort": "low"}
REQUEST = parse_chat_request(json.dumps(BODY).encode())
TRAITS = Traits("adaptive", 64_000, False, True, frozenset({"low", "medium", "high", "max"}))


def upstream(http: HttpClient, server: FaultServer, key: str | None = "sesame", **settings: Any) -> AnthropicUpstream:
    config = ProviderSettings(name="faults", kind="anthropic", **{"base_url": f"{server.url}/anthropic", **settings})
    return AnthropicUpstream(config, None if key is None else Secret(key), http)


async def ask(server: FaultServer, model: str, **settings: Any) -> Sink:
    sink = Sink()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            await upstream(http, server, **settings).chat(REQUEST, model, sink)
    return sink


@pytest.mark.parametrize("model", ["words-1", "words-200", "slow-3", "crlf", "linger", "gzip"])
async def test_every_word_arrives_once_and_in_order(fault_server: FaultServer, model: str) -> None:
    sink = await ask(fault_server, model)
    count = {"words-1": 1, "words-200": 200, "slow-3": 3, "linger": 3}.get(model, 5)
    assert sink.text == "".join(words(count))
    assert sink.transcript.finish() == "stop"
    assert sink.transcript.usage(REQUEST) == Usage(25, count, cached_tokens=3)
    assert all(sink.batches), "no empty batch"


async def test_split_characters_are_put_together(fault_server: FaultServer) -> None:
    assert (await ask(fault_server, "bytes")).text == "é0🦉 é1🦉 é2🦉 é3🦉 é4🦉 "


async def test_tool_calls_and_reasoning(fault_server: FaultServer) -> None:
    answer = (await ask(fault_server, "tools")).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["tool_calls"] == [
        {"id": "toolu_01A", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
        {"id": "toolu_01B", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    answer = (await ask(fault_server, "reasoning")).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    assert (answer["message"]["reasoning_content"], answer["message"]["content"]) == (
        "Let me think.",
        "".join(words(5)),
    )


async def test_tool_ids_survive_the_round_trip(fault_server: FaultServer) -> None:
    """What the answer names is what the next request answers to."""
    message = (await ask(fault_server, "tools")).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    calls = message["message"]["tool_calls"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls]
    follow_up = {**BODY, "messages": [*BODY["messages"], message["message"], *results]}  # type: ignore[misc] # a list
    sink = Sink()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            await upstream(http, fault_server).chat(parse_chat_request(json.dumps(follow_up).encode()), "echo", sink)
    sent = json.loads(sink.text)["messages"]
    assert [block["id"] for block in sent[1]["content"]] == ["toolu_01A", "toolu_01B"]
    assert [block["tool_use_id"] for block in sent[2]["content"]] == ["toolu_01A", "toolu_01B"]


@pytest.mark.parametrize(
    ("model", "code", "received"),
    [
        ("drop-after-3", "upstream_reset", 3),
        ("truncate-after-3", "upstream_truncated", 3),
        ("no-done", "upstream_truncated", 3),
        ("error-frame-after-3", "upstream_overloaded", 3),
        ("malformed", "upstream_malformed", 3),
        ("truncate-after-0", "upstream_truncated", 0),
        ("html", "upstream_malformed", 0),
        ("status-400", "upstream_bad_request", 0),
        ("status-401", "upstream_auth", 0),
        ("status-413", "upstream_too_large", 0),
        ("status-500", "upstream_server_error", 0),
        ("status-529", "upstream_overloaded", 0),
        ("no-such-model", "upstream_model_not_found", 0),
    ],
)
async def test_every_fault_has_its_name(fault_server: FaultServer, model: str, code: str, received: int) -> None:
    sink = Sink()
    with trio.fail_after(SECONDS), pytest.raises(OblixError) as caught:
        async with HttpClient() as http:
            await upstream(http, fault_server).chat(REQUEST, model, sink)
    assert (caught.value.code, caught.value.provider) == (code, "faults")
    assert sink.text == "".join(words(received))


async def test_a_rate_limit_says_how_long(fault_server: FaultServer) -> None:
    with pytest.raises(OblixError) as caught:
        await ask(fault_server, "status-429")
    error = caught.value
    assert (error.code, error.retry_after, error.upstream_status) == ("upstream_rate_limited", 7.0, 429)


@pytest.mark.parametrize("model", ["hang", "hang-after-2"])
async def test_a_cancel_reaches_the_upstream(fault_server: FaultServer, model: str) -> None:
    model, sink = f"{model}@anthropic", Sink()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http, trio.open_nursery() as nursery:
            nursery.start_soon(upstream(http, fault_server).chat, REQUEST, model, sink)
            await fault_server.wait(model, started=1)
            if "after" in model:
                await sink.got.wait()
            nursery.cancel_scope.cancel(reason="the client is gone")
        await fault_server.wait(model, cancelled=1)


async def test_discover_reads_every_page(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server)
            models = await adapter.discover()
            assert tuple(model.id for model in models) == EXAMPLES
            assert models[0] == Model(EXAMPLES[0], capabilities(TRAITS), 200_000)
            sink = Sink()
            await adapter.chat(REQUEST, "echo", sink)
            sent = json.loads(sink.text)
            assert sent["output_config"] == {"effort": "low"}, "what the list says of the model is used"
            assert "temperature" not in sent
            assert sent["max_tokens"] == 32_000
            chosen = await upstream(http, fault_server, models=("claude-opus-4-5", "words-5")).discover()
            guessed = Model("claude-opus-4-5", capabilities(guess_traits("claude-opus-4-5")))
            assert chosen == (guessed, Model("words-5", capabilities(TRAITS), 200_000))


async def test_an_upstream_without_a_list(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            elsewhere = f"{fault_server.url}/anthropic/v1/nowhere"
            with pytest.raises(OblixError) as caught:
                await upstream(http, fault_server, base_url=elsewhere).discover()
            assert caught.value.code == "upstream_model_not_found"
            (only,) = await upstream(http, fault_server, base_url=elsewhere, models=("deepseek-chat",)).discover()
            assert only.id == "deepseek-chat"


@pytest.mark.parametrize("base_url", ["{}", "{}/", "{}/v1", "{}/v1/", "{}/anthropic", "{}/anthropic/v1"])
async def test_base_urls_with_and_without_the_version(fault_server: FaultServer, base_url: str) -> None:
    assert (await ask(fault_server, "words-3", base_url=base_url.format(fault_server.url))).text == "w0 w1 w2"


async def test_a_refused_key_is_not_shown(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            for key in ("wrong", "sécret"):
                adapter = upstream(http, fault_server, key)
                for attempt in (adapter.discover, lambda bad=adapter: bad.chat(REQUEST, "words-3", Sink())):
                    with pytest.raises(OblixError) as caught:
                        await attempt()
                    assert (caught.value.code, caught.value.provider) == ("upstream_auth", "faults")
                    assert key not in caught.value.message


async def test_headers_of_the_configuration_win(fault_server: FaultServer) -> None:
    async with HttpClient() as http:
        adapter = upstream(http, fault_server, headers={"Anthropic-Version": "2026-10-21", "X-Api-Key": "other"})
    assert adapter._headers["anthropic-version"] == "2026-10-21"
    assert adapter._headers["x-api-key"] == "other"
    assert "authorization" not in adapter._headers


async def test_what_the_api_cannot_do_is_not_sent(fault_server: FaultServer) -> None:
    model = "words-3@unsent"
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            with pytest.raises(OblixError) as caught:
                await upstream(http, fault_server).chat(msgspec.structs.replace(REQUEST, n=2), model, Sink())
        assert (caught.value.code, caught.value.provider) == ("upstream_unsupported", "faults")
        assert model not in (await fault_server.stats())["models"]
