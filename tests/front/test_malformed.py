"""Bytes that are not proper HTTP, and bodies that are not proper requests: never a 500, never the end of the server."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from oblix_actors.actors.messages import RouterMessage, Submit
from oblix_actors.front.exchange import path_of
from oblix_actors.runtime.job import Job
from tests.front.asgi import Exchange
from tests.front.harness import CHAT, Stage, chat_body, hello, make_house, running

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

WEBSOCKET = b"""GET / HTTP/1.1\r
Host: x\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
\r
"""

ANSWERED: list[tuple[str, bytes, int]] = [
    ("no HTTP at all", b"hello there\r\n\r\n", 400),
    ("a TLS hello", bytes.fromhex("16030100c8010000c40303") + bytes(200) + b"\r\n\r\n", 400),
    ("no version", b"GET /health\r\n\r\n", 400),
    ("a version of the future", b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", 200),
    ("no host", b"GET /health HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("a NUL in a header", b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: \x00\r\n\r\n", 400),
    ("a space before the colon", b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    ("a header without a name", b"GET /health HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n", 400),
    ("a folded first header", b"GET /health HTTP/1.1\r\n folded\r\nHost: x\r\n\r\n", 400),
    ("control characters in the target", b"GET /\x01\x02 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("headers without end", b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-Y: " + b"z" * 200_000, 431),
    ("a length that is no number", HEAD + b"Content-Length: ten\r\n\r\n", 400),
    ("a negative length", HEAD + b"Content-Length: -1\r\n\r\n", 400),
    ("two lengths", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    ("an absurd length", HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
    ("a transfer coding nobody knows", HEAD + b"Transfer-Encoding: magic\r\n\r\n", 501),
    ("a method of punctuation", b"(){} /health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("a method nobody knows", b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ("a target without a path", b"GET ?query HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("a target of an odd host", b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ("a full URL", b"GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("a host that is none", b"GET /livez HTTP/1.1\r\nHost: [:::<>\xff\r\n\r\n", 200),
    ("a host with an empty label", b"GET /livez HTTP/1.1\r\nHost: a..b\r\n\r\n", 200),
    ("an empty host", b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", 200),
    ("HTTP/1.0 without a host", b"GET /livez HTTP/1.0\r\n\r\n", 200),
    ("a query of odd escapes", b"GET /livez?%=%zz&%ff[]&&= HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ("a cookie of nonsense", b'GET /livez HTTP/1.1\r\nHost: x\r\nCookie: =;;\xff="\\;$;a=\r\n\r\n', 200),
    ("credentials of nonsense", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: \xff\xfe basic\r\n\r\n", 200),
    (
        "a websocket",
        WEBSOCKET,
        403,
    ),
    ("100-continue", HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", 400),
]

CUT_OFF: list[tuple[str, bytes]] = [
    ("half a request line", b"GET /heal"),
    ("half a header", b"GET /health HTTP/1.1\r\nHo"),
    ("half a body", HEAD + b"Content-Length: 1000\r\n\r\n{"),
    ("a chunk size that is none", HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ("half a chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{"),
    ("nothing", b""),
    ("HTTP/2 from the start, and then nonsense", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64),
    ("a second request in pieces", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /li"),
]


@pytest.mark.parametrize(("data", "status"), [case[1:] for case in ANSWERED], ids=[case[0] for case in ANSWERED])
async def test_malformed_http_is_answered(data: bytes, status: int) -> None:
    async with running() as server:
        async with await server.connect() as client:
            await client.send_raw(data)
            assert (await client.head()).status == status
        assert (await server.ask("GET", "/livez")).status == 200


@pytest.mark.parametrize("data", [case[1] for case in CUT_OFF], ids=[case[0] for case in CUT_OFF])
async def test_a_client_that_leaves_in_the_middle_is_no_loss(data: bytes) -> None:
    async with running() as server:
        for _ in range(3):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(data)
        assert (await server.ask("GET", "/livez")).status == 200
        assert (await server.chat()).status == 200
        assert len(server.house.jobs) == 0


async def test_mutated_bodies_are_answered_or_refused_but_never_crash() -> None:
    """Valid bodies with some bytes changed, moved, doubled or left out; the seed is fixed."""
    rng = random.Random(62549)
    seeds = [
        chat_body(),
        chat_body(stream=True, stream_options={"include_usage": True}, n=2, temperature=0.5, stop=["a", "b"]),
        chat_body(
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            tool_choice="auto",
            response_format={"type": "json_object"},
            messages=[{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "tool", "content": "x"}],
        ),
    ]
    statuses: dict[int, int] = {}
    async with running() as server, await server.connect() as client:
        for _ in range(400):
            body = bytearray(rng.choice(seeds))
            for _ in range(rng.randint(1, 6)):
                at = rng.randrange(len(body))
                match rng.randrange(4):
                    case 0:
                        body[at] = rng.randrange(256)
                    case 1:
                        del body[at : at + rng.randint(1, 8)]
                    case 2:
                        body[at:at] = body[at : at + rng.randint(1, 16)]
                    case _:
                        body[at:at] = rng.choice([b"null", b"-1", b"1e999", b'"', b"[", b"{}", b"\\ud800", b"NaN"])
                body = body or bytearray(b"x")
            answer = await client.ask("POST", CHAT, bytes(body), {"content-type": "application/json"})
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
    assert set(statuses) == {200, 400}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "model", "messages", "tools", "tool_choice", "functions", "function_call", "response_format", "stream",
    "stream_options", "n", "stop", "seed", "logprobs", "top_logprobs", "max_tokens", "temperature", "modalities",
]  # fmt: skip
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=5).map(
    lambda odd: {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **odd}
)


@settings(max_examples=150, deadline=None)
@given(body=BODIES, typed=st.booleans())
async def test_odd_values_in_known_fields_never_crash(body: dict[str, Any], typed: bool) -> None:
    """Through the whole application, without a socket."""
    house = make_house()
    client = Exchange("POST", CHAT, msgspec.json.encode(body), typed=typed)

    async def play(job: Job) -> None:
        await hello(Stage(job))

    def handle(message: RouterMessage) -> None:
        if isinstance(message, Submit):
            nursery.start_soon(play, message.job)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.router.each, handle, lambda _message, _error: None)
            await client.run(house)
            nursery.cancel_scope.cancel(reason="it is answered")
    assert client.status in {200, 400}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b", "/a/b"),
        ("//a", "//a"),
        ("http://host", "/"),
        ("HTTPS://host:1/a?b", "/a?b"),
        ("http://[", "/"),
        ("", None),
        ("*", None),
        ("host:443", None),
        ("ftp://host/a", None),
        ("a/b", None),
    ],
)
def test_the_path_in_a_target(target: str, path: str | None) -> None:
    assert path_of(target) == path
