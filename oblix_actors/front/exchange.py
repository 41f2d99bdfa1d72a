"""One HTTP exchange around Quart: what must hold for each, however its handler ends.

- A request may hold one thing to let go of (its job): that happens synchronously when the request's task ends, be it
  answered, crashed, or cancelled because the client is gone. The body's own ``__aexit__`` would be too late a
  place: a client can go while the status line is being sent, before the body is entered.
- Every response has ``x-request-id``.
- A client that is still sending when its answer is ready is heard out for a moment. Otherwise Hypercorn closes the
  connection under it without a warning, and a pooling client puts its next request on a dead connection.
- Hypercorn says "disconnected" also when it is about to close the connection itself, after an answer that ends it.
  Quart would cancel the request's task for that, and with it the closing: the client would wait for ever.
- A request target that is no path is a 400 here; Quart stumbles over it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, HTTPScope
from quart import Quart
from quart.typing import ResponseTypes
from quart.wrappers import Request
from quart_trio.asgi import TrioASGIHTTPConnection

from oblix_actors.errors import OblixError
from oblix_actors.front import headers
from oblix_actors.front.errors import error_response
from oblix_actors.front.request import FrontRequest

LINGER_SECONDS: Final = 1.0


def path_of(target: str) -> str | None:
    """The path in a request target (RFC 9112, 3.2): as it is, or of a full URL; ``None`` where there is none.

    The target comes without its query and percent-decoded.
    """
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        return "/" + rest.partition("/")[2]
    return None


class FrontConnection(TrioASGIHTTPConnection):
    """Answers one http scope. Quart's own, with the promises of this module."""

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        super().__init__(app, scope)
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        self._request_id = headers.request_id(given.decode("latin-1"))
        self._heard_out = trio.Event()
        self._listening = self._said_all = False

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve the exchange until it is answered, or the client is gone."""
        path = path_of(self.scope["path"])
        if path is None:
            error = OblixError("bad_http", "The request target is neither a path nor a URL.")
            await self._send_response(send, error_response(error))
            return
        self.scope["path"] = path
        self._listening = True
        await super().__call__(receive, send)

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        """Take in what the client sends, until it is gone."""

        async def noting() -> ASGIReceiveEvent:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                self._heard_out.set()
            elif message["type"] == "http.disconnect" and self._said_all:
                await trio.sleep_forever()  # until the request's task has ended by itself
            return message

        await super().handle_messages(nursery, request, noting)

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Answer the request; whatever happens, let go of what it holds."""
        try:
            await super().handle_request(nursery, request, send)
        finally:
            cast("FrontRequest", request).end()

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        cast("FrontRequest", request).request_id = self._request_id
        return request

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        response.headers["x-request-id"] = self._request_id
        if not self._heard_out.is_set():
            if self._listening and response.status_code != 408:  # that one has had its time
                with trio.move_on_after(LINGER_SECONDS):
                    await self._heard_out.wait()
            if not self._heard_out.is_set() and self.scope["http_version"] < "2":
                response.headers["connection"] = "close"

        async def noting(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._said_all = True
            await send(message)

        # Hypercorn's reader closes the connection of a client that left in the middle of its body, even while we
        # send on it; trio complains to the sender. For us it means what every disconnect means: nobody is there.
        with suppress(trio.BusyResourceError):
            await super()._send_response(noting, response)
