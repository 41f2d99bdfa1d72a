"""What an address says before anything connects to it: whether it is one, where it leads, and to whom. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from oblix_actors.core.catalogue import Locality
from oblix_actors.settings import ServerSettings

_LAN_SUFFIXES: Final = (".local", ".lan", ".internal", ".home", ".home.arpa", ".localdomain", ".intranet")
_BARE: Final = re.compile(r"[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9./_-]*)?")
_CALLS: Final = ("/chat/completions", "/messages", "/api/chat", "/models")
_EXAMPLE: Final = "http://127.0.0.1:1234/v1"

Origin = tuple[str, int]
"""Host (``127.0.0.1`` for every name of this machine's loopback) and port."""


def problem_of(url: str) -> str | None:
    """Why ``url`` cannot be a provider's ``base_url``, or ``None``. A credential in it is never repeated."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        if not is_address(host):
            host.encode("idna")
    except ValueError:
        return f"it cannot be read as an address such as {_EXAMPLE}"
    if "@" in parts.netloc:
        return "a credential is refused in an address; use api_key_env or api_key_file"
    if parts.scheme not in {"http", "https"}:
        suggestion = f"did you mean http://{url}?" if _BARE.fullmatch(url) else f"such as {_EXAMPLE}"
        return f"it must begin with http:// or https://; {suggestion}"
    if not host:
        return f"it names no host; an address is such as {_EXAMPLE}"
    if port == 0:
        return "port 0 cannot be connected to"
    if parts.query or parts.fragment:
        return "it must end with its path, without '?' and '#'"
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):
        return "it has white space in it"
    if parts.path.rstrip("/").endswith(_CALLS):
        return "it must be the address of the whole API: up to /v1, not up to /v1/chat/completions"
    return None


def locality_of(url: str) -> Locality:
    """Where it is: ``local`` on this machine, ``lan`` for private addresses and names without a dot, else ``cloud``."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if is_loopback(host) or is_wildcard(host):
        return "local"
    if is_address(host):
        return "cloud" if ipaddress.ip_address(host.partition("%")[0]).is_global else "lan"
    return "lan" if "." not in host or host.endswith(_LAN_SUFFIXES) else "cloud"


def origin_of(url: str) -> Origin:
    """Who answers at ``url``, to tell whether two addresses mean the same server."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    here = is_loopback(host) or is_wildcard(host)
    return "127.0.0.1" if here else host, parts.port or (443 if parts.scheme == "https" else 80)


def is_ours(url: str, server: ServerSettings) -> bool:
    """Whether ``url`` leads back to this very server: a provider there would ask itself for ever."""
    host, port = origin_of(url)
    listens_everywhere = is_loopback(server.host) or is_wildcard(server.host)
    return port == server.port and (host == server.host.lower() or (host == "127.0.0.1" and listens_everywhere))


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address, of either version, with or without a zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine's loopback, which nobody else can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost")


def is_wildcard(host: str) -> bool:
    """Whether ``host`` stands for every address of this machine, as servers use it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
