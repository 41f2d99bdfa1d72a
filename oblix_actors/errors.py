"""The whole error taxonomy: what went wrong, its HTTP status, whether another try can help, whose fault it is.

Every failure the program speaks of is an :class:`OblixError` with one :class:`Kind`. Foreign
exceptions (sockets, TLS, httpx, JSON) are translated into one of these at the edge where they appear,
by a table, and nowhere else. Shape of an error on the wire: OpenAI's
(https://platform.openai.com/docs/guides/error-codes/api-errors).

Pure: imports nothing of ours; may be imported by every room.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class Fault(Enum):
    """Who has to change something for the failure to go away."""

    CLIENT = "client"
    GATEWAY = "gateway"
    NETWORK = "network"
    UPSTREAM = "upstream"


class Scope(Enum):
    """How far a failure reaches: what else it says nothing good about."""

    REQUEST = "request"
    """This request would fail anywhere: no other candidate is tried."""
    MODEL = "model"
    """Another model of the same provider may well answer."""
    PROVIDER = "provider"
    """Every model of this provider would fail the same way right now."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the taxonomy.

    ``status`` is the HTTP status our client gets when this failure is the last word; ``type`` is the
    OpenAI error type; ``retryable`` says whether another candidate, or the same one later, can help.
    """

    code: str
    status: int
    type: str
    retryable: bool
    fault: Fault
    scope: Scope
    meaning: str


def _rows(*rows: Kind) -> dict[str, Kind]:
    return {row.code: row for row in rows}


_C, _G, _N, _U = Fault.CLIENT, Fault.GATEWAY, Fault.NETWORK, Fault.UPSTREAM
_REQ, _MOD, _PRO = Scope.REQUEST, Scope.MODEL, Scope.PROVIDER
_INVALID, _API = "invalid_request_error", "api_error"

KINDS: Final[dict[str, Kind]] = _rows(
    # What a client sent.
    Kind("invalid_json", 400, _INVALID, False, _C, _REQ, "the body is not JSON"),
    Kind("invalid_request", 400, _INVALID, False, _C, _REQ, "a field is missing, of the wrong type or out of range"),
    Kind("bad_http", 400, _INVALID, False, _C, _REQ, "the HTTP request itself is malformed"),
    Kind("unsupported_capability", 400, _INVALID, False, _C, _REQ, "no candidate can do what the request needs"),
    Kind("invalid_api_key", 401, "authentication_error", False, _C, _REQ, "the key is not one of the configured ones"),
    Kind("not_found", 404, _INVALID, False, _C, _REQ, "there is nothing at this path"),
    Kind("model_not_found", 404, _INVALID, False, _C, _REQ, "no provider has a model of this name"),
    Kind("method_not_allowed", 405, _INVALID, False, _C, _REQ, "the path does not answer this method"),
    Kind("request_timeout", 408, _INVALID, False, _C, _REQ, "the client did not send its body in time"),
    Kind("payload_too_large", 413, _INVALID, False, _C, _REQ, "the body is larger than [server] max_body_bytes"),
    Kind("unsupported_media_type", 415, _INVALID, False, _C, _REQ, "the body is not application/json"),
    Kind("client_stalled", 499, _INVALID, False, _C, _REQ, "the client stopped reading its answer"),
    # What we could not do.
    Kind("busy", 429, "rate_limit_error", True, _G, _PRO, "a queue of ours is full"),
    Kind("internal", 500, _API, True, _G, _MOD, "a defect of ours"),
    Kind("no_model_available", 503, _API, True, _G, _REQ, "no provider can answer right now"),
    Kind("shutting_down", 503, _API, True, _G, _REQ, "the server is stopping"),
    Kind("actor_crashed", 503, _API, True, _G, _MOD, "an actor crashed while it held the job"),
    Kind("process_died", 502, _API, True, _G, _PRO, "the embedded model's process died"),
    Kind("engine_unavailable", 503, _API, True, _G, _PRO, "the embedded model cannot be started"),
    # What the way to the upstream did.
    Kind("upstream_dns", 502, _API, True, _N, _PRO, "the upstream's name does not resolve"),
    Kind("upstream_connect", 502, _API, True, _N, _PRO, "no connection to the upstream"),
    Kind("upstream_tls", 502, _API, True, _N, _PRO, "the TLS handshake failed"),
    Kind("upstream_first_token_timeout", 504, _API, True, _U, _MOD, "no first token in time"),
    Kind("upstream_stall", 504, _API, True, _U, _MOD, "the stream stopped between tokens"),
    Kind("route_lost", 502, _API, True, _N, _PRO, "the network to the upstream is gone"),
    Kind("upstream_reset", 502, _API, True, _N, _MOD, "the connection was reset"),
    Kind("upstream_truncated", 502, _API, True, _U, _MOD, "the stream ended without its terminal marker"),
    Kind("upstream_malformed", 502, _API, True, _U, _MOD, "the upstream sent bytes that do not parse"),
    # What the upstream said.
    Kind("upstream_error_frame", 502, _API, True, _U, _MOD, "an error inside an HTTP 200"),
    Kind("upstream_bad_request", 400, _INVALID, False, _C, _REQ, "the upstream refused the request itself"),
    Kind("context_length_exceeded", 400, _INVALID, True, _C, _MOD, "the prompt does not fit this model's context"),
    Kind("content_filter", 400, _INVALID, True, _U, _PRO, "the upstream's content filter refused"),
    Kind("upstream_unsupported", 400, _INVALID, True, _U, _MOD, "this model cannot do what the request needs"),
    Kind("upstream_auth", 502, _API, True, _U, _PRO, "the upstream refused our credential (401, 402 or 403)"),
    Kind("upstream_model_not_found", 404, _INVALID, True, _U, _MOD, "the upstream does not have this model"),
    Kind("upstream_request_timeout", 504, _API, True, _U, _MOD, "the upstream answered 408"),
    Kind("upstream_too_large", 413, _INVALID, True, _U, _PRO, "the upstream refused the body's size"),
    Kind("upstream_rate_limited", 429, "rate_limit_error", True, _U, _PRO, "the upstream's rate limit (429)"),
    Kind("upstream_server_error", 502, _API, True, _U, _MOD, "the upstream answered 5xx"),
    Kind("upstream_overloaded", 503, _API, True, _U, _PRO, "the upstream is overloaded (503 or 529)"),
)


class OblixError(Exception):
    """A failure we can name.

    ``code`` is a key of :data:`KINDS`. ``param`` is the request field at fault, where there is one;
    ``provider`` the provider it came from; ``upstream_status`` the status that upstream sent;
    ``retry_after`` seconds the upstream asked to be left alone. The message is shown to clients: it
    never holds a key, a prompt, or a path of the server's file system.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        provider: str | None = None,
        upstream_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = KINDS[code]
        self.message = message
        self.param = param
        self.provider = provider
        self.upstream_status = upstream_status
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The taxonomy's name for this failure."""
        return self.kind.code

    def body(self) -> dict[str, Any]:
        """The OpenAI-shaped body: ``{"error": {"message", "type", "param", "code", …}}``."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.kind.type,
            "param": self.param,
            "code": self.kind.code,
        }
        if self.provider is not None:
            error["provider"] = self.provider
        return {"error": error}

    def __repr__(self) -> str:
        return f"OblixError({self.kind.code!r}, {self.message!r})"


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` has a line for each reason: file, key path, what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Busy(Exception):
    """A bounded mailbox or queue is full: nothing was put into it."""


class StartFailed(Exception):
    """An actor failed before it was first ready, or restarted too often: the process must end."""
