"""The fence holds over a real server: what must stay here stays here, also when everything here is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import FaultServer
from tests.system.gateway import Gateway, running

CONFIG = """
[embedded]
enabled = false

[privacy]
local = ["(?i)patient number"]
lan = ["(?i)internal only"]

[[providers]]
name = "here"
kind = "openai"
base_url = "{url}"
models = ["status-500"]
locality = "local"

[[providers]]
name = "office"
kind = "openai"
base_url = "{url}"
models = ["status-503"]
locality = "lan"

[[providers]]
name = "cloud"
kind = "openai"
base_url = "{url}"
models = ["words-3"]
locality = "cloud"
"""


@pytest.fixture(scope="module")
def gateway(fault_server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose models here are broken and whose cloud would answer anything."""
    with running(tmp_path_factory.mktemp("gateway"), CONFIG.format(url=fault_server.openai_url)) as running_gateway:
        yield running_gateway


def ask(gateway: Gateway, *texts: str, headers: dict[str, str] | None = None, **fields: Any) -> tuple[int, Any]:
    """One conversation of user and assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
    connection = gateway.connect()
    try:
        body = {"model": "auto", "messages": messages, **fields}
        sent = {"content-type": "application/json", **(headers or {})}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_without_a_fence_the_cloud_answers_for_what_is_broken_here(gateway: Gateway) -> None:
    status, answer = ask(gateway, "Hello")
    assert (status, answer["model"]) == (200, "cloud:words-3")


@pytest.mark.parametrize(
    ("headers", "fields", "tried"),
    [
        ({"x-oblix-privacy": "local"}, {}, {"here"}),
        ({}, {"oblix": {"privacy": "local"}}, {"here"}),
        ({"x-oblix-privacy": "lan"}, {}, {"here", "office"}),
        ({"x-oblix-privacy": "any"}, {"oblix": {"privacy": "lan"}}, {"here", "office"}),
        ({}, {"model": "auto:private"}, {"here"}),
    ],
)
def test_a_fence_that_is_asked_for_is_not_left_by_any_failover(
    gateway: Gateway, headers: dict[str, str], fields: dict[str, Any], tried: set[str]
) -> None:
    status, answer = ask(gateway, "Hello", headers=headers, **fields)
    assert status >= 500
    assert answer["error"]["provider"] in tried
    _, decisions = gateway.get("/v1/decisions?limit=1")
    (decision,) = decisions["data"]
    assert {attempt["model"].partition(":")[0] for attempt in decision["attempts"]} == tried
    assert [entry["excluded"] for entry in decision["candidates"] if entry["model"] == "cloud:words-3"] == ["privacy"]


def test_a_model_of_the_cloud_that_is_asked_for_by_name_is_refused_inside_a_fence(gateway: Gateway) -> None:
    status, answer = ask(gateway, "Hello", model="cloud:words-3", oblix={"privacy": "local"})
    assert (status, answer["error"]["code"]) == (503, "no_model_available")
    assert "privacy fence" in answer["error"]["message"]


def test_what_a_rule_finds_stays_here_and_so_does_the_rest_of_the_conversation(gateway: Gateway) -> None:
    secret = ("My name is Jo.", "Hello Jo.", "My Patient Number is 4711.")
    assert ask(gateway, *secret)[0] >= 500
    # In any message, not only in the last.
    assert ask(gateway, *secret, "I see.", "What is it again?")[0] >= 500
    # Strangers with the same beginning are not in it.
    assert ask(gateway, "My name is Jo.")[0] == 200


def test_a_misspelt_fence_is_no_open_door(gateway: Gateway) -> None:
    status, answer = ask(gateway, "Hello", headers={"x-oblix-privacy": "lokal"})
    assert (status, answer["error"]["param"]) == (400, "x-oblix-privacy")
