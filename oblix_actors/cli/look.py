"""One look at a server: at the one that runs already, else at a tree of actors that is started for it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from oblix_actors.cli.remote import Remote
    from oblix_actors.front.house import House
    from oblix_actors.settings import Settings

T = TypeVar("T")

PATIENCE_SECONDS: Final = 2.0
LOOKS: Final = 40


async def look(
    settings: Settings,
    url: str | None,
    through: Callable[[Remote], Awaitable[T]],
    inside: Callable[[House], Awaitable[T]],
) -> tuple[T, str]:
    """What ``through`` finds at the running server, or ``inside`` in a tree of our own; and in words, where that was.

    With ``url`` it is that server and no other.
    """
    from msgspec.structs import replace

    from oblix_actors import logs

    logs.configure(settings.log if settings.log.level == "debug" else replace(settings.log, level="error"))
    from oblix_actors.cli.remote import Remote, address, key_for
    from oblix_actors.providers.http import HttpClient

    async with HttpClient(connect_seconds=settings.routing.connect_seconds) as http:
        remote = Remote(http, address(settings, url), key_for(settings, url))
        if url is not None or await remote.is_there():
            return await through(remote), f"the server at {remote.url}"
    from oblix_actors.cli.inhouse import settle
    from oblix_actors.system import open_house

    found: Any = None
    async with open_house(settings, os.environ) as house:
        await settle(house)
        await _measured(house)
        found = await inside(house)
    return found, f"a server started for this look, as there is none at {remote.url}"


async def _measured(house: House) -> None:
    """Wait until the machine was measured, or for a moment: the use of its CPU takes two looks."""
    import trio

    for _ in range(LOOKS):
        if (house.sensors().get("resources") or {}).get("cpu_percent") is not None:
            return
        await trio.sleep(PATIENCE_SECONDS / LOOKS)
