"""A stand-in for the engine's process, for tests of the actor that owns it: no process, no model, the test's clock."""

from __future__ import annotations

from typing import ClassVar, Literal

import trio

from oblix_actors.actors.engine_process import CannotStart
from oblix_actors.engine.protocol import EngineParams

Behaviour = Literal["loads", "fails", "hangs"]
LOADING = 1.0


class FakeProcess:
    """Every life in :attr:`lives`; the next ones do what :attr:`script` says, and load when it is empty."""

    lives: ClassVar[list[FakeProcess]] = []
    script: ClassVar[list[Behaviour]] = []
    ending: ClassVar[float] = 0.0

    def __init__(self, params: EngineParams) -> None:
        self.params = params
        self.pid = 1000 + len(self.lives)
        self.ended = False
        self._behaviour: Behaviour = self.script.pop(0) if self.script else "loads"
        self._dead = trio.Event()
        self.lives.append(self)

    @classmethod
    async def start(cls, params: EngineParams) -> FakeProcess:
        await trio.lowlevel.checkpoint()
        return cls(params)

    @classmethod
    def running(cls) -> list[FakeProcess]:
        return [life for life in cls.lives if not life.ended]

    def die(self) -> None:
        self._dead.set()

    async def load(self) -> str:
        await trio.sleep(LOADING)
        if self._behaviour == "fails":
            raise CannotStart("it is broken")
        if self._behaviour == "hangs":
            await trio.sleep_forever()
        return f"http://127.0.0.1:{self.pid}"

    async def wait(self, stop: trio.Event) -> None:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await stop.wait()
                nursery.cancel_scope.cancel(reason="stopped")

            nursery.start_soon(watch)
            await self._dead.wait()
            nursery.cancel_scope.cancel(reason="dead")

    async def epitaph(self) -> str:
        await trio.lowlevel.checkpoint()
        return "its process was killed"

    async def read_log(self) -> None:
        await trio.sleep_forever()

    async def end(self) -> None:
        await trio.sleep(self.ending)
        self.ended = True
