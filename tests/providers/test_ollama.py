"""The Ollama adapter against a real server in a real process that speaks Ollama's API."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio

from oblix_actors.core import chat
from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.events import Usage
from oblix_actors.core.upstream import Upstream
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.ollama import OllamaUpstream
from oblix_actors.settings import ProviderSettings, Secret
from oblix_actors.wire.openai import parse_chat_request
from tests.conftest import FaultServer
from tests.faults.menu import words
from tests.faults.ollama import CONTEXT, LISTED, LOADED_CONTEXT
from tests.providers.sink import Sink

SECONDS = 20
ADAPTER: type[Upstream] = OllamaUpstream
"""For mypy: it is what a worker wants."""
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hé"}]}
REQUEST = parse_chat_request(json.dumps(BODY).encode())
KNOWN = frozenset({chat.TOOLS, chat.JSON_OBJECT, chat.JSON_SCHEMA})
SIZE = 2019393189


def upstream(http: HttpClient, server: FaultServer, key: Secret | None = None, **settings: Any) -> OllamaUpstream:
    config = ProviderSettings(name="faults", kind="ollama", **{"base_url": server.url, **settings})
    return OllamaUpstream(config, key, http)


async def ask(server: FaultServer, model: str, request: ChatRequest = REQUEST) -> Sink:
    sink = Sink()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            await upstream(http, server).chat(request, model, sink)
    return sink


@pytest.mark.parametrize("model", ["words-1", "words-200", "slow-3", "crlf", "linger", "gzip", "loading"])
async def test_every_word_arrives_once_and_in_order(fault_server: FaultServer, model: str) -> None:
    sink = await ask(fault_server, model)
    count = {"words-1": 1, "words-200": 200, "slow-3": 3, "linger": 3, "loading": 3}.get(model, 5)
    assert sink.text == "".join(words(count))
    assert sink.transcript.finish() == "stop"
    assert sink.transcript.usage(REQUEST) == Usage(26, count)
    assert all(sink.batches), "no empty batch"


async def test_split_characters_are_put_together(fault_server: FaultServer) -> None:
    assert (await ask(fault_server, "bytes")).text == "é0🦉 é1🦉 é2🦉 é3🦉 é4🦉 "


async def test_tool_calls_and_reasoning(fault_server: FaultServer) -> None:
    answer = (await ask(fault_server, "tools")).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    calls = answer["message"]["tool_calls"]
    assert [call["function"] for call in calls] == [
        {"name": "weather", "arguments": '{"city":"Oslo"}'},
        {"name": "time", "arguments": "{}"},
    ]
    assert calls[0]["id"] != calls[1]["id"]
    one = msgspec.structs.replace(REQUEST, parallel_tool_calls=False)
    answer = (await ask(fault_server, "tools", one)).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    assert len(answer["message"]["tool_calls"]) == 1
    answer = (await ask(fault_server, "reasoning")).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    assert (answer["message"]["reasoning_content"], answer["message"]["content"]) == (
        "Let me think.",
        "".join(words(5)),
    )


@pytest.mark.parametrize(
    ("model", "code", "received"),
    [
        ("drop-after-3", "upstream_reset", 3),
        ("truncate-after-3", "upstream_truncated", 3),
        ("no-done", "upstream_truncated", 3),
        ("error-frame-after-3", "upstream_error_frame", 3),
        ("malformed", "upstream_malformed", 3),
        ("truncate-after-0", "upstream_truncated", 0),
        ("html", "upstream_malformed", 0),
        ("status-400", "upstream_bad_request", 0),
        ("status-401", "upstream_auth", 0),
        ("status-500", "upstream_server_error", 0),
        ("status-503", "upstream_overloaded", 0),
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


@pytest.mark.parametrize("model", ["hang", "hang-after-2"])
async def test_a_cancel_reaches_the_upstream(fault_server: FaultServer, model: str) -> None:
    model, sink = f"{model}@ollama", Sink()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http, trio.open_nursery() as nursery:
            nursery.start_soon(upstream(http, fault_server).chat, REQUEST, model, sink)
            await fault_server.wait(model, started=1)
            if "after" in model:
                await sink.got.wait()
            nursery.cancel_scope.cancel(reason="the client is gone")
        await fault_server.wait(model, cancelled=1)


async def test_connections_are_used_again(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server)
            await adapter.chat(REQUEST, "words-3@ollama", Sink())  # a near server's first answer is not kept alive
            before = (await fault_server.stats())["accepted"]
            for _ in range(5):
                await adapter.chat(REQUEST, "words-3@ollama", Sink())
            assert (await fault_server.stats())["accepted"] == before + 2, "ours, and the one that asks"


async def test_discover(fault_server: FaultServer) -> None:
    def model(name: str, *, loaded: bool) -> Model:
        return Model(name, KNOWN, CONTEXT, loaded, SIZE)

    before = await fault_server.stats()
    asked = before["models"].get("show:words-5", {"started": 0})["started"]
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server)
            assert await adapter.discover() == (
                model("loaded:latest", loaded=True),
                model("words-5", loaded=False),
                Model("embedder:latest", frozenset({chat.JSON_OBJECT, chat.JSON_SCHEMA}), CONTEXT, False, SIZE, False),
                Model("mystery", None, None, False, SIZE),
                model("slow", loaded=False),
                msgspec.structs.replace(model("gpt-oss:120b-cloud", loaded=False), remote=True),
            )
            again = await adapter.discover()
            assert {entry.id for entry in again} == set(LISTED)
            chosen = upstream(http, fault_server, models=("slow", "loaded", "unheard-of"))
            assert [entry.id for entry in await chosen.discover()] == ["slow", "loaded:latest", "unheard-of"]
    after = await fault_server.stats()
    assert after["models"]["show:words-5"]["started"] == asked + 1, "what is known of a digest is not asked again"


async def test_strangers_and_the_absent(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            for base_url, code in (
                (f"{fault_server.url}/stranger", "upstream_model_not_found"),
                ("http://127.0.0.1:1", "upstream_connect"),
            ):
                with pytest.raises(OblixError) as caught:
                    await upstream(http, fault_server, base_url=base_url).discover()
                assert (caught.value.code, caught.value.provider) == (code, "faults")


def request(characters: int, **fields: Any) -> ChatRequest:
    return ChatRequest(model="auto", messages=(Message("user", "x" * characters),), **fields)


async def test_the_context_is_what_the_prompt_needs(fault_server: FaultServer) -> None:
    """``echo`` sends back what it got."""

    async def sent(adapter: OllamaUpstream, request: ChatRequest, model: str) -> dict[str, Any]:
        sink = Sink()
        await adapter.chat(request, model, sink)
        body: dict[str, Any] = json.loads(sink.text)
        return body

    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server)
            assert (await sent(adapter, REQUEST, "echo"))["options"] == {"num_ctx": 4096}
            assert (await sent(adapter, request(35_000), "echo"))["options"] == {"num_ctx": 16_384}
            assert (await sent(adapter, REQUEST, "echo"))["truncate"] is False


async def test_what_is_loaded_stays_loaded(fault_server: FaultServer) -> None:
    """The model that is in memory keeps its context while that is enough; its own limit is never passed."""
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server)
            await adapter.discover()
            assert adapter._fit(REQUEST, "loaded:latest", adapter._details[adapter._digests["loaded:latest"]]) == (
                LOADED_CONTEXT
            )
            details = adapter._details[adapter._digests["words-5"]]
            assert adapter._fit(request(16_000), "words-5", details) == CONTEXT
            await adapter.chat(request(16_000), "words-5", Sink())
            assert adapter._fit(REQUEST, "words-5", details) == CONTEXT, "a smaller one would load it anew"
            with pytest.raises(OblixError) as caught:
                await adapter.chat(request(40_000), "words-5", Sink())
            assert (caught.value.code, caught.value.provider) == ("context_length_exceeded", "faults")
            await adapter.discover()
            assert adapter._fit(REQUEST, "words-5", details) == 4096, "it is not in memory after all"


async def test_a_key_is_sent_and_never_shown(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server, Secret("sesame"), base_url=fault_server.url + "/v1/")
            assert adapter._headers["authorization"] == "Bearer sesame"
            assert len(await adapter.discover()) == len(LISTED), "a base_url with /v1 is meant well"


async def test_a_model_can_be_loaded_before_it_is_needed(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            await upstream(http, fault_server).warm("words-1@warm")
        assert (await fault_server.stats())["models"]["words-1@warm"]["started"] == 1
