"""What we use of Hypercorn behind its ASGI interface: when a new version changes it, this says so."""

from __future__ import annotations

import inspect
import socket

import hypercorn.trio.lifespan
import hypercorn.trio.run
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from oblix_actors.front.connection import Connection, config_of, harden, install, terminated_of


async def ignore(*_: object) -> None:
    """An application that does nothing."""


def test_the_configuration_is_behind_a_lifespans_receive() -> None:
    config = Config()
    lifespan = Lifespan(ASGIWrapper(ignore), config, {})
    assert config_of(lifespan.asgi_receive) is config
    assert config_of(ignore) is None


async def test_the_shutdown_event_is_behind_an_http_send() -> None:
    context = WorkerContext(None)
    stream = HTTPStream(ASGIWrapper(ignore), Config(), context, None, False, None, None, ignore, 1)  # type: ignore[arg-type]
    assert terminated_of(stream.app_send) is context.terminated
    assert terminated_of(ignore) is None


def test_hypercorn_looks_its_tcp_server_up_where_we_put_ours() -> None:
    original = hypercorn.trio.run.TCPServer  # type: ignore[attr-defined]
    try:
        install(7.0)
        assert hypercorn.trio.run.TCPServer is Connection  # type: ignore[attr-defined]
        assert Connection.stalled_seconds == 7.0
    finally:
        hypercorn.trio.run.TCPServer = original  # type: ignore[attr-defined]
    assert "TCPServer" in inspect.getsource(hypercorn.trio.run.worker_serve)
    for method in ("run", "_read_data"):
        assert inspect.iscoroutinefunction(getattr(TCPServer, method))


async def test_a_closed_connection_ends_at_once_and_not_after_the_keep_alive_time() -> None:
    config = Config()
    config.keep_alive_timeout = 3600
    Connection.stalled_seconds = 9.0
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    ended = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        connection = Connection(ASGIWrapper(ignore), config, WorkerContext(None), {}, stream)  # type: ignore[arg-type]
        await connection
        ended.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            client = await trio.testing.open_stream_to_socket_listener(listener)
            await client.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n")
            await client.aclose()
            await ended.wait()
            nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_peer_that_acknowledges_nothing_is_dropped_by_the_kernel() -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        client = await trio.testing.open_stream_to_socket_listener(listener)
        accepted = await listener.accept()
        async with client, accepted:
            harden(accepted, 9.0)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
