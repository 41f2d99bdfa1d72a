"""The embedded model as a provider: what it asks of the engine, and what the real model answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.events import Batch, Delta, Event, Usage
from oblix_actors.engine import models
from oblix_actors.engine.models import ModelFile
from oblix_actors.engine.protocol import EngineAddress, EngineParams, EngineState
from oblix_actors.errors import OblixError
from oblix_actors.providers.embedded import EmbeddedUpstream
from oblix_actors.providers.http import HttpClient
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import EmbeddedSettings, Secret
from tests.engine.gguf_bytes import gguf

SECONDS = 60
PID = 4711
SETTINGS = EmbeddedSettings(context=512, slots=2, temperature=0.25)
DONE = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


class FakeEngine:
    """An engine that is always there, at ``address``."""

    def __init__(self, model: ModelFile | None, address: EngineAddress | None = None) -> None:
        self.state = Watch(EngineState("ready", pid=PID))
        self.leases = 0
        self._model = model
        self._address = address

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[EngineAddress]:
        assert self._address is not None, "nothing should be leased"
        self.leases += 1
        yield self._address

    async def model(self) -> ModelFile | None:
        await trio.lowlevel.checkpoint()
        return self._model


class Answer(list[Event]):
    """Collects an answer."""

    async def __call__(self, batch: Batch) -> None:
        self.extend(batch)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self if isinstance(event, Delta))


def ask(text: str = "Say hello.", *, body: bool = True, **fields: Any) -> ChatRequest:
    raw = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields} if body else {}
    known = {name: value for name, value in fields.items() if name in ChatRequest.__struct_fields__}
    return ChatRequest(model="auto", messages=(Message("user", text),), body=raw, **known)


# -- what it asks of the engine


Serve = Callable[[trio.SocketStream, dict[str, Any]], Awaitable[None]]


@asynccontextmanager
async def upstream_of(serve: Serve) -> AsyncIterator[tuple[FakeEngine, EmbeddedUpstream]]:
    """A provider whose engine is a socket that reads one request and does as ``serve`` says."""

    async def connection(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive_some()
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            while len(body) < length:
                body += await stream.receive_some()
            assert b"authorization: bearer the-key" in head.lower()
            await serve(stream, json.loads(body))

    with trio.fail_after(SECONDS):
        async with HttpClient() as http, trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, connection, 0)
            port = listeners[0].socket.getsockname()[1]
            address = EngineAddress(f"http://127.0.0.1:{port}/v1", Secret("the-key"), "tiny", PID)
            engine = FakeEngine(ModelFile("tiny", Path("/models/tiny.gguf")), address)
            yield engine, EmbeddedUpstream(SETTINGS, engine, http)
            nursery.cancel_scope.cancel(reason="the test is over")


async def answer_well(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + DONE)


@pytest.mark.parametrize("body", [True, False], ids=["OpenAI's dialect", "another dialect"])
@pytest.mark.parametrize(("given", "sent"), [(None, 0.25), (0.0, 0.0), (1.5, 1.5)])
async def test_a_request_without_a_temperature_gets_ours(given: float | None, sent: float, body: bool) -> None:
    seen: list[dict[str, Any]] = []

    async def serve(stream: trio.SocketStream, request: dict[str, Any]) -> None:
        seen.append(request)
        await answer_well(stream)

    fields = {} if given is None else {"temperature": given}
    async with upstream_of(serve) as (engine, upstream):
        answer = Answer()
        await upstream.chat(ask("Hello?", body=body, **fields), "tiny", answer)
    assert answer.text == "Hi"
    assert engine.leases == 1
    (request,) = seen
    assert request["temperature"] == sent
    assert request["messages"] == [{"role": "user", "content": "Hello?"}]
    assert request["model"] == "tiny"


@pytest.mark.parametrize("shown", [b"", b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'])
@pytest.mark.parametrize(("dies", "code"), [(True, "process_died"), (False, None)])
async def test_a_broken_connection_is_a_death_if_the_process_died(shown: bytes, dies: bool, code: str | None) -> None:
    async def serve(stream: trio.SocketStream, _request: dict[str, Any]) -> None:
        if shown:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
            await stream.send_all(head + shown)
        if dies:
            nursery.start_soon(die)

    async def die() -> None:
        await trio.testing.wait_all_tasks_blocked()  # the connection breaks first
        engine.state.set(EngineState("starting", pid=PID + 1))  # and another request has started the next one

    async with upstream_of(serve) as (engine, upstream), trio.open_nursery() as nursery:
        with pytest.raises(OblixError) as caught:
            await upstream.chat(ask(), "tiny", Answer())
    assert caught.value.code == (code or "upstream_reset")
    assert caught.value.provider == "embedded"


@pytest.mark.parametrize(
    ("request_", "model", "code"),
    [
        (ask(n=3), "tiny", "upstream_unsupported"),
        (ask("word " * 4000), "tiny", "context_length_exceeded"),
        (ask(), "huge", "upstream_model_not_found"),
    ],
)
async def test_what_cannot_end_well_loads_no_model(request_: ChatRequest, model: str, code: str) -> None:
    upstream = EmbeddedUpstream(SETTINGS, FakeEngine(ModelFile("tiny", Path("/models/tiny.gguf"))), HttpClient())
    with pytest.raises(OblixError) as caught:
        await upstream.chat(request_, model, Answer())
    assert caught.value.code == code


async def test_discovery_tells_what_the_file_tells(tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"
    template = {"tokenizer.chat_template": "{{ tools }}{{ messages }}"}
    path.write_bytes(gguf({"general.architecture": "llama", "llama.context_length": 256, **template}))
    engine = FakeEngine(ModelFile("some", path))
    (model,) = await EmbeddedUpstream(SETTINGS, engine, HttpClient()).discover()
    assert model.id == "some"
    assert model.context == 256
    assert model.loaded is True
    assert model.size_bytes == path.stat().st_size
    assert set(model.capabilities or ()) == {"json_object", "json_schema", "logprobs", "tools", "n"}
    engine.state.set(EngineState("stopped"))
    alone = msgspec.structs.replace(SETTINGS, slots=1)
    (model,) = await EmbeddedUpstream(alone, engine, HttpClient()).discover()
    assert model.loaded is False
    assert set(model.capabilities or ()) == {"json_object", "json_schema", "logprobs", "tools"}


async def test_discovery_says_why_there_is_none() -> None:
    async def reason(engine: FakeEngine) -> str:
        with pytest.raises(OblixError) as caught:
            await EmbeddedUpstream(SETTINGS, engine, HttpClient()).discover()
        assert caught.value.code == "engine_unavailable"
        return caught.value.message

    assert "oblix pull" in await reason(FakeEngine(None))
    assert "gone.gguf cannot be read" in await reason(FakeEngine(ModelFile("gone", Path("/nowhere/gone.gguf"))))
    default = models.resolve(EmbeddedSettings())
    failed = FakeEngine(default)
    failed.state.set(EngineState("failed", reason="it did not load within 3 s"))
    assert "it did not load within 3 s" in await reason(failed)


# -- what the real model answers


@pytest.fixture(scope="module")
def real() -> Iterator[FakeEngine]:
    """The real model in a process of its own, loaded once for all of these tests."""
    model = models.resolve(SETTINGS)
    assert model is not None, "the default model is not installed"
    key = "the key of these tests"
    params = EngineParams(str(model.path), model.name, SETTINGS.context, SETTINGS.slots, 1, key, 0)
    command = [sys.executable, "-P", "-m", "oblix_actors.engine"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(msgspec.json.encode(params) + b"\n")
            child.stdin.flush()
            said = json.loads(child.stdout.readline())
            yield FakeEngine(model, EngineAddress(f"{said['address']}/v1", Secret(key), model.name, PID))
        finally:
            child.kill()


async def answered(engine: FakeEngine, request: ChatRequest) -> Answer:
    answer = Answer()
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            await EmbeddedUpstream(SETTINGS, engine, http).chat(request, models.DEFAULT_NAME, answer)
    return answer


async def test_real_tokens_stream(real: FakeEngine) -> None:
    answer = await answered(real, ask("What is the capital of France?", max_tokens=24, temperature=0.0))
    deltas = [event for event in answer if isinstance(event, Delta)]
    assert len([delta for delta in deltas if delta.text]) > 3, "it came in one piece"
    assert deltas[-1].finish in ("stop", "length")
    (usage,) = [event for event in answer if isinstance(event, Usage)]
    assert usage.input_tokens > 10
    assert 3 < usage.output_tokens <= 24


async def test_a_prompt_that_is_too_long_is_told(real: FakeEngine) -> None:
    with pytest.raises(OblixError) as caught:
        await answered(real, ask("word " * 700))
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.kind.retryable


async def test_a_schema_binds_the_answer(real: FakeEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "warm": {"type": "boolean"}},
        "required": ["city", "warm"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    answer = await answered(real, ask("Name a city.", response_format=wanted, max_tokens=100))
    assert set(json.loads(answer.text)) == {"city", "warm"}


async def test_two_choices(real: FakeEngine) -> None:
    answer = await answered(real, ask(n=2, max_tokens=6))
    finished = {event.index: event.finish for event in answer if isinstance(event, Delta) and event.finish}
    assert set(finished) == {0, 1}


async def test_logprobs(real: FakeEngine) -> None:
    answer = await answered(real, ask(logprobs=True, top_logprobs=2, max_tokens=3))
    given = [event.logprobs for event in answer if isinstance(event, Delta) and event.logprobs]
    assert len(given[0]["content"][0]["top_logprobs"]) == 2
