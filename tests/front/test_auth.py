"""Who may ask."""

from __future__ import annotations

import pytest

from tests.front.harness import CHAT, chat_body, make_house, running

KEYS = ("first-key", "clé-2")
PROTECTED = [("POST", CHAT, chat_body()), ("GET", "/v1/models", b""), ("GET", "/v1/models/auto", b"")]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer anything"}, {"authorization": "nonsense"}])
async def test_without_configured_keys_anybody_is_welcome(headers: dict[str, str]) -> None:
    async with running() as server:
        for method, path, body in PROTECTED:
            assert (await server.ask(method, path, body, headers)).status == 200


@pytest.mark.parametrize(
    "value", [b"Bearer first-key", b"bearer first-key", b"Bearer  first-key", "Bearer clé-2".encode()]
)
async def test_a_configured_key_opens(value: bytes) -> None:
    async with running(make_house(keys=KEYS)) as server:
        for method, path, body in PROTECTED:
            assert (await server.ask(method, path, body, {"authorization": value.decode("latin-1")})).status == 200


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer first",
        "Bearer first-key2",
        "Basic first-key",
        "first-key",
        "Bearer é\xff",
    ],
)
async def test_nothing_else_does(value: str | None) -> None:
    async with running(make_house(keys=KEYS)) as server:
        for method, path, body in PROTECTED:
            answer = await server.ask(method, path, body, {} if value is None else {"authorization": value})
            assert answer.status == 401
            assert answer.error()["code"] == "invalid_api_key"
            assert answer.error()["type"] == "authentication_error"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "first" not in answer.error()["message"]


async def test_the_key_is_asked_for_before_the_body_is_read() -> None:
    async with running(make_house(keys=KEYS)) as server:
        assert (await server.ask("POST", CHAT, b"{", {"content-type": "text/plain"})).status == 401


async def test_health_needs_no_key() -> None:
    async with running(make_house(keys=KEYS)) as server:
        for path in ("/", "/health", "/livez", "/readyz"):
            assert (await server.ask("GET", path)).status == 200
