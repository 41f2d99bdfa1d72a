"""The examples of docs/http.md work, and its shapes are the server's."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from oblix_actors.front.health import HELLO
from tests.front.deciding import deciding, named
from tests.front.shapes import Answer, read

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
ROOT = "http://127.0.0.1:62549"


def blocks(language: str) -> list[str]:
    """The page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


COMMANDS = [
    command for block in blocks("sh") for command in block.replace("\\\n", " ").split("\ncurl ") if command.strip()
]


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
async def test_an_example_works(command: str) -> None:
    words = [word for word in shlex.split(command) if word not in {"curl", "-N"}]
    url = words.pop(0)
    headers: dict[str, str] = {}
    body = b""
    while words:
        option, value = words.pop(0), words.pop(0)
        if option == "-H":
            name, _, text = value.partition(": ")
            headers[name.lower()] = text
        else:
            assert option == "-d"
            json.loads(value)
            body = value.encode()
    assert url.startswith(ROOT)
    method = "POST" if body else "GET"
    async with deciding(script=named) as front:
        answer = await front.server.ask(method, url.removeprefix(ROOT), body, headers)
    if "locla" in command:
        assert answer.status == 400
        assert answer.json() == json.loads(blocks("json")[-1])
    else:
        assert answer.status == 200


def test_the_explanation_has_the_servers_shape() -> None:
    read(json.loads(blocks("json")[0]), Answer)


def test_every_path_is_told_of() -> None:
    for endpoint in HELLO["endpoints"]:
        assert f"`{endpoint}`" in PAGE


def test_its_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("https://"):
            assert (Path(__file__).parents[2] / "docs" / target.partition("#")[0]).is_file()
