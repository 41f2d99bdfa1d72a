"""The notebook: keeps what was learned of the models' speeds across restarts, in one small file.

Asks the router now and then and writes in a thread. A file that cannot be read or written costs the
memory and nothing else. Owns: that file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from oblix_actors.actors.messages import RecallSpeeds, RouterMailbox
from oblix_actors.core.decision import Name
from oblix_actors.core.timing import Speed
from oblix_actors.errors import Busy

log = structlog.get_logger("notebook")

EVERY_SECONDS: Final = 60.0
LAST_WORD_SECONDS: Final = 1.0
MAX_BYTES: Final = 4_194_304
VERSION: Final = 1


class Page(msgspec.Struct, frozen=True):
    """What the file holds: speeds by ``provider:model``."""

    version: int
    speeds: dict[str, Speed]


def read(path: Path) -> dict[Name, Speed]:
    """What the file says; nothing where there is none, or one that cannot be understood."""
    try:
        with path.open("rb") as file:
            page = msgspec.json.decode(file.read(MAX_BYTES), type=Page)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("learned speeds cannot be read", path=str(path), error=type(error).__name__)
        return {}
    if page.version != VERSION:
        return {}
    named = ((name.partition(":"), speed) for name, speed in page.speeds.items())
    return {(provider, model): speed for (provider, _, model), speed in named if model}


class Notebook:
    """Writes to ``path`` what the router has learned."""

    def __init__(self, path: Path, router: RouterMailbox) -> None:
        self._path = path
        self._router = router
        self._thread = trio.CapacityLimiter(1)
        self._written = b""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write now and then for ever, and once more at the end."""
        task_status.started()
        try:
            while True:
                await trio.sleep(EVERY_SECONDS)
                await self._write()
        finally:
            with trio.move_on_after(LAST_WORD_SECONDS, shield=True):
                await self._write()

    async def _write(self) -> None:
        try:
            speeds: dict[Name, Speed] = await self._router.ask(RecallSpeeds)
        except Busy:
            return  # the router has better things to do; later
        page = Page(VERSION, {f"{provider}:{model}": speed for (provider, model), speed in speeds.items()})
        data = msgspec.json.encode(page)
        if speeds and data != self._written:
            self._written = data
            await trio.to_thread.run_sync(self._replace, data, limiter=self._thread)

    def _replace(self, data: bytes) -> None:
        """Write beside the file and put the new one in its place, so that a crash leaves the old one whole."""
        beside = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data)
            beside.replace(self._path)
        except OSError as error:
            log.warning("learned speeds cannot be written", path=str(self._path), error=error.strerror)
