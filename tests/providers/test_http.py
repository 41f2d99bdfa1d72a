"""The HTTP client over real sockets: what the network does to it, and what it leaves behind."""

from __future__ import annotations

import errno
import gzip
import json
import socket
import ssl
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from oblix_actors.core.signals import NetSignal
from oblix_actors.errors import ConfigError, OblixError
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.http_address import is_near
from oblix_actors.providers.http_errors import causes, code_of
from oblix_actors.providers.http_inflate import PIECE, Inflater
from tests.conftest import ROOT, FaultServer

SECONDS = 20
Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """A server of one behaviour, as a URL."""

    async def connection(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await serve(stream)
        except trio.BrokenResourceError:
            pass

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, connection, 0)
            yield f"http://localhost:{listeners[0].socket.getsockname()[1]}"
            nursery.cancel_scope.cancel(reason="the test is over")


def answering(*pieces: bytes) -> Serve:
    """Reads what comes first, then writes ``pieces`` and closes."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        for piece in pieces:
            await stream.send_all(piece)

    return serve


async def fails(http: HttpClient, url: str) -> OblixError:
    with pytest.raises(OblixError) as caught:
        await http.request("GET", url)
    return caught.value


async def test_a_request(fault_server: FaultServer) -> None:
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            reply = await http.request("GET", f"{fault_server.openai_url}/models", headers={"X-Odd": "1"})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert json.loads(reply.body)["object"] == "list"


async def test_what_is_sent() -> None:
    got: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data or (data.startswith(b"POST") and not data.endswith(b"body")):
            data += await stream.receive_some()
        got.append(data)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")

    async with serving(serve) as url, HttpClient() as http:
        await http.request("POST", f"{url}/x", headers={"X-Odd": "1"}, content=b"body")
        async with http.stream("GET", f"{url}/x"):
            pass
    first, second = (data.lower() for data in got)
    assert b"x-odd: 1\r\n" in first
    assert b"user-agent: oblix-actors/" in first
    assert b"accept-encoding: gzip\r\n" in first
    assert first.endswith(b"\r\n\r\nbody")
    assert b"accept-encoding: identity\r\n" in second, "a stream is not to be held back"
    assert b"cookie" not in second, "upstreams' cookies are not kept"


async def test_redirects_are_not_followed() -> None:
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    async with serving(answering(answer)) as url, HttpClient() as http:
        reply = await http.request("GET", url)
    assert (reply.status, reply.headers["location"]) == (302, "http://127.0.0.1:1/")


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with trio.fail_after(SECONDS):
            async with HttpClient() as http:
                error = await fails(http, f"http://127.0.0.1:{port}/v1/models")
    assert error.code == "upstream_connect"
    assert error.message == f"no connection to 127.0.0.1:{port}: connection refused"


async def test_nobody_answers() -> None:
    """A listener whose queue is full: the kernel drops what comes, as a firewall does."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for other in (first, second):
            other.setblocking(False)
            assert other.connect_ex(full.getsockname()) in (0, errno.EINPROGRESS)
        with trio.fail_after(SECONDS):
            async with HttpClient(connect_seconds=0.2) as http:
                error = await fails(http, f"http://127.0.0.1:{full.getsockname()[1]}")
    assert error.code == "upstream_connect"
    assert error.message.endswith("it does not answer")


class NoNames(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *args: object, **kwargs: object) -> list[object]:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *args: object, **kwargs: object) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_that_does_not_resolve() -> None:
    signals: list[NetSignal] = []
    trio.socket.set_custom_hostname_resolver(NoNames())
    with trio.fail_after(SECONDS):
        async with HttpClient(observe=signals.append) as http:
            error = await fails(http, "http://no-such-host.example/v1/models")
    assert (error.code, error.message) == ("upstream_dns", "the name no-such-host.example does not resolve")
    assert [(s.host, s.port, s.phase, s.failure) for s in signals] == [
        ("no-such-host.example", 80, "dns", "upstream_dns")
    ]


async def test_no_tls_on_the_other_side() -> None:
    signals: list[NetSignal] = []
    async with (
        serving(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as url,
        HttpClient(observe=signals.append) as http,
    ):
        error = await fails(http, url.replace("http:", "https:"))
    assert error.code == "upstream_tls"
    assert error.message.startswith("no secure connection to localhost:")
    assert [(s.phase, s.failure) for s in signals] == [("connect", None), ("tls", "upstream_tls")]


async def test_a_tls_handshake_that_stops() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serving(silent) as url, HttpClient(connect_seconds=0.2) as http:
        assert (await fails(http, url.replace("http:", "https:"))).code == "upstream_tls"
    async with serving(answering()) as url, HttpClient() as http:
        assert (await fails(http, url.replace("http:", "https:"))).code == "upstream_tls"


def test_a_bad_certificate_says_so() -> None:
    class ConnectError(Exception):
        pass

    error = ConnectError("x")
    error.__context__ = OSError("y")
    error.__context__.__cause__ = ExceptionGroup("z", [ssl.SSLCertVerificationError(1, "certificate has expired")])
    error.__context__.__context__ = error  # a ring does not hang us
    assert code_of(error, "connect") == "upstream_tls"
    assert len(list(causes(error))) == 4


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([], "upstream_reset"),
        ([b"HTTP/1.1 200"], "upstream_reset"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"], "upstream_reset"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc"], "upstream_reset"),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"], "upstream_malformed"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "upstream_malformed"),
        ([b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n"], "upstream_malformed"),
        ([b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx"], "upstream_malformed"),
        ([b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nxyz"], "upstream_malformed"),
    ],
)
async def test_broken_answers(pieces: list[bytes], code: str) -> None:
    async with serving(answering(*pieces)) as url, HttpClient() as http:
        error = await fails(http, url)
    assert error.code == code


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://x/", "http://", "http://[::1", "http://x:99999/", "file:///etc/passwd"]
)
async def test_what_is_no_url(url: str) -> None:
    async with HttpClient() as http:
        assert (await fails(http, url)).code == "upstream_connect"


async def test_a_client_that_is_not_open() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await HttpClient().request("GET", "http://localhost/")


async def test_an_answer_is_bounded() -> None:
    body = b"x" * 100_000
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    async with serving(answering(head, body)) as url, HttpClient() as http:
        assert (await http.request("GET", url, max_bytes=100_000)).body == body
        with pytest.raises(OblixError, match="larger than 99999 bytes"):
            await http.request("GET", url, max_bytes=99_999)
        async with http.stream("GET", url) as response:
            assert await response.read_all(10, cut=True) == b"x" * 10


async def test_compressed_answers_arrive_in_bounded_pieces() -> None:
    body = b"y" * (PIECE * 3 + 5)
    packed = gzip.compress(body[:1000]) + gzip.compress(body[1000:])  # chained, as gzip allows
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    pieces = []
    server = serving(answering(head, packed[:50], packed[50:]))
    async with server as url, HttpClient() as http, http.stream("GET", url) as response:
        while piece := await response.read():
            pieces.append(piece)
        assert await response.read() == b"", "the end stays the end"
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= PIECE


def test_inflating() -> None:
    assert Inflater.for_encoding("") is None
    assert Inflater.for_encoding("identity") is None
    inflater = Inflater.for_encoding("Deflate")
    assert inflater is not None
    data = zlib.compress(b"abc")
    inflater.feed(data[:4])
    inflater.feed(data[4:])
    assert inflater.take() == b"abc"
    assert inflater.take() == b""


async def test_what_the_observer_is_told(fault_server: FaultServer) -> None:
    signals: list[NetSignal] = []
    with trio.fail_after(SECONDS):
        async with HttpClient(observe=signals.append) as http:
            await http.request("GET", f"{fault_server.openai_url}/models")
            signals.clear()
            for _ in range(2):
                reply = await http.request("GET", f"{fault_server.openai_url}/models")
    assert [(s.phase, s.failure) for s in signals] == [
        ("connect", None),
        ("first_byte", None),
        ("transfer", None),
        ("first_byte", None),
        ("transfer", None),
    ], "the second one used the connection again"
    assert {(s.host, s.port) for s in signals} == {("127.0.0.1", fault_server.port)}
    assert signals[2].received == len(reply.body)
    assert signals[2].bulk
    assert all(s.seconds >= 0 for s in signals)


async def test_what_the_observer_is_told_of_failures() -> None:
    signals: list[NetSignal] = []
    async with HttpClient(observe=signals.append) as http:
        async with serving(answering()) as url:
            await fails(http, url)
        async with serving(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")) as url:
            await fails(http, url)
    assert [(s.phase, s.failure, s.received) for s in signals] == [
        ("connect", None, 0),
        ("first_byte", "upstream_reset", 0),
        ("connect", None, 0),
        ("first_byte", None, 0),
        ("transfer", "upstream_reset", 3),
    ]


async def test_a_cancelled_request_tells_nothing_of_the_network() -> None:
    signals: list[NetSignal] = []
    arrived = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        arrived.set()
        assert await stream.receive_some() == b"", "the connection is closed at once"

    async with serving(silent) as url, HttpClient(observe=signals.append) as http, trio.open_nursery() as nursery:
        nursery.start_soon(http.request, "GET", url)
        await arrived.wait()
        nursery.cancel_scope.cancel(reason="the client is gone")
    assert [(s.phase, s.failure) for s in signals] == [("connect", None)]


@pytest.mark.parametrize("reads", [0, 1, 2])
async def test_leaving_early_closes_the_connection(reads: int) -> None:
    closed = trio.Event()

    async def endless(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n")
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        closed.set()

    async with serving(endless) as url, HttpClient() as http:
        async with http.stream("GET", url) as response:
            for _ in range(reads):
                assert await response.read() == b"abc"
        await closed.wait()
        async with http.stream("GET", url) as response:
            assert response.status == 200, "and the client goes on"


async def test_a_hundred_cancelled_requests_leave_no_connection(fault_server: FaultServer) -> None:
    model = "hang@hundred"
    body = json.dumps({"model": model}).encode()
    with trio.fail_after(SECONDS * 2):
        async with HttpClient() as http:
            before = (await fault_server.stats())["open"]
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(_post, http, f"{fault_server.openai_url}/chat/completions", body)
                await fault_server.wait(model, started=100)
                nursery.cancel_scope.cancel(reason="all clients are gone")
            await fault_server.wait(model, cancelled=100, open_most=before)


async def _post(http: HttpClient, url: str, body: bytes) -> None:
    await http.request("POST", url, content=body)


def hanging_up(connections: list[bytes], server: bytes) -> Serve:
    """Says keep-alive, and reads no second request; remembers what each connection began with."""

    async def serve(stream: trio.SocketStream) -> None:
        connections.append(await stream.receive_some())
        head = b"HTTP/1.1 200 OK\r\nserver: %b\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\n" % server
        await stream.send_all(head + b"ok")
        if b"connection: close" not in connections[-1].lower():
            with suppress(trio.BrokenResourceError):
                await stream.receive_some()

    return serve


async def test_a_llama_cpp_server_gets_a_connection_for_each_request() -> None:
    connections: list[bytes] = []
    async with serving(hanging_up(connections, b"llama.cpp")) as url, HttpClient() as http:
        for _ in range(5):
            async with http.stream("GET", url) as response:
                assert await response.read_all(10) == b"ok"
    assert len(connections) == 5


async def test_a_near_server_that_hangs_up_is_not_trusted_again() -> None:
    connections: list[bytes] = []
    async with serving(hanging_up(connections, b"other")) as url, HttpClient() as http:
        for _ in range(2):  # the first is not kept, the second is
            assert (await http.request("GET", url)).body == b"ok"
        assert (await fails(http, url)).code == "upstream_reset"
        for _ in range(5):
            assert (await http.request("GET", url)).body == b"ok"
    assert len(connections) == 7


async def test_proxies_are_for_far_hosts(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", fault_server.url)
    with trio.fail_after(SECONDS):
        async with HttpClient() as http:
            reply = await http.request("GET", "http://api.example.com/v1/models")
            assert json.loads(reply.body)["object"] == "list", "the fault server answered as the proxy"
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        async with HttpClient() as http:
            assert (await http.request("GET", f"{fault_server.openai_url}/models")).status == 200
            assert (await fails(http, "http://api.example.com/v1/models")).code == "upstream_connect"


async def test_a_proxy_that_cannot_be_used_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "odd://user:secret@proxy:1")
    with pytest.raises(ConfigError, match="HTTP_PROXY") as caught:
        async with HttpClient():
            pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("192.168.1.5", True),
        ("10.0.0.1", True),
        ("169.254.1.1", True),
        ("100.64.0.1", True),
        ("fe80::1", True),
        ("fd00::1", True),
        ("nas", True),
        ("nas.local", True),
        ("gpu.lan.", True),
        ("host.docker.internal", True),
        ("8.8.8.8", False),
        ("2606:4700::1111", False),
        ("api.openai.com", False),
        ("localhost.example.com", False),
    ],
)
def test_near_and_far(host: str, near: bool) -> None:
    assert is_near(host) is near


def test_importing_it_does_not_import_httpx() -> None:
    program = "import sys, oblix_actors.providers.http, oblix_actors.providers.openai; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


async def test_after_a_change_of_network_no_idle_connection_is_used_again(fault_server: FaultServer) -> None:
    connects: list[NetSignal] = []

    def observe(signal: NetSignal) -> None:
        if signal.phase == "connect":
            connects.append(signal)

    with trio.fail_after(20):
        async with HttpClient(observe=observe) as http:
            url = f"{fault_server.openai_url}/models"
            await http.request("GET", url)
            await http.request("GET", url)
            await http.request("GET", url)
            kept = len(connects)
            async with http.stream("GET", url) as response:
                await http.renew()
                assert await response.read_all(1_000_000), "what is being read goes on"
            await http.request("GET", url)
            await http.request("GET", url)
            assert len(connects) > kept
            assert not http._retired
