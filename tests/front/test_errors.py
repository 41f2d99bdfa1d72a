"""Every error is OpenAI-shaped JSON with the right status and an id, wherever it comes from."""

from __future__ import annotations

from math import inf, nan

import pytest

from oblix_actors.core.catalogue import ProviderState
from oblix_actors.errors import KINDS, OblixError
from oblix_actors.front.errors import error_response
from oblix_actors.settings import ServerSettings
from tests.front.harness import CHAT, chat_body, make_house, running

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/chat/completions", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("POST", "/v1//chat/completions", 404, "not_found"),
        ("GET", "/static/x", 404, "not_found"),
        ("GET", "/%00/%ff%fe/%F0%9F%98%80", 404, "not_found"),
        ("GET", "/v1/models/nobody:has-this", 404, "model_not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("PUT", CHAT, 405, "method_not_allowed"),
        ("OPTIONS", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("TRACE", "/", 405, "method_not_allowed"),
    ],
)
async def test_paths_and_methods_that_are_not_there(method: str, path: str, status: int, code: str) -> None:
    async with running() as server:
        answer = await server.ask(method, path)
    assert answer.status == status
    assert answer.error()["code"] == code
    assert answer.headers["x-request-id"].startswith("req_")


async def test_405_says_which_methods_there_are() -> None:
    async with running() as server:
        assert (await server.ask("GET", CHAT)).headers["allow"] == "POST"
        assert (await server.ask("POST", "/health")).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b"\xff\xfe\x00", "invalid_json", None),
        (b"[]", "invalid_request", None),
        (b"NaN", "invalid_json", None),
        (b"[" * 100_000, "invalid_json", None),
        (b'{"model":"auto"}', "invalid_request", "messages"),
        (b'{"messages":[{"role":"user","content":"x"}]}', "invalid_request", "model"),
        (chat_body(temperature="hot"), "invalid_request", "temperature"),
        (chat_body(stream="yes"), "invalid_request", "stream"),
    ],
)
async def test_bodies_that_make_no_sense(body: bytes, code: str, param: str | None) -> None:
    async with running() as server:
        answer = await server.ask("POST", CHAT, body, JSON)
    assert answer.status == 400
    error = answer.error()
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "nonsense"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"origin": "https://a-page.example"},
    ],
)
async def test_bodies_that_are_not_json_by_their_own_word(headers: dict[str, str]) -> None:
    async with running() as server:
        answer = await server.ask("POST", CHAT, chat_body(), headers)
    assert answer.status == 415
    assert answer.error()["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "Application/JSON"},
        {"content-type": "application/json", "content-encoding": "identity"},
        {"content-type": "application/json", "origin": "https://a-page.example"},
    ],
)
async def test_bodies_that_are(headers: dict[str, str]) -> None:
    async with running() as server:
        assert (await server.ask("POST", CHAT, chat_body(), headers)).status == 200


SMALL = ServerSettings(max_body_bytes=1000)


async def test_a_body_that_is_too_large_by_its_length() -> None:
    async with running(make_house(settings=SMALL)) as server:
        at_the_limit = chat_body()
        at_the_limit += b" " * (1000 - len(at_the_limit))
        assert (await server.ask("POST", CHAT, at_the_limit, JSON)).status == 200
        answer = await server.ask("POST", CHAT, at_the_limit + b" ", JSON)
    assert answer.status == 413
    assert answer.error()["code"] == "payload_too_large"


async def test_a_body_larger_than_quarts_own_limit_is_read() -> None:
    """That is 16 MB; images arrive as base64."""
    async with running() as server:
        assert (await server.ask("POST", CHAT, chat_body() + b" " * 17_000_000, JSON)).status == 200


async def test_a_chunked_body_is_read() -> None:
    body = chat_body()
    async with running() as server, await server.connect() as client:
        await client.send_raw(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            + b"".join(b"1\r\n%c\r\n" % byte for byte in body)
            + b"0\r\n\r\n"
        )
        assert (await client.answer()).status == 200


async def test_its_length_alone_is_enough() -> None:
    async with running(make_house(settings=SMALL)) as server, await server.connect() as client:
        await client.send_raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n{")
        answer = await client.answer()
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


async def test_a_body_that_is_too_large_without_a_length() -> None:
    async with running(make_house(settings=SMALL)) as server, await server.connect() as client:
        await client.send_raw(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n400\r\n"
            + b" " * 0x400
            + b"\r\n"
        )
        answer = await client.answer()
    assert answer.status == 413
    assert answer.error()["code"] == "payload_too_large"


async def test_a_large_upload_is_heard_out_so_that_its_client_gets_the_answer() -> None:
    """4 MB is more than the sockets' buffers hold: without a reader the client could not even send it."""
    async with running(make_house(settings=SMALL)) as server, await server.connect() as client:
        answer = await client.ask("POST", CHAT, b" " * 4_000_000, JSON)
        assert answer.status == 413
        assert "connection" not in answer.headers
        assert (await client.ask("GET", "/livez")).status == 200, "and the connection is good for the next request"


async def test_a_refused_request_does_not_cost_the_connection() -> None:
    async with running(make_house(keys=("k",))) as server, await server.connect() as client:
        for _ in range(20):
            assert (await client.ask("POST", CHAT, chat_body(), JSON)).status == 401
            assert (await client.ask("POST", "/nowhere", chat_body(), JSON)).status == 404


async def test_a_body_that_does_not_come() -> None:
    house = make_house(settings=ServerSettings(body_seconds=0.05))
    async with running(house) as server, await server.connect() as client:
        await client.send_raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        answer = await client.answer()
        assert await client.stream.receive_some() == b"", "the rest of that body is not waited for"
    assert answer.status == 408
    assert answer.error()["code"] == "request_timeout"
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_line", [b"GET /livez HTTP/1.0", b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close"]
)
async def test_a_client_that_wants_the_connection_closed_gets_it_closed(request_line: bytes) -> None:
    async with running() as server, await server.connect() as client:
        await client.send_raw(request_line + b"\r\n\r\n")
        assert (await client.answer()).status == 200
        assert await client.stream.receive_some() == b""


async def test_a_defect_tells_the_client_nothing_but_that_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> tuple[ProviderState, ...]:
        raise ExceptionGroup("group", [ExceptionGroup("inner", [RuntimeError("secret detail")])])

    async with running(make_house(providers=broken)) as server:
        for path in ("/v1/models", "/health", "/readyz"):
            answer = await server.ask("GET", path, headers={"x-request-id": "find-me"})
            assert answer.status == 500
            assert answer.error()["code"] == "internal"
            assert b"secret" not in answer.body
        assert (await server.ask("GET", "/livez")).status == 200
    log = capsys.readouterr().out
    assert "secret detail" in log
    assert "find-me" in log


async def test_a_traceback_is_never_shown_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[ProviderState, ...]:
        raise RuntimeError("secret detail")

    monkeypatch.setenv("QUART_DEBUG", "1")
    monkeypatch.setenv("FLASK_DEBUG", "1")
    async with running(make_house(providers=broken)) as server:
        answer = await server.ask("GET", "/v1/models")
    assert answer.error()["code"] == "internal"
    assert b"secret" not in answer.body


@pytest.mark.parametrize("code", sorted(KINDS))
def test_each_kind_has_its_own_status_and_shape(code: str) -> None:
    assert error_response(OblixError(code, "m")).status_code == KINDS[code].status


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(None, None), (0.0, None), (-1.0, None), (0.01, "1"), (1.0, "1"), (1.1, "2"), (1e9, "86400"), (inf, "86400")],
)
def test_retry_after_is_whole_seconds_rounded_up(seconds: float | None, header: str | None) -> None:
    response = error_response(OblixError("busy", "m", retry_after=seconds))
    assert response.headers.get("retry-after") == header


def test_retry_after_that_is_no_number_is_still_a_header() -> None:
    assert error_response(OblixError("busy", "m", retry_after=nan)).headers["retry-after"] == "86400"


async def test_long_messages_are_cut() -> None:
    async with running(make_house()) as server:
        answer = await server.ask("GET", "/v1/models/" + "x" * 20_000)
    assert answer.status == 404
    assert len(answer.error()["message"]) < 500
    body = await error_response(OblixError("busy", "y" * 50_000)).get_data()
    assert len(body) < 2500
