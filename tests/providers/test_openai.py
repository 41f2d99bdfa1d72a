"""The OpenAI adapter against a real server in a real process, with every fault on its menu."""

from __future__ import annotations

import json

import pytest
import trio

from oblix_actors.core.catalogue import Model
from oblix_actors.core.events import Batch, Delta, Usage
from oblix_actors.core.transcript import Transcript
from oblix_actors.core.upstream import Upstream
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.openai import OpenAIUpstream, request_headers
from oblix_actors.settings import ProviderSettings, Secret
from oblix_actors.wire.openai import parse_chat_request
from tests.conftest import FaultServer
from tests.faults.menu import EXAMPLES, words

BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hé"}], "oblix": {"explain": True}, "future": 1}
REQUEST = parse_chat_request(json.dumps(BODY).encode())
SECONDS = 20


class Sink:
    """An ``emit`` that remembers; it may stop reading after ``limit`` batches."""

    def __init__(self, limit: int | None = None) -> None:
        self.batches: list[Batch] = []
        self.got = trio.Event()
        self._limit = limit

    async def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.got.set()
        if self._limit is not None and len(self.batches) >= self._limit:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    @property
    def transcript(self) -> Transcript:
        transcript = Transcript()
        for batch in self.batches:
            transcript.add(batch)
        return transcript

    @property
    def text(self) -> str:
        return self.transcript.text()


def upstream(http: HttpClient, base_url: str, key: str | None = None, **settings: object) -> Upstream:
    config = ProviderSettings(name="faults", kind="openai", base_url=base_url, **settings)  # type: ignore[arg-type]
    return OpenAIUpstream(config, None if key is None else Secret(key), http)


async def ask(server: FaultServer, model: str, key: str | None = None) -> Sink:
    sink = Sink()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            await upstream(http, server.openai_url, key).chat(REQUEST, model, sink)
    return sink


async def fail(server: FaultServer, model: str, key: str | None = None) -> tuple[OblixError, Sink]:
    sink = Sink()
    with trio.fail_after(SECONDS), pytest.raises(OblixError) as caught:
        async with HttpClient() as http:
            await upstream(http, server.openai_url, key).chat(REQUEST, model, sink)
    assert caught.value.provider == "faults"
    return caught.value, sink


@pytest.mark.parametrize("model", ["words-1", "words-200", "slow-3", "crlf", "no-done", "linger", "gzip", "json"])
async def test_every_word_arrives_once_and_in_order(fault_server: FaultServer, model: str) -> None:
    sink = await ask(fault_server, model)
    count = {"words-1": 1, "words-200": 200, "slow-3": 3, "no-done": 3, "linger": 3}.get(model, 5)
    assert sink.text == "".join(words(count))
    assert sink.transcript.finish() == "stop"
    assert sink.transcript.usage(REQUEST) == Usage(
        7, count, raw={"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
    )
    assert all(sink.batches), "no empty batch"


async def test_split_characters_are_put_together(fault_server: FaultServer) -> None:
    assert (await ask(fault_server, "bytes")).text == "é0🦉 é1🦉 é2🦉 é3🦉 é4🦉 "


async def test_tool_calls_and_reasoning(fault_server: FaultServer) -> None:
    answer = (await ask(fault_server, "tools")).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["tool_calls"] == [
        {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    answer = (await ask(fault_server, "reasoning")).transcript.completion(REQUEST, job_id="i", created=1)["choices"][0]
    assert answer["message"]["reasoning_content"] == "Let me think."
    assert answer["message"]["content"] == "".join(words(5))


async def test_the_upstream_gets_the_client_s_body(fault_server: FaultServer) -> None:
    sent = json.loads((await ask(fault_server, "echo")).text)
    assert sent == {
        "model": "echo",
        "messages": BODY["messages"],
        "future": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("model", "code", "received"),
    [
        ("drop-after-3", "upstream_reset", 3),
        ("truncate-after-3", "upstream_truncated", 3),
        ("error-frame-after-3", "upstream_error_frame", 3),
        ("malformed", "upstream_malformed", 3),
        ("drop-after-0", "upstream_reset", 0),
        ("truncate-after-0", "upstream_truncated", 0),
        ("html", "upstream_malformed", 0),
        ("gzip-bomb", "upstream_malformed", 0),
        ("big-headers", "upstream_malformed", 0),
        ("status-400", "upstream_bad_request", 0),
        ("status-401", "upstream_auth", 0),
        ("status-404", "upstream_model_not_found", 0),
        ("status-500", "upstream_server_error", 0),
        ("status-529", "upstream_overloaded", 0),
        ("status-302", "upstream_malformed", 0),
        ("no-such-model", "upstream_model_not_found", 0),
    ],
)
async def test_every_fault_has_its_name(fault_server: FaultServer, model: str, code: str, received: int) -> None:
    error, sink = await fail(fault_server, model)
    assert error.code == code
    assert sink.text == "".join(words(received))


async def test_a_rate_limit_says_how_long(fault_server: FaultServer) -> None:
    error, _ = await fail(fault_server, "status-429")
    assert (error.code, error.retry_after, error.upstream_status) == ("upstream_rate_limited", 7.0, 429)
    assert error.message == "status 429 as ordered"


async def test_a_refused_key_is_not_shown(fault_server: FaultServer) -> None:
    error, _ = await fail(fault_server, "words-3", key="wrong")
    assert error.code == "upstream_auth"
    assert "wrong" not in error.message


async def test_a_key_that_cannot_be_sent_is_not_shown(fault_server: FaultServer) -> None:
    for key in ("sécret", "secret\n"):
        error, _ = await fail(fault_server, "words-3", key=key)
        assert error.code == "upstream_auth"
        assert "cret" not in error.message
        assert error.__cause__ is None, "the original text quotes it"


@pytest.mark.parametrize("model", ["hang", "hang-after-2"])
async def test_a_cancel_reaches_the_upstream(fault_server: FaultServer, model: str) -> None:
    model = f"{model}@cancel"
    sink = Sink()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http, trio.open_nursery() as nursery:
            nursery.start_soon(upstream(http, fault_server.openai_url).chat, REQUEST, model, sink)
            await fault_server.wait(model, started=1)
            if "after" in model:
                await sink.got.wait()
            nursery.cancel_scope.cancel(reason="the client is gone")
        await fault_server.wait(model, cancelled=1)


async def test_a_client_that_stops_reading_and_then_goes_leaves_nothing_open(fault_server: FaultServer) -> None:
    model, sink = "slow@stalled", Sink(limit=1)
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(upstream(http, fault_server.openai_url).chat, REQUEST, model, sink)
                await sink.got.wait()
                nursery.cancel_scope.cancel(reason="the client is gone")
            await fault_server.wait(model, cancelled=1)
    assert len(sink.batches) == 1


async def test_an_error_in_the_middle_closes_the_upstream(fault_server: FaultServer) -> None:
    model = "slow@broken"

    async def emit(batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        raise OblixError("client_stalled", "nobody reads")

    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            with pytest.raises(OblixError, match="nobody reads"):
                await upstream(http, fault_server.openai_url).chat(REQUEST, model, emit)
            await fault_server.wait(model, cancelled=1)


async def test_connections_are_used_again_after_whole_answers(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server.openai_url)
            await adapter.discover()
            before = (await fault_server.stats())["accepted"]
            for _ in range(5):
                await adapter.chat(REQUEST, "words-3@again", Sink())
            await adapter.discover()
            assert (await fault_server.stats())["accepted"] == before + 2, "ours, and the one that asks"


async def test_a_hundred_at_once(fault_server: FaultServer) -> None:
    sinks = [Sink() for _ in range(100)]
    with trio.fail_after(SECONDS * 2):
        async with HttpClient() as http:
            adapter = upstream(http, fault_server.openai_url)
            async with trio.open_nursery() as nursery:
                for sink in sinks:
                    nursery.start_soon(adapter.chat, REQUEST, "words-20@crowd", sink)
    assert {sink.text for sink in sinks} == {"".join(words(20))}
    assert all(isinstance(event, Delta | Usage) for sink in sinks for batch in sink.batches for event in batch)


async def test_discover(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            models = await upstream(http, fault_server.openai_url + "/").discover()
            assert tuple(model.id for model in models) == EXAMPLES
            chosen = await upstream(http, fault_server.openai_url, models=("mine", "words-5")).discover()
            assert chosen == (Model("mine"), Model("words-5"))


async def test_discover_fails_with_a_reason(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            with pytest.raises(OblixError) as caught:
                await upstream(http, fault_server.openai_url, key="wrong").discover()
            assert (caught.value.code, caught.value.provider) == ("upstream_auth", "faults")
            with pytest.raises(OblixError) as caught:
                await upstream(http, fault_server.url).discover()
            assert caught.value.code == "upstream_model_not_found"
            listed = await upstream(http, fault_server.url, models=("a",)).discover()
            assert listed == (Model("a"),), "an upstream without a list, and models in the configuration"


async def test_a_stranger_on_the_port_is_not_hooked(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            with pytest.raises(OblixError) as caught:
                await upstream(http, f"{fault_server.url}/stranger", models=("a",)).discover()
            assert caught.value.code == "upstream_malformed"


def test_headers() -> None:
    assert request_headers(Secret("k"), {"Authorization": "Basic x", "X-Title": "t"}) == {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": "Basic x",
        "x-title": "t",
    }
    assert "authorization" not in request_headers(None)
