"""Answers that are not streamed."""

from __future__ import annotations

import trio

from oblix_actors.actors.messages import Explain
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Completed, Delta, Served, Usage
from oblix_actors.errors import OblixError
from oblix_actors.runtime.mailbox import Reply
from oblix_actors.settings import ServerSettings
from tests.front.harness import SERVED, Stage, chat_body, make_house, running


async def test_the_answer_is_an_openai_completion_that_names_who_gave_it() -> None:
    async with running() as server:
        answer = await server.chat()
    assert answer.status == 200
    assert answer.headers["x-oblix-model"] == "acme:tiny"
    assert answer.headers["x-oblix-provider"] == "acme"
    assert answer.headers["x-oblix-route"] == "local; ready"
    body = answer.json()
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert body["model"] == "acme:tiny"
    assert body["choices"][0]["message"]["content"] == "Hello"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert len(server.house.jobs) == 0


async def test_the_upstreams_own_usage_is_what_counts() -> None:
    async def script(stage: Stage) -> None:
        await stage.emit(SERVED, Delta(text="x", finish="stop"), Usage(7, 9))
        stage.job.finish(Completed())

    async with running(script=script) as server:
        usage = (await server.chat()).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (7, 9, 16)
    assert "estimated" not in usage


async def test_a_failure_has_its_status_even_after_content() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("almost")
        stage.fail("upstream_reset", "the connection was reset")

    async with running(script=script) as server:
        answer = await server.chat()
    assert answer.status == 502
    error = answer.error()
    assert (error["code"], error["type"], error["provider"]) == ("upstream_reset", "api_error", "acme")
    assert error["message"] == "the connection was reset"


async def test_an_answer_without_content_is_an_answer() -> None:
    async def script(stage: Stage) -> None:
        await stage.emit(SERVED)
        stage.job.finish(Completed())

    async with running(script=script) as server:
        body = (await server.chat()).json()
    assert body["choices"][0]["message"]["content"] == ""
    assert body["choices"][0]["finish_reason"] == "stop"


async def test_text_that_is_no_unicode_is_an_error_and_not_a_crash() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("\ud800")
        await stage.finish()

    async with running(script=script) as server:
        answer = await server.chat()
        assert (await server.ask("GET", "/livez")).status == 200
    assert answer.status == 500
    assert answer.error()["code"] == "internal"


async def test_names_and_reasons_cannot_inject_headers() -> None:
    evil = Served("ac\r\nset-cookie: a=b", "ti\r\n\r\nny", "because\nx-evil: 1 \u2028 \x00 überall " + "long " * 500)

    async def script(stage: Stage) -> None:
        await stage.say("x", served=evil)
        await stage.finish()

    async with running(script=script) as server:
        for stream in (False, True):
            answer = await server.chat(stream=stream)
            assert answer.status == 200
            assert answer.headers["x-oblix-model"] == "ac??set-cookie: a=b:ti????ny"
            assert len(answer.headers["x-oblix-route"]) <= 512
            assert answer.headers["x-oblix-route"].startswith("because?x-evil: 1 ? ? ?berall")
            assert not {"set-cookie", "x-evil"} & set(answer.headers)


async def test_a_full_table_refuses_at_once_with_when_to_come_back() -> None:
    async def script(stage: Stage) -> None:
        await stage.say("x")
        await wait.wait()
        await stage.finish()

    wait = trio.Event()
    async with (
        running(make_house(settings=ServerSettings(max_jobs=1)), script) as server,
        await server.connect() as one,
    ):
        await one.send("POST", "/v1/chat/completions", chat_body(stream=True), {"content-type": "application/json"})
        assert (await one.head()).status == 200
        refused = await server.chat()
        assert refused.status == 429
        assert refused.error()["code"] == "busy"
        assert refused.headers["retry-after"] == "1"
        wait.set()
        while await one.data():
            pass
        assert (await server.chat()).status == 200


async def test_a_full_mailbox_of_the_router_refuses_and_leaves_no_job_behind() -> None:
    house = make_house(mailbox=1)
    house.router.tell(Explain(ChatRequest(model="auto", messages=()), Reply()))
    async with running(house, deaf_router=True) as server:
        for stream in (False, True):
            answer = await server.chat(stream=stream)
            assert answer.status == 429
            assert answer.error()["code"] == "busy"
            assert answer.headers["retry-after"] == "1"
            assert len(house.jobs) == 0


async def test_a_server_that_stops_takes_no_more_jobs() -> None:
    async with running() as server:
        server.house.jobs.close(OblixError("shutting_down", "the server is stopping", retry_after=1.0))
        answer = await server.chat()
    assert answer.status == 503
    assert answer.error()["code"] == "shutting_down"
