"""A real Hypercorn on a real socket around the real front, with a router that plays scripts in place of the actors."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from oblix_actors.actors.messages import Abandoned, Recall, RouterMailbox, RouterMessage, Submit
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.events import Completed, Delta, Event, Failed, Served
from oblix_actors.errors import OblixError
from oblix_actors.front.gateway import Gateway, tune
from oblix_actors.front.house import House
from oblix_actors.runtime.job import Job, JobTable, NotTheWriter
from oblix_actors.runtime.mailbox import Mailbox
from oblix_actors.runtime.supervisor import ActorState
from oblix_actors.settings import Secret, ServerSettings
from tests.front.client import Answer, Connection

SERVED: Final = Served("acme", "tiny", "local; ready")
READY: Final = ProviderState(
    name="acme",
    kind="openai",
    locality="local",
    order=0,
    status="ready",
    models=(Model("tiny"), Model("hf.co/org/big:q4"), Model("embed-me", chat=False)),
)
DOWN: Final = msgspec.structs.replace(READY, status="down", reason="nothing listens there")
CHAT: Final = "/v1/chat/completions"


class Stage:
    """What a script plays on: one job, held by one attempt, which is its first where nobody counts."""

    def __init__(self, job: Job, number: int = 1, name: str = "") -> None:
        self.job = job
        self.number = number
        self.name = name
        """``provider:model`` of the attempt, where a router has chosen it."""

    async def emit(self, *events: Event) -> None:
        """One batch, as it is."""
        self.job.claim(self.number)
        await self.job.emit(self.number, list(events))

    async def say(self, *texts: str, served: Served = SERVED) -> None:
        """Who serves, then a batch for each text."""
        first, *rest = texts
        await self.emit(served, Delta(text=first))
        for text in rest:
            await self.emit(Delta(text=text))

    async def finish(self) -> None:
        """A finish reason, and the end."""
        await self.emit(Delta(finish="stop"))
        self.job.finish(Completed())

    def fail(self, code: str, message: str = "it broke", *, retry_after: float | None = None) -> None:
        """The job fails."""
        self.job.finish(Failed(OblixError(code, message, provider="acme", retry_after=retry_after)))


Script = Callable[[Stage], Awaitable[None]]


async def hello(stage: Stage) -> None:
    """The plainest answer."""
    await stage.say("Hel", "lo")
    await stage.finish()


async def silence(stage: Stage) -> None:
    """Nothing, for ever: until the job ends."""
    await trio.sleep_forever()


class Crashes(logging.Handler):
    """Collects what Hypercorn reports as errors: an exception that left the application."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@dataclass
class Server:
    """The running front. ``script`` is what the next job meets; ``abandoned`` is what the router heard of."""

    house: House
    script: Script
    crashes: Crashes
    port: int = 0
    abandoned: list[Job] = field(default_factory=list)
    heard: trio.Event = field(default_factory=trio.Event)

    @property
    def base_url(self) -> str:
        """What an OpenAI client is told."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def route(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The router: a script for each job."""
        async with trio.open_nursery() as nursery:

            def handle(message: RouterMessage) -> None:
                if isinstance(message, Submit):
                    nursery.start_soon(self._play, message.job)
                elif isinstance(message, Abandoned):
                    self.abandoned.append(message.job)
                    self.heard.set()
                elif isinstance(message, Recall):
                    message.reply.put(())

            task_status.started()
            await self.house.router.each(handle, lambda _message, _error: None)

    async def _play(self, job: Job) -> None:
        with job.scope(1), suppress(NotTheWriter):
            await self.script(Stage(job))

    async def connect(self) -> Connection:
        """A new connection, to speak proper HTTP on."""
        return Connection(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own, and the whole answer."""
        async with await self.connect() as connection:
            return await connection.ask(method, path, body, headers)

    async def chat(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
        """One chat request, and the whole answer."""
        return await self.ask(
            "POST", CHAT, chat_body(**fields), {"content-type": "application/json", **(headers or {})}
        )


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that has no event: what the sockets and the other tasks are up to."""
    while not holds():  # noqa: ASYNC110
        await trio.sleep(0.005)


def chat_body(**fields: Any) -> bytes:
    """A chat request."""
    return msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields})


def make_house(
    *,
    settings: ServerSettings | None = None,
    keys: tuple[str, ...] = (),
    providers: Callable[[], tuple[ProviderState, ...]] = lambda: (READY,),
    sensors: Callable[[], dict[str, Any]] = dict,
    mailbox: int = 100,
) -> House:
    """A house without inhabitants."""
    settings = settings or ServerSettings()
    router: RouterMailbox = Mailbox("router", mailbox)
    return House(
        settings=settings,
        keys=tuple(Secret(key) for key in keys),
        jobs=JobTable(settings.max_jobs),
        router=router,
        providers=providers,
        actors=lambda: (
            ActorState("resource_monitor", "running", trio.current_time()),
            ActorState("connectivity", "restarting", trio.current_time(), restarts=2, error="OSError"),
        ),
        mailboxes=lambda: {"router": router.state()},
        sensors=sensors,
        started=trio.current_time(),
    )


@asynccontextmanager
async def running(
    house: House | None = None, script: Script = hello, *, deaf_router: bool = False
) -> AsyncIterator[Server]:
    """Serve while the block runs. An exception that reaches Hypercorn fails the test at the end.

    A deaf router never reads its mail.
    """
    house = house or make_house()
    logger = logging.getLogger(f"tests.front.{secrets.token_hex(4)}")
    logger.propagate = False
    crashes = Crashes()
    logger.addHandler(crashes)
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logger
    tune(config, house.settings)
    server = Server(house, script, crashes)

    async def front(*, task_status: trio.TaskStatus[list[str]]) -> None:
        gateway: Any = Gateway(house)
        await serve(gateway, config, shutdown_trigger=trio.sleep_forever, mode="asgi", task_status=task_status)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            if not deaf_router:
                await nursery.start(server.route)
            binds = await nursery.start(front)
            server.port = int(binds[0].rpartition(":")[2])
            yield server
            nursery.cancel_scope.cancel(reason="the test is over")
    assert not crashes.messages, "\n".join(crashes.messages)
