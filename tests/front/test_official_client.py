"""The official client, on Trio, against the real front: its answers, its streams, its exception classes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai
import pytest
import trio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from oblix_actors.core.events import Completed, Delta, ToolCallDelta
from oblix_actors.errors import KINDS
from oblix_actors.settings import ServerSettings
from tests.front.harness import SERVED, Server, Stage, make_house, running

pytestmark = [  # the client's own generators are left to the garbage collector when its user does not close them
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


@asynccontextmanager
async def client_of(server: Server, key: str = "any") -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.base_url, api_key=key, max_retries=0) as client:
        yield client


async def test_a_whole_answer() -> None:
    async with running() as server, client_of(server) as client:
        raw = await client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello"
    assert answer.model == raw.headers["x-oblix-model"] == "acme:tiny"
    assert answer._request_id == raw.headers["x-request-id"]
    assert answer.usage is not None


async def test_a_stream() -> None:
    async with running() as server, client_of(server) as client:
        stream = await client.chat.completions.create(
            model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None


async def test_comments_do_not_disturb_it() -> None:
    async def script(stage: Stage) -> None:
        await trio.sleep(0.05)
        await stage.say("Hello")
        await trio.sleep(0.05)
        await stage.finish()

    house = make_house(settings=ServerSettings(keep_alive_seconds=0.01))
    async with running(house, script) as server, client_of(server) as client:
        stream = await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "Hello"


async def test_tool_calls_come_through() -> None:
    async def script(stage: Stage) -> None:
        await stage.emit(
            SERVED,
            Delta(tool_calls=(ToolCallDelta(0, "call_1", "weather", '{"city":'),)),
            Delta(tool_calls=(ToolCallDelta(0, arguments='"Oslo"}'),)),
            Delta(finish="tool_calls"),
        )
        stage.job.finish(Completed())

    async with running(script=script) as server, client_of(server) as client:
        answer = await client.chat.completions.create(model="auto", messages=MESSAGES)
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city":"Oslo"}')
        async with client.chat.completions.stream(model="auto", messages=MESSAGES) as stream:
            final = await stream.get_final_completion()
        (call_again,) = final.choices[0].message.tool_calls or []
        assert call_again.function.arguments == '{"city":"Oslo"}'


def class_of(status: int) -> type[openai.APIStatusError]:
    by_status: dict[int, type[openai.APIStatusError]] = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
    }
    return by_status.get(status, openai.InternalServerError if status >= 500 else openai.APIStatusError)


@pytest.mark.parametrize("code", sorted(KINDS))
@pytest.mark.parametrize("stream", [False, True])
async def test_each_failure_raises_the_class_of_its_status(code: str, stream: bool) -> None:
    async def script(stage: Stage) -> None:
        stage.fail(code, "what went wrong")

    async with running(script=script) as server, client_of(server) as client:
        with pytest.raises(class_of(KINDS[code].status)) as raised:
            await client.chat.completions.create(model="auto", messages=MESSAGES, stream=stream)
    error = raised.value
    assert (error.code, error.status_code, error.type) == (code, KINDS[code].status, KINDS[code].type)
    assert "what went wrong" in error.message
    assert error.request_id is not None
    assert error.request_id.startswith("req_")


async def test_what_the_front_itself_refuses_raises_too() -> None:
    house = make_house(keys=("right",), settings=ServerSettings(max_body_bytes=10_000))
    async with running(house) as server, client_of(server, "right") as client, client_of(server, "wrong") as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("acme:nothing/like:this")
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="x", input="y")
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(model="auto", messages=[])
        assert bad.value.param == "messages"
        for size in (20_000, 8_000_000):
            with pytest.raises(openai.APIStatusError) as large:
                await client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "x" * size}])
            assert large.value.status_code == 413
        assert "auto" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("acme:hf.co/org/big:q4")).id == "acme:hf.co/org/big:q4"


async def test_a_stream_that_breaks_raises_after_what_it_gave() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("half an ans")
        stage.fail("upstream_truncated", "cut off")

    async with running(script=script) as server, client_of(server) as client:
        stream = await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        pieces: list[str] = []

        async def read() -> None:
            async for chunk in stream:
                pieces.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - what was given stays

        with pytest.raises(openai.APIError, match="cut off") as raised:
            await read()
    assert "".join(pieces) == "half an ans"
    assert raised.value.code == "upstream_truncated"


async def test_a_client_that_stops_iterating_frees_its_job() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("first")
        await trio.sleep_forever()

    async with running(script=script) as server, client_of(server) as client:
        async with await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True) as stream:
            assert (await stream.__anext__()).choices
        await server.heard.wait()
        assert len(server.house.jobs) == 0


async def test_the_blocking_client_in_a_thread() -> None:
    def ask() -> str | None:
        with OpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
            return client.chat.completions.create(model="auto", messages=MESSAGES).choices[0].message.content

    async with running() as server:
        assert await trio.to_thread.run_sync(ask) == "Hello"
