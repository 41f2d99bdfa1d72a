"""Streamed answers: the events, the status that waits for the first of them, the signs of life, the honest end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from oblix_actors.actors.messages import RouterMessage, Submit
from oblix_actors.core.events import Aborted, Completed, Delta, Served, Usage
from oblix_actors.runtime.job import Job
from oblix_actors.settings import ServerSettings
from tests.front.asgi import Exchange
from tests.front.client import Connection, events, text_of
from tests.front.harness import CHAT, SERVED, Stage, chat_body, make_house, running

JSON = {"content-type": "application/json"}
IMPATIENT = ServerSettings(keep_alive_seconds=0.02)


async def start(connection: Connection, **fields: Any) -> None:
    await connection.send("POST", CHAT, chat_body(stream=True, **fields), JSON)


async def test_a_stream_is_chunks_with_one_id_a_finish_reason_and_done() -> None:
    async with running() as server:
        answer = await server.chat(stream=True)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-oblix-model"] == "acme:tiny"
    assert answer.headers["x-oblix-provider"] == "acme"
    assert answer.headers["x-oblix-route"] == "local; ready"
    *chunks, done = answer.events()
    assert done == "[DONE]"
    assert text_of(chunks) == "Hello"
    assert {(chunk["object"], chunk["model"]) for chunk in chunks} == {("chat.completion.chunk", "acme:tiny")}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert len(server.house.jobs) == 0


async def test_each_batch_is_sent_when_it_comes() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("one")
        await more.wait()
        await stage.emit(Delta(text="two"), Delta(text="three"))
        await more_still.wait()
        await stage.finish()

    more, more_still = trio.Event(), trio.Event()
    async with running(script=script) as server, await server.connect() as client:
        await start(client)
        await client.head()
        assert text_of(events(await client.data())) == "one"
        more.set()
        assert text_of(events(await client.data())) == "twothree", "one batch is one send"
        more_still.set()
        assert events(await client.data())[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("own", [Usage(3, 4), None])
async def test_usage_comes_last_when_it_is_asked_for(own: Usage | None) -> None:
    async def script(stage: Stage) -> None:
        await stage.say("some words of text")
        if own is not None:
            await stage.emit(own)
        await stage.finish()

    async with running(script=script) as server:
        without = (await server.chat(stream=True)).events()
        *chunks, last, done = (await server.chat(stream=True, stream_options={"include_usage": True})).events()
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == (4 if own else 5)
    assert last["usage"].get("estimated", False) is (own is None)
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert not any("usage" in chunk for chunk in without[:-1])


@pytest.mark.parametrize(
    ("code", "status"),
    [("upstream_rate_limited", 429), ("model_not_found", 404), ("no_model_available", 503), ("upstream_stall", 504)],
)
async def test_a_failure_before_the_first_content_has_its_own_status(code: str, status: int) -> None:
    async def script(stage: Stage) -> None:
        stage.fail(code, retry_after=2.2)

    async with running(script=script) as server:
        answer = await server.chat(stream=True)
    assert answer.status == status
    assert answer.error()["code"] == code
    assert answer.headers["retry-after"] == "3"
    assert "x-oblix-model" not in answer.headers


async def test_an_answer_without_any_content_ends_well() -> None:
    async def script(stage: Stage) -> None:
        stage.job.finish(Completed())

    async with running(script=script) as server:
        answer = await server.chat(stream=True)
    assert answer.status == 200
    assert answer.events() == ["[DONE]"]


async def test_while_nothing_comes_comments_show_that_something_will() -> None:
    async def script(stage: Stage) -> None:
        await go.wait()
        await stage.say("late")
        await go_on.wait()
        await stage.finish()

    go, go_on = trio.Event(), trio.Event()
    async with running(make_house(settings=IMPATIENT), script) as server, await server.connect() as client:
        await start(client)
        head = await client.head()
        assert head.status == 200, "it is committed before anybody has answered"
        assert "x-oblix-model" not in head.headers
        for _ in range(3):
            assert await client.data() == b": keep-alive\n\n"
        go.set()
        while (data := await client.data()) == b": keep-alive\n\n":
            pass
        assert text_of(events(data)) == "late"
        assert events(data)[0]["model"] == "acme:tiny"
        assert await client.data() == b": keep-alive\n\n", "between tokens, too"
        go_on.set()
        rest = b""
        while data := await client.data():
            rest += data
    assert events(rest)[-1] == "[DONE]"


async def test_a_failure_after_an_early_200_is_an_error_event() -> None:
    async def script(stage: Stage) -> None:
        await go.wait()
        stage.fail("upstream_connect", "no connection")

    go = trio.Event()
    async with running(make_house(settings=IMPATIENT), script) as server, await server.connect() as client:
        await start(client)
        assert (await client.head()).status == 200
        go.set()
        rest = b""
        while data := await client.data():
            rest += data
    (event,) = events(rest)
    assert event["error"]["code"] == "upstream_connect"


async def test_a_failure_in_the_middle_is_an_error_event_and_never_done() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("half an ans")
        stage.fail("upstream_truncated", "the stream ended early")

    async with running(script=script) as server:
        answer = await server.chat(stream=True)
    assert answer.status == 200
    *chunks, last = answer.events()
    assert text_of(chunks) == "half an ans"
    assert last["error"]["code"] == "upstream_truncated"
    assert last["error"]["message"] == "the stream ended early"
    assert last["choices"][0]["finish_reason"] == "error"


async def test_a_job_given_up_for_a_stalled_client_does_not_look_finished() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("half")
        stage.job.finish(Aborted("the client read nothing for 30 s"))

    async with running(script=script) as server:
        last = (await server.chat(stream=True)).events()[-1]
    assert last["error"]["code"] == "client_stalled"


@pytest.mark.parametrize("first", [True, False])
async def test_text_that_is_no_unicode_is_an_error_event(first: bool) -> None:
    async def script(stage: Stage) -> None:
        if not first:
            await stage.say("good")
        await stage.emit(SERVED, Delta(text="\ud800"))
        await trio.sleep_forever()

    async with running(script=script) as server:
        answer = await server.chat(stream=True)
        await server.heard.wait()
    assert answer.events()[-1]["error"]["code"] == "upstream_malformed"
    assert [job.outcome for job in server.abandoned] == [Aborted("the client is gone")]


async def test_a_later_server_of_the_same_answer_is_a_comment() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("one ")
        await stage.emit(Served("other", "big", "continued"), Delta(text="answer"))
        await stage.finish()

    async with running(script=script) as server:
        answer = await server.chat(stream=True)
    chunks = answer.events()[:-1]
    assert text_of(chunks) == "one answer"
    assert {chunk["model"] for chunk in chunks} == {"acme:tiny"}
    assert b": continued by other:big\n\n" in answer.body


async def test_quarts_own_deadline_does_not_cut_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    """Its RESPONSE_TIMEOUT is 60 s."""
    house = make_house(settings=ServerSettings(keep_alive_seconds=1000))

    async def play(job: Job) -> None:
        await trio.sleep(900)
        await Stage(job).say("patience")
        await trio.sleep(900)
        await Stage(job).finish()

    def handle(message: RouterMessage) -> None:
        assert isinstance(message, Submit)
        nursery.start_soon(play, message.job)

    client = Exchange("POST", CHAT, chat_body(stream=True))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.router.each, handle, lambda _message, _error: None)
        await client.run(house)
        nursery.cancel_scope.cancel(reason="it is answered")
    assert trio.current_time() >= 1800
    found = events(client.body)
    assert text_of(found) == "patience"
    assert found[-1] == "[DONE]"


async def test_a_connection_serves_one_stream_after_another() -> None:
    async with running() as server, await server.connect() as client:
        for _ in range(5):
            await start(client)
            assert (await client.answer()).events()[-1] == "[DONE]"
