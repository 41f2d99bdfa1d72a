"""From an upstream's answer to the job: what every adapter does with a stream once its codec is chosen.

Touches the response it is given, and nothing else.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

import trio

from oblix_actors.core.events import Event
from oblix_actors.core.upstream import Emit
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import Response
from oblix_actors.wire.upstream_errors import classify

MAX_ERROR_BYTES: Final = 64 * 1024
AFTER_DONE_SECONDS: Final = 0.1
"""How long the end of the body may take after the terminal marker, so that the connection can be used again."""


class Decoder(Protocol):
    """Bytes to events. ``done`` once the terminal marker was read; ``close`` raises ``upstream_truncated`` before."""

    done: bool

    def feed(self, data: bytes) -> list[Event]: ...

    def close(self) -> list[Event]: ...


async def relay(response: Response, decoder: Decoder, emit: Emit, *, provider: str, hide: tuple[str, ...] = ()) -> None:
    """Hand all that ``response`` says to ``emit``, one batch a read; raises what its status or its stream says.

    ``hide`` are secrets that no message may show.
    """
    if response.status != 200:
        text = await response.read_all(MAX_ERROR_BYTES, cut=True)
        raise classify(response.status, response.headers, text, provider=provider, now=time.time(), hide=hide)
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in ("text/html", "application/xhtml+xml"):
        raise OblixError("upstream_malformed", "the upstream answered with a web page: is base_url its API's?")
    while data := await response.read():
        events = decoder.feed(data)
        if events:
            await emit(events)
        if decoder.done:
            with trio.move_on_after(AFTER_DONE_SECONDS):
                while await response.read():
                    pass
            return
    events = decoder.close()
    if events:
        await emit(events)
