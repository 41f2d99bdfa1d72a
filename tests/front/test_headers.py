"""Header values: whatever goes in, one safe line comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.events import Served
from oblix_actors.front.headers import request_id, safe, served_headers
from tests.front.harness import running


@given(st.text(max_size=2000))
def test_any_text_becomes_one_bounded_line_of_ascii(text: str) -> None:
    value = safe(text)
    assert len(value) <= 512
    assert all(" " <= char <= "~" for char in value)
    assert value == value.strip()
    assert safe(value) == value


def test_a_value_that_is_cut_says_so() -> None:
    assert safe("x" * 512) == "x" * 512
    assert safe("x" * 513) == "x" * 509 + "..."


def test_nobody_has_no_headers() -> None:
    assert served_headers(None) == {}


@given(st.builds(Served, st.text(), st.text(), st.text()))
def test_who_served_is_safe_to_send(served: Served) -> None:
    assert all(safe(value) == value for value in served_headers(served).values())


@pytest.mark.parametrize("given_id", ["a", "3f2c-uuid", "~" * 128, "!\"#'"])
def test_a_sane_id_is_kept(given_id: str) -> None:
    assert request_id(given_id) == given_id


@pytest.mark.parametrize("given_id", [None, "", " ", "a b", "a\tb", "é", "x" * 129, "\x7f"])
def test_any_other_is_replaced(given_id: str | None) -> None:
    made = request_id(given_id)
    assert made.startswith("req_")
    assert len(made) == len("req_") + 24


async def test_every_response_has_the_clients_id() -> None:
    async with running() as server:
        for method, path in (("GET", "/health"), ("GET", "/nothing"), ("POST", "/v1/chat/completions"), ("HEAD", "/")):
            assert (await server.ask(method, path, headers={"x-request-id": "mine-1"})).headers[
                "x-request-id"
            ] == "mine-1"
        for stream in (False, True):
            answer = await server.chat({"x-request-id": "mine-2"}, stream=stream)
            assert answer.headers["x-request-id"] == "mine-2"


async def test_or_one_of_its_own() -> None:
    async with running() as server:
        first, second = [(await server.ask("GET", "/livez")).headers["x-request-id"] for _ in range(2)]
        odd = await server.ask("GET", "/livez", headers={"x-request-id": "x" * 500})
    assert first != second
    assert odd.headers["x-request-id"].startswith("req_")
