"""Other people's programs against the server, each in its own process as its users run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import BREAKING, EMBEDDED, KEY, LIMITED, MISSING, Server

SECONDS = 100


def output_of(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What the program printed; its errors are shown when it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def seen_by(command: list[str], server: Server) -> dict[str, Any]:
    """The JSON object that one of the programs beside this file printed."""
    found = json.loads(output_of([*command, server.base_url, KEY, EMBEDDED, MISSING, LIMITED, BREAKING]))
    assert isinstance(found, dict)
    return found


def test_langchain(server: Server, clients: Path) -> None:
    program = Path(__file__).parent / "programs" / "langchain_chat.py"
    seen = seen_by([str(clients / "python"), str(program)], server)
    assert seen["answer"]["text"]
    assert seen["answer"]["finish"] in {"stop", "length"}
    assert seen["answer"]["model"] == EMBEDDED
    assert seen["answer"]["usage"]["output_tokens"] > 0
    assert seen["stream"]["pieces"] > 1
    assert seen["stream"]["usage"]["output_tokens"] > 0
    assert "NotFoundError" in seen["errors"]["missing"]
    assert "RateLimitError" in seen["errors"]["limited"]
    assert seen["errors"]["breaking"][0] == "APIError"


def test_node(server: Server, node_program: Path) -> None:
    node = shutil.which("node")
    assert node is not None
    seen = seen_by([node, str(node_program)], server)
    assert {"auto", EMBEDDED} <= set(seen["models"])
    assert seen["answer"]["text"]
    assert seen["answer"]["finish"] in {"stop", "length"}
    assert seen["answer"]["usage"]["completion_tokens"] > 0
    assert seen["stream"]["text"]
    assert seen["stream"]["finish"] in (["stop"], ["length"])
    assert len(seen["stream"]["ids"]) == 1
    assert seen["stream"]["usage"]["completion_tokens"] > 0
    assert seen["errors"]["missing"] == {"class": "NotFoundError", "status": 404, "code": "model_not_found"}
    assert seen["errors"]["limited"] == {"class": "RateLimitError", "status": 429, "code": "upstream_rate_limited"}
    assert seen["errors"]["breaking"] == {"class": "APIError", "status": None, "code": "upstream_truncated"}
    assert seen["errors"]["invalid"]["class"] == "BadRequestError"
    assert seen["errors"]["key"]["class"] == "AuthenticationError"


class LLM:
    """The ``llm`` command, with a model of that name in a folder of its own."""

    def __init__(self, program: Path, folder: Path, server: Server) -> None:
        self.program = program
        self.environment = {"LLM_USER_PATH": str(folder)}
        (folder / "extra-openai-models.yaml").write_text(
            "".join(
                f"- model_id: {alias}\n  model_name: {model!r}\n  api_base: {server.base_url}\n  api_key_name: oblix\n"
                for alias, model in (("oblix", EMBEDDED), ("oblix-missing", MISSING))
            )
        )
        (folder / "keys.json").write_text(json.dumps({"oblix": KEY}))

    def __call__(self, *arguments: str) -> str:
        return output_of([str(self.program), *arguments], self.environment)


@pytest.fixture
def llm(clients: Path, tmp_path: Path, server: Server) -> LLM:
    return LLM(clients / "llm", tmp_path, server)


def test_llm(llm: LLM) -> None:
    assert "oblix" in llm("models")
    assert llm("-m", "oblix", "-o", "max_tokens", "24", "Say hello.").strip()
    assert llm("-m", "oblix", "-o", "max_tokens", "24", "--no-stream", "Say hello.").strip()


def test_llm_shows_the_reason_of_an_error(llm: LLM) -> None:
    with pytest.raises(AssertionError, match="nobody:has-this"):
        llm("-m", "oblix-missing", "Say hello.")
