"""The tree of actors in this very process, for the one question or look that a command wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import trio

from oblix_actors.actors.messages import Abandoned, Submit
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Batch, Failed
from oblix_actors.errors import Busy, OblixError
from oblix_actors.front.house import House

PATIENCE_SECONDS: Final = 4.0
LOOKS: Final = 40
"""A cloud's list of models needs a second or so. Without waiting for it the last resort would answer everything."""


async def settle(house: House) -> None:
    """Wait until every provider has been asked, or for a few seconds."""
    for _ in range(LOOKS):
        if all(provider.status != "starting" for provider in house.providers()):
            return
        await trio.sleep(PATIENCE_SECONDS / LOOKS)


async def answer(house: House, request: ChatRequest, take: Callable[[Batch], None]) -> None:
    """Have ``request`` answered, batch by batch. Raises :class:`OblixError` when it cannot be."""
    job = house.jobs.open(request, created=int(time.time()), submitted=trio.current_time())
    try:
        house.router.tell(Submit(job))
        while (batch := await job.receive()) is not None:
            take(batch)
    finally:
        if job.abort("the question was called off"):
            _abandon(house, Abandoned(job))
    if isinstance(job.outcome, Failed):
        raise job.outcome.error
    if job.outcome is None:
        raise OblixError("internal", "the answer has no end")


def _abandon(house: House, message: Abandoned) -> None:
    try:
        house.router.tell(message)
    except Busy:
        return  # the router finds the job ended whenever it looks at it next
