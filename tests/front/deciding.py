"""The front with the real router behind it: it decides, remembers and explains. Only its workers play scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
import trio

from oblix_actors.actors.messages import Attempt, Bounced, Claimed, NetworkChanged, Settled, WorkerMailbox
from oblix_actors.actors.router import Router
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.decision import Machine, Name, Network, Price
from oblix_actors.core.events import Delta, Served, Usage
from oblix_actors.core.knowledge import Knowledge
from oblix_actors.errors import OblixError
from oblix_actors.front.house import House
from oblix_actors.runtime.job import NotTheWriter
from oblix_actors.runtime.mailbox import Mailbox
from oblix_actors.settings import ResourceMonitorSettings
from tests.front.harness import READY, Script, Server, Stage, hello, make_house, running

BOX: Final = ProviderState(
    name="box", kind="ollama", locality="lan", order=1, status="ready", models=(Model("llama3.2:3b"),)
)
SKY: Final = ProviderState(
    name="sky",
    kind="openai",
    locality="cloud",
    order=2,
    status="ready",
    models=(Model("gpt-4o", capabilities=frozenset({"tools", "images"})),),
)
OFF: Final = ProviderState(
    name="off", kind="openai", locality="lan", order=3, status="down", reason="connection refused"
)
PROVIDERS: Final = (msgspec.structs.replace(READY, models=READY.models[:1]), BOX, SKY, OFF)
PRICE: Final = Price(2.5, 10.0)
"""Of gpt-4o, in the table of defaults."""


@dataclass
class Deciding:
    """The running front. ``attempts`` are the ``provider:model`` that the router has tried."""

    server: Server
    house: House
    attempts: list[str] = field(default_factory=list)

    async def plan(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Any:
        """What ``POST /v1/route`` says to a chat request; it must be 200."""
        answer = await self.route(headers, **fields)
        assert answer.status == 200, answer.body
        return answer.json()

    async def route(self, headers: Mapping[str, str] | None = None, **fields: Any) -> Any:
        """The whole response of ``POST /v1/route``."""
        body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}
        sent = {"content-type": "application/json", **(headers or {})}
        return await self.server.ask("POST", "/v1/route", msgspec.json.encode(body), sent)

    async def decisions(self, query: str = "") -> Any:
        """The list of decisions; it must be 200."""
        answer = await self.server.ask("GET", f"/v1/decisions{query}")
        assert answer.status == 200, answer.body
        return answer.json()["data"]


async def named(stage: Stage) -> None:
    """Says who it is, and what that cost."""
    provider, _, model = stage.name.partition(":")
    await stage.emit(Served(provider, model, "it was chosen"), Delta(text=stage.name))
    await stage.emit(Delta(text="!"))
    await stage.emit(Delta(finish="stop"), Usage(11, 7))
    await stage.finish()


def failing(*names: str) -> Script:
    """:func:`named`, except for these: they refuse before their first word."""

    async def script(stage: Stage) -> None:
        if stage.name in names:
            raise OblixError("upstream_overloaded", "too many people", provider=stage.name.partition(":")[0])
        await named(stage)

    return script


@asynccontextmanager
async def deciding(
    house: House | None = None,
    script: Script = hello,
    *,
    providers: tuple[ProviderState, ...] = PROVIDERS,
    machine: Machine | None = None,
    network: Network | None = None,
    prices: Mapping[Name, Price] | None = None,
) -> AsyncIterator[Deciding]:
    """Serve while the block runs. ``script`` is what each attempt plays; an :class:`OblixError` bounces it."""
    house = house or make_house()
    house = dataclasses.replace(house, providers=lambda: providers)
    mail: dict[str, WorkerMailbox] = {state.name: Mailbox(f"worker:{state.name}", 10) for state in providers}
    knowledge = Knowledge(machine=lambda: machine or Machine(), prices=prices)
    for state in providers:
        knowledge.offered(state)
    router = Router(house.router, mail, providers, thresholds=ResourceMonitorSettings(), knowledge=knowledge)
    async with running(house, deaf_router=True) as server, trio.open_nursery() as nursery:
        made = Deciding(server, house)
        for name, box in mail.items():
            nursery.start_soon(_work, made, name, box, script)
        await nursery.start(router.run)
        if network is not None:
            house.router.tell(NetworkChanged(network))
        yield made
        nursery.cancel_scope.cancel(reason="the test is over")


async def _work(made: Deciding, provider: str, mail: WorkerMailbox, script: Script) -> None:
    """A worker: plays ``script`` for each attempt, and tells the router how it went."""
    async with trio.open_nursery() as nursery:
        await mail.each(
            lambda message: (
                nursery.start_soon(partial(_attempt, made, provider, message, script))
                if isinstance(message, Attempt)
                else None
            ),
            lambda _message, _error: None,
        )


async def _attempt(made: Deciding, provider: str, attempt: Attempt, script: Script) -> None:
    name = f"{provider}:{attempt.model}"
    made.attempts.append(name)
    job, number, router = attempt.job, attempt.number, made.house.router
    try:
        with job.scope(number), suppress(NotTheWriter):
            await script(Stage(job, number, name))
    except OblixError as error:
        router.tell(Bounced(job, number, error, shown=job.claimed_by == number))
        return
    router.tell(Claimed(job, number))
    router.tell(Settled(job, number))
