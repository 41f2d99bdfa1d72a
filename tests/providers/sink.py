"""An ``emit`` that remembers."""

from __future__ import annotations

import trio

from oblix_actors.core.events import Batch
from oblix_actors.core.transcript import Transcript


class Sink:
    """``got`` is set with the first batch."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.got = trio.Event()

    async def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.got.set()
        await trio.lowlevel.checkpoint()

    @property
    def transcript(self) -> Transcript:
        transcript = Transcript()
        for batch in self.batches:
            transcript.add(batch)
        return transcript

    @property
    def text(self) -> str:
        return self.transcript.text()
