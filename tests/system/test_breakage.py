"""What breaks in the middle: an upstream, the embedded model's process; the client is always told, or never notices."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from tests.conftest import FaultServer
from tests.system.gateway import running

CHAIN = """
[embedded]
enabled = false

[[providers]]
name = "broken"
kind = "openai"
base_url = "{url}"
models = ["{model}"]
locality = "local"

[[providers]]
name = "sound"
kind = "openai"
base_url = "{url}"
models = ["words-5"]
locality = "lan"
"""


def text_of(body: bytes) -> str:
    """The text of a stream."""
    events = [json.loads(line[6:]) for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def until_data(response: http.client.HTTPResponse) -> None:
    """Read on to the first event; on a busy machine a comment or two may come before it."""
    while not (line := response.readline()).startswith(b"data: "):
        assert line, "the stream ended"


def test_every_way_to_fail_before_the_first_token_is_unseen_by_the_client(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    models = [
        "status-500",
        "status-429",
        "status-401",
        "drop-after-0",
        "truncate-after-0",
        "html",
        "error-frame-after-0",
    ]
    for number, model in enumerate(models):
        folder = tmp_path / str(number)
        folder.mkdir()
        with running(folder, CHAIN.format(url=fault_server.openai_url, model=model)) as gateway:
            status, body = gateway.ask("auto")
            assert (status, text_of(body)) == (200, "w0 w1 w2 w3 w4"), model
            assert b'"model":"sound:words-5"' in body
            assert b"[DONE]" in body


def test_a_break_after_the_first_token_is_told_and_never_silent(fault_server: FaultServer, tmp_path: Path) -> None:
    with running(tmp_path, CHAIN.format(url=fault_server.openai_url, model="drop-after-3")) as gateway:
        status, body = gateway.ask("auto")
        assert status == 200
        last = json.loads(body.rstrip().rsplit(b"data: ", 1)[1])
        assert last["error"]["code"] == "upstream_reset"
        assert last["choices"][0]["finish_reason"] == "error"
        assert b"[DONE]" not in body
        # A client that waits for the whole has seen nothing yet: somebody else starts over.
        status, body = gateway.ask("auto", stream=False)
        answer = json.loads(body)
        assert (status, answer["model"]) == (200, "sound:words-5")
        assert answer["choices"][0]["message"]["content"] == "w0 w1 w2 w3 w4"


def test_a_killed_model_process_is_told_and_started_again(tmp_path: Path) -> None:
    with running(tmp_path, "") as gateway:
        connection = gateway.connect()
        body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Tell a very long story."}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        until_data(response)
        (child,) = gateway.children()
        child.kill()
        rest = response.read()
        connection.close()
        last = json.loads(rest.rstrip().rsplit(b"data: ", 1)[1])
        assert last["error"]["code"] == "process_died", "the end says what happened"
        status, answer = gateway.ask("auto", stream=False, max_tokens=5)
        assert status == 200, answer
        assert [new.pid for new in gateway.children()] != [child.pid]


def test_a_drain_lets_what_runs_end(fault_server: FaultServer, tmp_path: Path) -> None:
    with running(tmp_path, CHAIN.format(url=fault_server.openai_url, model="slow")) as gateway:
        connection = gateway.connect()
        body = {"model": "broken:slow", "stream": True, "messages": [{"role": "user", "content": "Go."}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        until_data(response)
        gateway.process.terminate()
        assert b"[DONE]" in response.read()
        connection.close()
        assert gateway.process.wait(timeout=30) == 0
