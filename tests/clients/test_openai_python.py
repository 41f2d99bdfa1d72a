"""The official Python client against the real server and the real model: blocking, on asyncio, and on Trio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any

import openai
import pytest
import trio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.clients.server import BREAKING, EMBEDDED, KEY, LIMITED, MISSING, SLOW, Server

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
ERRORS = [
    (MISSING, openai.NotFoundError, "model_not_found"),
    (LIMITED, openai.RateLimitError, "upstream_rate_limited"),
]

Body = Callable[[AsyncOpenAI], Coroutine[Any, Any, None]]
Run = Callable[[Server, Body], None]


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key=KEY, max_retries=0)


async def with_client(server: Server, body: Body) -> None:
    async with AsyncOpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
        await body(client)


def on_asyncio(server: Server, body: Body) -> None:
    asyncio.run(with_client(server, body))


def on_trio(server: Server, body: Body) -> None:
    trio.run(with_client, server, body)


either_loop = pytest.mark.parametrize("run", [on_asyncio, on_trio])


def test_models_lists_auto_and_every_model_by_its_full_name(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert "auto" in names
    assert EMBEDDED in names
    assert all(":" in name for name in names if name != "auto")
    assert client.models.retrieve(EMBEDDED).id == EMBEDDED


def test_auto_answers_from_a_model_that_it_names(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES, max_completion_tokens=24)
    answer = raw.parse()
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.model == raw.headers["x-oblix-model"]
    assert answer.model == f"{raw.headers['x-oblix-provider']}:{answer.model.split(':', 1)[1]}"
    assert raw.headers["x-oblix-route"]
    assert raw.headers["x-request-id"]


def test_the_embedded_model_answers(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=EMBEDDED, messages=MESSAGES, max_completion_tokens=24)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == EMBEDDED
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.completion_tokens <= 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_the_embedded_model_streams(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=EMBEDDED,
        messages=MESSAGES,
        max_completion_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    pieces = [choice.delta.content for choice in choices if choice.delta.content]
    assert len(pieces) > 1, "tokens come as they are made"
    assert choices[0].delta.role == "assistant"
    assert {choice.delta.role for choice in choices[1:]} <= {None}
    assert [choice.finish_reason for choice in choices if choice.finish_reason] in (["stop"], ["length"])
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].model == EMBEDDED
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


def test_a_stream_tells_its_usage_only_when_asked(client: OpenAI) -> None:
    stream = client.chat.completions.create(model=EMBEDDED, messages=MESSAGES, max_completion_tokens=8, stream=True)
    assert [chunk.usage for chunk in stream if chunk.usage is not None] == []


@pytest.mark.parametrize(("model", "error", "code"), ERRORS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_before_the_first_token_raises_the_class_of_its_status(
    client: OpenAI, model: str, error: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with pytest.raises(error) as raised:
        client.chat.completions.create(model=model, messages=MESSAGES, stream=stream)
    assert raised.value.code == code


def test_an_error_after_the_first_token_raises_and_is_never_a_short_answer(client: OpenAI) -> None:
    stream = client.chat.completions.create(model=BREAKING, messages=MESSAGES, stream=True)
    pieces: list[str] = []

    def read() -> None:
        for chunk in stream:
            pieces.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)

    with pytest.raises(openai.APIError) as raised:
        read()
    assert pieces
    assert raised.value.code == "upstream_truncated"


def test_a_request_that_makes_no_sense_is_refused_with_the_field_at_fault(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="auto", messages=[])
    assert raised.value.param == "messages"


def test_a_wrong_key_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_a_client_that_leaves_frees_its_place(client: OpenAI) -> None:
    """Its provider answers one request at a time: the next one can only begin when this one's slot is free again."""
    for _ in range(3):
        with client.with_options(timeout=20).chat.completions.create(
            model=SLOW, messages=MESSAGES, stream=True
        ) as stream:
            assert any(choice.delta.content for chunk in islice(stream, 2) for choice in chunk.choices)


@either_loop
def test_async_answer(server: Server, run: Run) -> None:
    async def body(client: AsyncOpenAI) -> None:
        names = [model.id async for model in client.models.list()]
        assert {"auto", EMBEDDED} <= set(names)
        answer = await client.chat.completions.create(model=EMBEDDED, messages=MESSAGES, max_completion_tokens=24)
        assert answer.choices[0].message.content

    run(server, body)


# The client leaves its own generators to the garbage collector, which Trio remarks on.
@pytest.mark.filterwarnings("ignore:Async generator 'openai._streaming:ResourceWarning")
@either_loop
def test_async_stream(server: Server, run: Run) -> None:
    async def body(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(
            model=EMBEDDED, messages=MESSAGES, max_completion_tokens=24, stream=True
        )
        finishes = []
        text = ""
        async for chunk in stream:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            finishes += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
        assert text
        assert finishes in (["stop"], ["length"])

    run(server, body)


@either_loop
@pytest.mark.parametrize(("model", "error", "code"), ERRORS)
def test_async_error(server: Server, run: Run, model: str, error: type[openai.APIStatusError], code: str) -> None:
    async def body(client: AsyncOpenAI) -> None:
        with pytest.raises(error) as raised:
            await client.chat.completions.create(model=model, messages=MESSAGES)
        assert raised.value.code == code

    run(server, body)
