"""What an error looks like over HTTP: OpenAI's JSON with the right status, whatever went wrong and wherever.

Shape: https://platform.openai.com/docs/guides/error-codes/api-errors. The official clients choose their exception
class by the status. Owns the handlers that Quart calls instead of its HTML pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite
from typing import Any, Final

import msgspec
import structlog
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from oblix_actors.errors import OblixError
from oblix_actors.front.request import current

log = structlog.get_logger("front")

LONGEST_MESSAGE: Final = 2000
"""Characters. What a client or an upstream sent may be part of a message; nobody gets it back at full length."""
LONGEST_RETRY: Final = 86_400
"""Seconds of ``retry-after``."""

_HTTP: Final[dict[int, tuple[str, str]]] = {
    404: ("not_found", "There is nothing at this path. The API is under /v1; GET / names the endpoints."),
    405: ("method_not_allowed", "This path does not answer this method."),
    408: ("request_timeout", "The request's body did not arrive in time."),
    413: ("payload_too_large", "The request's body is too large."),
    415: ("unsupported_media_type", "The request's body must be application/json."),
}
"""Werkzeug's exceptions by status: our code for each, and what the client is told."""


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> TrioResponse:
    """``value`` as JSON; ``bytes`` are JSON already. NaN and infinity, which JSON has not, become ``null``."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    response = TrioResponse(body, status, content_type="application/json")
    response.headers.update(headers or {})
    return response


def error_response(error: OblixError) -> TrioResponse:
    """``error`` as a client is told of it."""
    body = error.body()
    message = error.message
    if len(message) > LONGEST_MESSAGE:
        body["error"]["message"] = message[:LONGEST_MESSAGE] + "…"
    headers = {}
    if error.retry_after is not None and not error.retry_after <= 0:
        wait = ceil(error.retry_after) if isfinite(error.retry_after) else LONGEST_RETRY
        headers["retry-after"] = str(min(wait, LONGEST_RETRY))
    if error.kind.status == 401:
        headers["www-authenticate"] = "Bearer"  # RFC 9110, 11.6.1
    return json_response(body, error.kind.status, headers)


async def _ours(error: OblixError) -> TrioResponse:
    return error_response(error)


async def _http(error: HTTPException) -> TrioResponse:
    status = error.code or 500
    default = ("internal", "The request could not be handled.") if status >= 500 else ("bad_http", "Malformed request.")
    response = error_response(OblixError(*_HTTP.get(status, default)))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["allow"] = ", ".join(sorted(error.valid_methods))
    return response


async def _defect(error: Exception) -> TrioResponse:
    """Anything else is a defect of ours: the log gets it all, the client nothing but a name for it."""
    log.error("a request crashed", request=current().request_id, exc_info=error)
    return error_response(OblixError("internal", "The server made a mistake. Its log has more under the request's id."))


def install(app: QuartTrio) -> None:
    """Let ``app`` answer every exception in this shape. (The handlers are async: Quart runs others in a thread.)"""
    app.register_error_handler(OblixError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _defect)
