"""What a request must keep to before anybody looks into it: key, content type, size and time of its body."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

import trio
from werkzeug.exceptions import RequestEntityTooLarge

from oblix_actors.core.decision import Privacy, stricter
from oblix_actors.errors import OblixError
from oblix_actors.front.request import FrontRequest
from oblix_actors.settings import Secret, ServerSettings

_SCHEME: Final = "bearer"


def check_key(request: FrontRequest, keys: tuple[Secret, ...]) -> None:
    """Raise ``invalid_api_key`` unless the bearer token is one of ``keys``; with no keys any client is welcome.

    Every key is compared in full, so that the time tells nothing about any of them.
    """
    if not keys:
        return
    given = _token(request)
    matches = [compare_digest(given, key.reveal().encode()) for key in keys]
    if not any(matches):
        raise OblixError("invalid_api_key", "The API key is missing or not one of this server's keys.")


def fence_of(request: FrontRequest, fenced: tuple[tuple[Secret, Privacy], ...]) -> Privacy:
    """How far the request's key lets it travel: ``any``, unless it is one of ``fenced``. All are compared in full."""
    given = _token(request)
    narrowest: Privacy = "any"
    for key, privacy in fenced:
        if compare_digest(given, key.reveal().encode()):
            narrowest = stricter(narrowest, privacy)
    return narrowest


def _token(request: FrontRequest) -> bytes:
    """The bearer token as the bytes that came (headers are read as latin-1); empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip().encode("latin-1", "replace") if scheme.lower() == _SCHEME else b""


def check_content(request: FrontRequest) -> None:
    """Raise ``unsupported_media_type`` unless the body says that it is plain JSON.

    No content type at all is taken for JSON: hand-written clients forget it. Not so from a web page (it has an
    ``Origin``): without a type, or with one of a form, any page could make its visitor's browser post here
    unasked; with ``application/json`` the browser asks us first, and gets no permission.
    """
    given = request.headers.get("Content-Type")
    if request.mimetype != "application/json" and (given is not None or "Origin" in request.headers):
        raise OblixError("unsupported_media_type", "The body must be JSON, with Content-Type: application/json.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise OblixError("unsupported_media_type", "A compressed body is not understood: send it as it is.")


async def read_body(request: FrontRequest, server: ServerSettings) -> bytes:
    """The whole body. Raises ``payload_too_large`` (at once where the length is told) or ``request_timeout``."""
    body = b""
    with trio.move_on_after(server.body_seconds) as patience:
        try:
            body = await request.body
        except RequestEntityTooLarge:
            limit = f"{server.max_body_bytes} bytes"
            raise OblixError("payload_too_large", f"The body is larger than {limit}.") from None
    if patience.cancelled_caught:
        raise OblixError("request_timeout", f"The body did not arrive within {server.body_seconds:g} s.")
    return body
