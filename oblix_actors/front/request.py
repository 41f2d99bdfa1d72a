"""A request as the front sees it: Quart's, with an id, and with what is to be done when it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from quart.globals import request_ctx
from quart_trio.wrappers import TrioRequest


class FrontRequest(TrioRequest):
    """``request_id`` is the client's own where it gave a sane one."""

    request_id: str = ""
    _at_end: Callable[[], None] | None = None

    def at_end(self, let_go: Callable[[], None]) -> None:
        """Call ``let_go`` once when this request's task ends, on every way out. It must not wait."""
        self._at_end = let_go

    def end(self) -> None:
        """The request's task is over."""
        let_go, self._at_end = self._at_end, None
        if let_go is not None:
            let_go()


def current() -> FrontRequest:
    """The request that this task answers."""
    return cast("FrontRequest", request_ctx.request)
