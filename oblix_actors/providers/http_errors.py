"""httpx's and httpcore's exceptions to ours, by their names and by what caused them. Pure."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final, Protocol

from oblix_actors.core.signals import Phase
from oblix_actors.errors import OblixError

_BY_NAME: Final[dict[str, str]] = {
    "ConnectError": "upstream_connect",
    "ConnectTimeout": "upstream_connect",
    "PoolTimeout": "upstream_connect",
    "ProxyError": "upstream_connect",
    "UnsupportedProtocol": "upstream_connect",
    "ReadError": "upstream_reset",
    "WriteError": "upstream_reset",
    "CloseError": "upstream_reset",
    "ReadTimeout": "upstream_reset",
    "WriteTimeout": "upstream_reset",
    "RemoteProtocolError": "upstream_malformed",
    "DecodingError": "upstream_malformed",
}
"""httpx and httpcore use the same names, so one table serves the exception and the trace event."""

_HANGUPS: Final = ("Server disconnected", "peer closed connection")
"""How a ``RemoteProtocolError`` begins that is no protocol error: the connection ended in the middle."""


class Where(Protocol):
    """What is known about the request that failed."""

    @property
    def host(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def phase(self) -> Phase: ...


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, and all that are behind it, inside groups too."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += (each.__context__, each.__cause__)
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def code_of(error: BaseException, phase: Phase) -> str:
    """The taxonomy's code for a foreign exception that was raised in ``phase``."""
    name = type(error).__name__
    code = _BY_NAME.get(name, "upstream_reset")
    if code == "upstream_connect":
        behind = list(causes(error))
        if any(isinstance(each, socket.gaierror) for each in behind):
            return "upstream_dns"
        if phase == "tls" or any(isinstance(each, ssl.SSLError) for each in behind):
            return "upstream_tls"
    if code == "upstream_malformed" and str(error).startswith(_HANGUPS):
        return "upstream_reset"
    return code


def translate(error: BaseException, request: Where) -> OblixError:
    """Our exception for a foreign one, with a message that names the host and the reason."""
    code = code_of(error, request.phase)
    messages = {
        "upstream_dns": f"the name {request.host} does not resolve",
        "upstream_connect": f"no connection to {request.where}: {_reason(error)}",
        "upstream_tls": f"no secure connection to {request.where}: {_tls_reason(error)}",
        "upstream_reset": f"{request.where} closed the connection before its answer was complete",
        "upstream_malformed": f"{request.where} sent an answer that is not valid HTTP",
    }
    return OblixError(code, messages[code])


def header_problem(request: Where) -> OblixError:
    """A header cannot be sent. The message does not quote it: it may be the key."""
    return OblixError(
        "upstream_auth",
        f"the request to {request.where} cannot be sent: the API key, or a header in the configuration, has characters "
        "that HTTP does not allow (a line break, or something outside ASCII)",
    )


def _reason(error: BaseException) -> str:
    name = type(error).__name__
    if name.endswith("Timeout"):
        return "it does not answer"
    if name == "ProxyError":
        return "the proxy refuses"
    # An errno names the reason better than any of the texts around it.
    for each in causes(error):
        if isinstance(each, OSError) and each.errno:
            return os.strerror(each.errno).lower()
    return "it failed"


def _tls_reason(error: BaseException) -> str:
    for each in causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message
        if isinstance(each, ssl.SSLError) and each.reason:
            return each.reason.replace("_", " ").lower()
    return "the handshake did not complete"
