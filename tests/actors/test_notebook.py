"""The notebook: what was learned survives a restart, and a bad file costs nothing but the memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from oblix_actors.actors import notebook
from oblix_actors.actors.messages import RecallSpeeds, RouterMessage
from oblix_actors.actors.notebook import Notebook
from oblix_actors.core.decision import Name
from oblix_actors.core.timing import Speed
from oblix_actors.runtime.mailbox import Mailbox


def learned() -> dict[Name, Speed]:
    """What a router might have learned: a model's name may hold colons."""
    speed = Speed()
    for number in range(8):
        speed.learn(prompt=100, cached=0, answer=50, first=0.2 + number / 100, total=2.0, loaded=True)
    return {("ollama", "llama3.2:3b"): speed}


async def test_what_is_written_at_the_end_is_read_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "state" / "speeds.json"
    router: Mailbox[RouterMessage] = Mailbox("router", 10)
    asked = 0

    def answer(message: RouterMessage) -> None:
        nonlocal asked
        asked += 1
        assert isinstance(message, RecallSpeeds)
        message.reply.put(learned())

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.each, answer, lambda *_: None)
            async with trio.open_nursery() as inner:
                await inner.start(Notebook(path, router).run)
                inner.cancel_scope.cancel(reason="the server stops")
            nursery.cancel_scope.cancel(reason="the test is over")
    assert asked == 1
    found = notebook.read(path)
    assert found == learned()
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"version":1}', b'{"version":99,"speeds":{}}', b'{"version":1,"speeds":{"x":{}}}', b"\xff"]
)
def test_a_file_that_cannot_be_understood_is_no_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "speeds.json"
    path.write_bytes(content)
    assert notebook.read(path) == {}


def test_no_file_is_no_memory(tmp_path: Path) -> None:
    assert notebook.read(tmp_path / "none.json") == {}


async def test_a_place_that_cannot_be_written_to_is_survived(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    router: Mailbox[RouterMessage] = Mailbox("router", 10)

    def answer(message: RouterMessage) -> None:
        assert isinstance(message, RecallSpeeds)
        message.reply.put(learned())

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.each, answer, lambda *_: None)
            await Notebook(tmp_path / "file" / "speeds.json", router)._write()
            nursery.cancel_scope.cancel(reason="the test is over")
