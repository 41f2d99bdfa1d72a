"""Probes of real sockets on the loopback: what works, what fails, and what only looks as if it worked.

``selfsigned.pem`` is a certificate and its key, made for these tests alone: for localhost and 127.0.0.1.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.actors import probe
from oblix_actors.actors.probe import Prober, captive_redirect, proxied
from oblix_actors.core.hosts import Host, ProbeResult

PEM = Path(__file__).with_name("selfsigned.pem")
CLOUD = Host("any", "api.example.com", 80, False, "cloud")


def at(port: int, host: str = "127.0.0.1", *, tls: bool = True) -> Host:
    return Host("any", host, port, tls, "cloud")


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM))


@asynccontextmanager
async def listening(*, tls: bool = True, greeting: bytes = b"", host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that shakes hands (or says ``greeting``) and waits for the end; yields its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)

    async def serve(stream: trio.SocketStream) -> None:
        try:
            if tls:
                await trio.SSLStream(stream, context, server_side=True).do_handshake()
            elif greeting:
                await stream.send_all(greeting)
            await stream.receive_some(1)
        except trio.BrokenResourceError:
            pass
        finally:
            stream.socket.close()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host=host)
            await nursery.start(trio.serve_listeners, serve, listeners)
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_host_with_its_own_certificate_is_the_real_one() -> None:
    async with listening() as port:
        result = await Prober(trusting())(at(port))
    assert result.failure is None
    assert result.connect_seconds is not None
    assert 0 < result.connect_seconds < 10


async def test_names_are_resolved() -> None:
    async with listening() as port:
        result = await Prober(trusting())(at(port, "localhost"))
    assert result.failure is None


async def test_a_certificate_of_nobody_we_trust_is_a_captive_portal() -> None:
    async with listening() as port:
        result = await Prober()(at(port))
    assert (result.failure, result.detail) == ("captive_portal", "a certificate that is not 127.0.0.1's")


async def test_a_certificate_of_another_host_is_a_captive_portal() -> None:
    async with listening(host="127.0.0.2") as port:
        result = await Prober(trusting())(at(port, "127.0.0.2"))
    assert result.failure == "captive_portal"


async def test_something_that_does_not_speak_tls() -> None:
    async with listening(tls=False, greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        result = await Prober(trusting())(at(port))
    assert (result.failure, result.detail) == ("upstream_tls", "the TLS handshake failed")


async def test_plain_http_on_this_side_needs_the_connection_only() -> None:
    async with listening(tls=False) as port:
        assert (await Prober()(at(port, tls=False))).failure is None


async def test_a_closed_port_refuses() -> None:
    with socket.socket() as reserved, trio.fail_after(20):
        reserved.bind(("127.0.0.1", 0))
        result = await Prober()(at(reserved.getsockname()[1]))
    assert result == ProbeResult(failure="upstream_connect", detail="connection refused", refused=True)


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "nowhere")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with trio.fail_after(20):
        result = await Prober()(at(443, "nowhere.invalid"))
    assert result == ProbeResult(failure="upstream_dns", detail="its name does not resolve")


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (62, "captive_portal"),
        (64, "captive_portal"),
        (18, "captive_portal"),
        (20, "captive_portal"),
        (10, "upstream_tls"),
    ],
)
def test_an_expired_certificate_is_our_clock_and_no_portal(code: int, failure: str) -> None:
    error = ssl.SSLCertVerificationError(1, "verify failed")
    error.verify_code, error.verify_message = code, "certificate has expired"
    assert probe._tls_failure(CLOUD, error).failure == failure


def head(status: str, location: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nServer: any\r\n{f'lOcation: {location}' if location else 'X: y'}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("answer", "captive"),
    [
        (head("200 OK"), False),
        (head("404 Not Found"), False),
        (head("302 Found", "http://login.hotel.example/?from=api"), True),
        (head("307 Temporary Redirect", "https://192.0.2.1/"), True),
        (head("302 Found", "//login.hotel.example/"), True),
        (head("511 Network Authentication Required"), True),
        (head("301 Moved Permanently", "https://api.example.com/"), False),
        (head("308 Permanent Redirect", "https://www.api.example.com/"), False),
        (head("302 Found", "/v1"), False),
        (head("302 Found"), False),
        (head("302 Found", "http://[bad"), False),
        (head("200 OK", "http://login.hotel.example/"), False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
    ],
)
def test_a_redirect_to_elsewhere_is_a_captive_portal(answer: bytes, captive: bool) -> None:
    result = captive_redirect(CLOUD, answer)
    assert (result is not None) is captive
    assert result is None or result.failure == "captive_portal"


@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: b"HTTP/1.1 302 x\r\nLocation: " + tail))
)
def test_no_answer_raises(answer: bytes) -> None:
    assert captive_redirect(CLOUD, answer) is None or b"302" in answer or b"511" in answer


async def test_the_headers_of_plain_http_are_asked_for_and_read_in_pieces() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    asked = b""

    async def portal() -> None:
        nonlocal asked
        while b"\r\n\r\n" not in asked:
            asked += await theirs.receive_some()
        for byte in head("302 Found", "http://login.example/"):
            await theirs.send_all(bytes([byte]))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal)
            result = await probe._redirected(CLOUD, ours)
    assert asked.startswith(b"HEAD / HTTP/1.1\r\nHost: api.example.com\r\n")
    assert result is not None
    assert result.detail == "a redirect to login.example"


async def test_a_plain_http_server_that_says_nothing_is_no_portal(autojump_clock: trio.testing.MockClock) -> None:
    ours, _theirs = trio.testing.memory_stream_pair()
    assert await probe._redirected(CLOUD, ours) is None


@pytest.mark.parametrize(
    ("environment", "host", "answer"),
    [
        ({}, CLOUD, False),
        ({"http_proxy": "http://proxy:1"}, CLOUD, True),
        ({"https_proxy": "http://proxy:1"}, CLOUD, False),
        ({"all_proxy": "http://proxy:1"}, CLOUD, True),
        ({"all_proxy": "http://proxy:1", "no_proxy": "example.com"}, CLOUD, False),
        ({"all_proxy": "http://proxy:1"}, Host("nas", "192.0.2.9", 80, False, "lan"), False),
    ],
)
def test_who_is_behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], host: Host, answer: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxied(host) is answer
