"""What is known of an upstream's address: host, port, whether it is near, whether it keeps its connections. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

import msgspec

from oblix_actors.errors import OblixError

MAX_SERVERS: Final = 256
_NEAR_SUFFIXES: Final = (".localhost", ".local", ".lan", ".internal", ".home", ".home.arpa", ".intranet")


def is_near(host: str) -> bool:
    """Whether ``host`` is this machine or on the local network, as far as its name or address tells."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith(_NEAR_SUFFIXES)


def host_and_port(url: str) -> tuple[str, int]:
    """The host and port of an http(s) URL. Raises ``upstream_connect`` for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise OblixError("upstream_connect", "base_url is not a URL that can be requested") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OblixError("upstream_connect", "base_url must begin with http:// or https:// and name a host")
    return parts.hostname, port


class Reply(msgspec.Struct, frozen=True):
    """A whole answer. ``headers`` have lower-case names; several of one name are joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes


class KeepAlive:
    """Which near servers keep a connection as they promise.

    A near server is trusted after its first answer. llama.cpp says keep-alive and closes right after a streamed
    answer, and the next request on that connection would be lost: it is never trusted.
    """

    def __init__(self) -> None:
        self._keeps: dict[str, bool] = {}

    def trusts(self, where: str) -> bool:
        """Whether the server at ``where`` may be asked to keep the connection."""
        return self._keeps.get(where, False)

    def answered(self, where: str, server: str) -> None:
        """It has answered; ``server`` is how it calls itself."""
        if len(self._keeps) >= MAX_SERVERS:
            self._keeps.clear()  # an embedded server has another port after each start
        if server.startswith("llama.cpp"):
            self._keeps[where] = False
        else:
            self._keeps.setdefault(where, True)

    def broken(self, where: str) -> None:
        """It hung up on a connection that it had promised to keep."""
        self._keeps[where] = False
