"""Clients that leave, and clients that stop reading: their jobs end at once, and nobody else notices."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from oblix_actors.actors.messages import RouterMessage, Submit
from oblix_actors.core.events import Aborted, Completed, Delta
from oblix_actors.runtime.job import Job
from oblix_actors.settings import ServerSettings
from tests.front.asgi import Exchange
from tests.front.harness import CHAT, SERVED, Stage, chat_body, hello, make_house, running, silence, until

JSON = {"content-type": "application/json"}
GONE = Aborted("the client is gone")


class Watched:
    """A script that speaks, waits for ever, and knows when it was cancelled."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.begun, self.cancelled = trio.Event(), trio.Event()

    async def __call__(self, stage: Stage) -> None:
        try:
            if self.texts:
                await stage.say(*self.texts)
            self.begun.set()
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("texts", [(), ("a few", " words")])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_cancels_what_runs_for_it(stream: bool, texts: tuple[str, ...], how: str) -> None:
    script = Watched(*texts)
    async with running(script=script) as server:
        async with await server.connect() as client:
            await client.send("POST", CHAT, chat_body(stream=stream), JSON)
            await script.begun.wait()
            if how == "reset":
                client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await script.cancelled.wait()
        await server.heard.wait()
        assert len(server.house.jobs) == 0
        assert [job.outcome for job in server.abandoned] == [GONE]
        server.script = hello
        assert (await server.chat()).status == 200


async def test_a_client_that_leaves_during_the_signs_of_life() -> None:
    script = Watched()
    async with running(make_house(settings=ServerSettings(keep_alive_seconds=0.01)), script) as server:
        async with await server.connect() as client:
            await client.send("POST", CHAT, chat_body(stream=True), JSON)
            await client.head()
            assert await client.data() == b": keep-alive\n\n"
        await script.cancelled.wait()
        assert len(server.house.jobs) == 0


async def test_a_router_that_is_too_busy_to_hear_of_it_does_not_matter() -> None:
    house = make_house(mailbox=1)
    async with running(house, deaf_router=True) as server:
        async with await server.connect() as client:
            await client.send("POST", CHAT, chat_body(), JSON)
            await until(lambda: len(house.jobs) == 1)
        await house.jobs.drained()
        assert house.router.state().refused == 1


async def test_a_client_that_leaves_while_its_status_line_is_sent(nursery: trio.Nursery) -> None:
    """Before Quart has entered the body: nothing of the body's own would run."""
    house = make_house()
    client = Exchange("POST", CHAT, chat_body(stream=True))
    jobs: list[Job] = []

    async def hear(message: dict[str, Any]) -> None:
        assert message["type"] == "http.response.start"
        client.leave.set()
        await trio.sleep_forever()

    async def play(job: Job) -> None:
        await Stage(job).say("x")

    def handle(message: RouterMessage) -> None:
        if isinstance(message, Submit):
            jobs.append(message.job)
            nursery.start_soon(play, message.job)

    nursery.start_soon(house.router.each, handle, lambda _message, _error: None)
    with trio.fail_after(10):
        await client.run(house, hear)
    assert [job.outcome for job in jobs] == [GONE]
    assert len(house.jobs) == 0


async def test_a_send_that_loses_against_hypercorns_own_closing_is_a_disconnect() -> None:
    """Its reader closes the socket of a client that broke off; trio then refuses our send on it."""

    async def hear(_message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BusyResourceError("another task is currently sending data on this SocketStream")

    client = Exchange("GET", "/livez")
    with trio.fail_after(10):
        await client.run(make_house(), hear)
    assert client.sent == []


async def test_a_client_that_stops_reading_holds_back_its_worker_and_nobody_else() -> None:
    """The pressure reaches the one who makes the tokens; others are answered; leaving frees it all."""
    emitted = 0
    ended = trio.Event()

    async def flood(stage: Stage) -> None:
        nonlocal emitted
        try:
            await stage.say("begin")
            while True:
                await stage.emit(Delta(text="x" * 65536))
                emitted += 1
        finally:
            ended.set()

    async with running(script=flood) as server:
        async with await server.connect() as deaf:
            await deaf.send("POST", CHAT, chat_body(stream=True), JSON)
            await deaf.head()
            await wait_all_tasks_blocked(0.2)
            before = emitted
            (job,) = server.house.jobs._open.values()
            assert job.outcome is None
            assert emitted < 500, "32 MB: the sockets' buffers and the job's channel, not the memory"
            server.script = hello
            for _ in range(5):
                assert (await server.chat()).json()["choices"][0]["message"]["content"] == "Hello"
                assert (await server.ask("GET", "/health")).status == 200
            assert emitted < before + 100
        await ended.wait()
        assert len(server.house.jobs) == 0


async def test_a_job_is_over_before_its_client_can_come_back() -> None:
    """One place only, taken again at once by the client that has its answer."""
    settings = ServerSettings(max_jobs=1)
    async with running(make_house(settings=settings)) as server, await server.connect() as client:
        for stream in (True, False, True, False):
            answer = await client.ask("POST", CHAT, chat_body(stream=stream), JSON)
            assert answer.status == 200


async def test_nothing_is_left_after_many_jobs_and_aborts() -> None:
    async def script(stage: Stage) -> None:
        if stage.job.request.stream:
            await silence(stage)
        await stage.emit(SERVED, Delta(text="x"))
        stage.job.finish(Completed())

    async def one(number: int) -> None:
        async with await server.connect() as client:
            await client.send("POST", CHAT, chat_body(stream=number % 10 == 0), JSON)
            if number % 10:
                assert (await client.answer()).status == 200
            else:
                await until(lambda: len(server.house.jobs) == 1)
        await server.house.jobs.drained()

    async with running(script=script) as server:
        await one(1)
        await one(10)
        await server.house.jobs.drained()
        await wait_all_tasks_blocked(0.1)
        tasks = trio.lowlevel.current_statistics().tasks_living
        for number in range(100):
            await one(number)
        await server.house.jobs.drained()
        await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
        assert len(server.abandoned) == 11
