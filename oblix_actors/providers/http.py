"""The one HTTP client, and the only module that knows httpx: requests out, answers in pieces, errors of ours.

Touches the network and nothing else. It sets no deadline but the connect timeout: callers cancel, and a cancelled
or abandoned answer closes its connection at once. Importing httpx costs about half a second, so that waits until
a client opens, in a thread: :func:`_load` binds the module's name here.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib import import_module
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Final, Self

import trio

from oblix_actors import __version__
from oblix_actors.errors import ConfigError, OblixError
from oblix_actors.providers.http_address import KeepAlive, Reply, host_and_port, is_near
from oblix_actors.providers.http_errors import header_problem, translate
from oblix_actors.providers.http_inflate import Inflater
from oblix_actors.providers.http_trace import Observe, RequestTrace

if TYPE_CHECKING:
    import ssl

    import httpx  # noqa: ASYNC127, TC004 # bound by _load(); for its successor change this line and LIBRARY

LIBRARY: Final = "httpx"
MAX_REPLY_BYTES: Final = 8 * 1024 * 1024
_CLOSE_SECONDS: Final = 2.0
"""Closing a socket does not wait for anybody; this only bounds a surprise."""


class Response:
    """An answer that is being read. Made by :meth:`HttpClient.stream`; valid inside its ``async with`` only."""

    def __init__(self, raw: httpx.Response, trace: RequestTrace) -> None:
        self.status: int = raw.status_code
        self.headers: dict[str, str] = dict(raw.headers.items())
        self._raw = raw
        self._trace = trace
        self._pieces: AsyncIterator[bytes] = aiter(raw.stream)  # type: ignore[arg-type] # the async one
        self._inflater = Inflater.for_encoding(self.headers.get("content-encoding", ""))
        self._ended = False
        self._failure: str | None = None
        self._received = 0

    async def read(self) -> bytes:
        """The next piece of the body as it arrived (decompressed, at most 256 KiB then), b"" at the end.

        Raises ``upstream_reset`` or ``upstream_malformed``.
        """
        while True:
            if self._inflater is not None:
                piece = self._inflater.take()
                if piece:
                    # Much can come out of one read: let the others run in between.
                    await trio.lowlevel.checkpoint()
                    return piece
            if self._ended:
                return b""
            try:
                data = await anext(self._pieces)
            except StopAsyncIteration:
                self._ended = True
            except httpx.HTTPError as error:
                self._ended = True
                failure = translate(error, self._trace)
                self._failure = failure.code
                raise failure from error
            else:
                self._received += len(data)
                if self._inflater is not None:
                    self._inflater.feed(data)
                elif data:
                    return data

    async def read_all(self, max_bytes: int, *, cut: bool = False) -> bytes:
        """The rest of the body. More than ``max_bytes`` raises ``upstream_malformed``, or is left out with ``cut``."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                if cut:
                    break
                raise OblixError(
                    "upstream_malformed", f"the answer of {self._trace.where} is larger than {max_bytes} bytes"
                )
        return b"".join(pieces)[:max_bytes]

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, and close it otherwise. Never waits for the peer.

        httpx's body is a tower of async generators. One more step under a scope that is cancelled already makes the
        innermost read raise, and that unwinds them all: each closes what it holds, and none is left to the
        garbage collector.
        """
        with trio.CancelScope(shield=True) as scope:
            scope.cancel(reason="nobody reads the rest of the answer")
            try:
                while not self._ended:
                    await anext(self._pieces)
            except (StopAsyncIteration, httpx.HTTPError):
                self._ended = True
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await self._raw.aclose()
        self._trace.transferred(self._received, self._failure, bulk="content-length" in self.headers)


class HttpClient:
    """One pool of connections for all upstreams; safe to use from many tasks.

    ``connect_seconds`` bounds name resolution, TCP and TLS, each; ``observe`` is told of every phase;
    ``max_idle`` connections are kept for ``idle_seconds``. The number of open ones is not limited here: each provider's
    ``max_concurrency`` does that, and a queue inside the pool could not be seen. Proxies from the environment are
    used for hosts that are not near (:func:`is_near`); redirects are not followed; no cookies are kept.

    llama.cpp's server says keep-alive, and closes the connection right behind every streamed answer: the next request
    on it would be lost. So a near server is trusted with keep-alive only after its first answer, and not if it is
    one of those, or has hung up like one.
    """

    def __init__(
        self,
        *,
        connect_seconds: float = 5.0,
        observe: Observe | None = None,
        max_idle: int = 32,
        idle_seconds: float = 30.0,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._observe = observe
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._near: httpx.AsyncClient | None = None
        self._far: httpx.AsyncClient | None = None
        self._context: ssl.SSLContext | None = None
        self._users: Counter[httpx.AsyncClient] = Counter()
        self._retired: list[httpx.AsyncClient] = []
        self._keep_alive = KeepAlive()

    async def __aenter__(self) -> Self:
        # A limiter of its own: opening never waits for somebody else's threads.
        context = await trio.to_thread.run_sync(_load, limiter=trio.CapacityLimiter(1))
        self._context = context
        self._near = self._client(context, trust_env=False)
        try:
            self._far = self._client(context, trust_env=True)
        except (ImportError, ValueError):
            # The original text may hold the proxy's password.
            raise ConfigError(
                ["environment: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names a proxy that is neither http nor https"]
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            for client in (self._near, self._far, *self._retired):
                if client is not None:
                    await client.aclose()

    def _client(self, context: ssl.SSLContext, *, trust_env: bool) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=context,
            trust_env=trust_env,
            timeout=httpx.Timeout(None, connect=self._connect_seconds),
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=self._max_idle, keepalive_expiry=self._idle_seconds
            ),
            follow_redirects=False,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            headers={"user-agent": f"oblix-actors/{__version__}"},
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        max_bytes: int = MAX_REPLY_BYTES,
    ) -> Reply:
        """One request and its whole answer, whatever its status. Raises as :meth:`stream` and its response do."""
        wanted = {"accept-encoding": "gzip", **(headers or {})}
        async with self.stream(method, url, headers=wanted, content=content) as response:
            return Reply(response.status, response.headers, await response.read_all(max_bytes))

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> AsyncIterator[Response]:
        """Send a request, and read its answer inside the ``async with`` block, at the end of which it is closed.

        ``headers`` are sent as they are. Raises ``upstream_dns``, ``upstream_connect``, ``upstream_tls``,
        ``upstream_reset`` and ``upstream_malformed``; an HTTP status is not an error here.
        """
        trace = RequestTrace(*host_and_port(url), self._observe)
        client = self._near if is_near(trace.host) else self._far
        if client is None:
            raise RuntimeError("the HTTP client is not open")
        self._users[client] += 1
        try:
            response = await self._send(client, trace, method, url, headers or {}, content)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            self._users[client] -= 1
            if client in self._retired:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await self._close_retired()

    async def renew(self) -> None:
        """Use none of the idle connections any more: the machine slept, or is in another network.

        What is being read goes on, and its connection is closed with it.
        """
        if self._context is None or self._near is None or self._far is None:
            return
        self._retired += (self._near, self._far)
        self._near = self._client(self._context, trust_env=False)
        self._far = self._client(self._context, trust_env=True)
        self._keep_alive = KeepAlive()
        await self._close_retired()

    async def _close_retired(self) -> None:
        """Close the pools that nobody uses any more."""
        for client in [client for client in self._retired if not self._users[client]]:
            self._retired.remove(client)
            del self._users[client]
            await client.aclose()

    async def _send(
        self,
        client: httpx.AsyncClient,
        trace: RequestTrace,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> Response:
        near = client is self._near
        if near and not self._keep_alive.trusts(trace.where):
            headers = {"connection": "close", **headers}
        try:
            request = client.build_request(
                method,
                url,
                # Compression would hold tokens back; who wants it for a whole answer says so.
                headers={"accept-encoding": "identity", **headers},
                content=content,
                extensions={"trace": trace},
            )
        except UnicodeError:
            raise header_problem(trace) from None
        except httpx.InvalidURL:
            raise OblixError("upstream_connect", "base_url is not a URL that can be requested") from None
        try:
            raw = await client.send(request, stream=True)
        except httpx.LocalProtocolError:
            # Its text quotes the header, which may be the key.
            raise header_problem(trace) from None
        except httpx.HTTPError as error:
            failure = translate(error, trace)
            if near and failure.code == "upstream_reset" and not trace.connected:
                self._keep_alive.broken(trace.where)
            raise failure from error
        if near:
            self._keep_alive.answered(trace.where, raw.headers.get("server", ""))
        return Response(raw, trace)


def _load() -> ssl.SSLContext:
    """Import httpx without its command line (which would cost three times as much), and read the certificates."""
    if LIBRARY not in sys.modules:
        modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment] # None: "cannot be imported"
        modules.setdefault(f"{LIBRARY}._main", None)
        import_module(LIBRARY)
        if modules.get(f"{LIBRARY}._main") is None:
            modules.pop(f"{LIBRARY}._main", None)
    globals()["httpx"] = import_module(LIBRARY)
    import_module(LIBRARY.replace("httpx", "httpcore"))  # the first client would import it otherwise, in the event loop
    logging.getLogger(LIBRARY).setLevel(logging.WARNING)  # it logs every request's URL
    return httpx.create_ssl_context()
