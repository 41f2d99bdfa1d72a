"""One look at one host that costs nothing: a TCP connection and, where its API is https, a TLS handshake.

No API is called. A captive portal gives itself away: it cannot have the host's certificate, and over plain http it
redirects to itself. Foreign exceptions become codes of :mod:`oblix_actors.errors` here.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import urllib.request
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import certifi
import trio

from oblix_actors.core.hosts import Host, ProbeResult

RESOLVERS: Final = 4
"""Threads for names at once: a resolver without a network hangs for seconds, and must not take everybody's threads."""
HEAD_SECONDS: Final = 0.8
"""How long a plain http server may take to show a redirect. The connection itself has been proof enough."""
HEAD_BYTES: Final = 8192

_FOREIGN: Final = frozenset({18, 19, 20, 21, 62, 64})
"""OpenSSL's verify codes for a certificate of somebody else: self-signed, of an unknown issuer, of another name
(https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/). An expired one is more likely our own clock."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_NETWORK_LOGIN: Final = 511
_STATUS: Final = re.compile(r"HTTP/1\.[01] ([0-9]{3})\b")

_Address = tuple[socket.AddressFamily, Any]


def proxied(host: Host) -> bool:
    """Whether requests to ``host`` go through a proxy of the environment: looking past it would not tell of them."""
    if host.route != "internet":
        return False
    proxies = urllib.request.getproxies()
    scheme = "https" if host.tls else "http"
    return bool(proxies.get(scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(host.host)


class Prober:
    """Probes hosts. ``trust`` is the TLS context to verify with; by default the system's and certifi's authorities."""

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        self._trust = trust
        self._resolvers = trio.CapacityLimiter(RESOLVERS)

    async def __call__(self, host: Host) -> ProbeResult:
        """Look at ``host`` once. Sets no deadline; raises nothing but cancellation."""
        try:
            addresses = await self._resolve(host)
        except OSError:
            return ProbeResult(failure="upstream_dns", detail="its name does not resolve")
        try:
            before = trio.current_time()
            stream = await _connect(addresses)
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            return ProbeResult(failure="upstream_connect", detail=_words(error), refused=refused)
        seconds = trio.current_time() - before
        try:
            wrong = await self._look_closer(host, stream)
        finally:
            stream.socket.close()
        return wrong or ProbeResult(connect_seconds=seconds)

    async def _resolve(self, host: Host) -> list[_Address]:
        """At most one address of each family, in the resolver's order."""
        resolve = partial(socket.getaddrinfo, host.host, host.port, type=socket.SOCK_STREAM)
        try:
            found = resolve(flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            found = await trio.to_thread.run_sync(resolve, limiter=self._resolvers, abandon_on_cancel=True)
        first: dict[socket.AddressFamily, _Address] = {}
        for family, _, _, _, address in found:
            first.setdefault(family, (family, address))
        return list(first.values())

    async def _look_closer(self, host: Host, stream: trio.SocketStream) -> ProbeResult | None:
        """What speaks against the host being the real one."""
        if host.tls:
            return await self._handshake(host, stream)
        return await _redirected(host, stream) if host.route == "internet" else None

    async def _handshake(self, host: Host, stream: trio.SocketStream) -> ProbeResult | None:
        if self._trust is None:
            self._trust = await trio.to_thread.run_sync(_authorities)  # reads some hundred kB
        tls = trio.SSLStream(stream, self._trust, server_hostname=host.host)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as error:
            return _tls_failure(host, error.__cause__)
        return None


async def _connect(addresses: list[_Address]) -> trio.SocketStream:
    """The first connection that stands; IPv4 and IPv6 race. Raises the last ``OSError`` when none does."""
    winner: trio.SocketStream | None = None
    failed: OSError = OSError("there is no address")

    async def attempt(family: socket.AddressFamily, address: Any, nursery: trio.Nursery) -> None:
        nonlocal winner, failed
        try:
            sock = trio.socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a system without IPv6
            failed = error
            return
        won = False
        try:
            await sock.connect(address)
            if winner is None:
                winner, won = trio.SocketStream(sock), True
                nursery.cancel_scope.cancel(reason="the other family was faster")
        except OSError as error:
            failed = error
        finally:
            if not won:
                sock.close()

    async with trio.open_nursery() as nursery:
        for family, address in addresses:
            nursery.start_soon(attempt, family, address, nursery)
    if winner is None:
        raise failed
    return winner


async def _redirected(host: Host, stream: trio.abc.Stream) -> ProbeResult | None:
    """Ask for the headers of ``/``: only a captive portal sends us to another host from there."""
    request = f"HEAD / HTTP/1.1\r\nHost: {_authority(host)}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
    head = b""
    with trio.move_on_after(HEAD_SECONDS):
        try:
            await stream.send_all(request.encode("ascii", "replace"))
            while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
                more = await stream.receive_some(HEAD_BYTES)
                if not more:
                    break
                head += more
        except trio.BrokenResourceError:
            return None
    return captive_redirect(host, head)


def captive_redirect(host: Host, head: bytes) -> ProbeResult | None:
    """What the head of an answer to plain http gives away, if anything."""
    lines = head.decode("latin-1").split("\r\n")
    line = _STATUS.match(lines[0])
    status = int(line[1]) if line else 0
    if status == _NETWORK_LOGIN:
        return ProbeResult(failure="captive_portal", detail="the network asks for a login")
    if status not in _REDIRECTS:
        return None
    location = next((line[9:].strip() for line in lines if line[:9].lower() == "location:"), "")
    try:
        elsewhere = urlsplit(location).hostname
    except ValueError:
        return None
    if elsewhere is None or elsewhere == host.host or elsewhere.removeprefix("www.") == host.host:
        return None
    return ProbeResult(failure="captive_portal", detail=f"a redirect to {elsewhere[:100]}")


def _tls_failure(host: Host, cause: BaseException | None) -> ProbeResult:
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _FOREIGN:
            return ProbeResult(failure="captive_portal", detail=f"a certificate that is not {host.host}'s")
        return ProbeResult(failure="upstream_tls", detail=cause.verify_message)
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        return ProbeResult(failure="upstream_tls", detail=_words(cause))
    return ProbeResult(failure="upstream_tls", detail="the TLS handshake failed")


def _authorities() -> ssl.SSLContext:
    """The system's and certifi's: whatever our client library trusts must not look like a captive portal."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _authority(host: Host) -> str:
    try:
        name = f"[{host.host}]" if ipaddress.ip_address(host.host).version == 6 else host.host
    except ValueError:
        name = host.host
    return name if host.port == 80 else f"{name}:{host.port}"


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "connection failed"
