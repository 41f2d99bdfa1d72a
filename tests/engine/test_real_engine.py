"""The engine actor with the real model: it loads, dies, comes back, and leaves nothing behind."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from oblix_actors.actors.engine import Engine
from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.events import Batch, Delta
from oblix_actors.engine import models
from oblix_actors.engine.models import ModelFile
from oblix_actors.errors import OblixError
from oblix_actors.providers.embedded import EmbeddedUpstream
from oblix_actors.providers.http import HttpClient
from oblix_actors.settings import EmbeddedSettings

SECONDS = 90


@asynccontextmanager
async def engine_of(model: ModelFile | None = None, **settings: Any) -> AsyncIterator[tuple[Engine, EmbeddedUpstream]]:
    """A running actor, and its provider. At the end no process of it is left."""
    wanted = EmbeddedSettings(context=512, slots=1, threads=1, **settings)
    engine = Engine(wanted, model or models.resolve(wanted), cores=2)
    with trio.fail_after(SECONDS):
        async with HttpClient() as http, trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            yield engine, EmbeddedUpstream(wanted, engine, http)
            nursery.cancel_scope.cancel(reason="the test is over")
    assert children() == []
    assert engine.state.value.phase == "stopped"
    assert engine.state.value.pid is None


def children() -> list[psutil.Process]:
    """The engines that are ours: running, or dead and not buried."""
    found = []
    for child in psutil.Process().children():
        try:
            if "oblix_actors.engine" in child.cmdline() or child.status() == psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.Error:
            continue
    return found


async def phase(engine: Engine, wanted: str) -> None:
    state, version = engine.state.value, engine.state.version
    while state.phase != wanted:
        state, version = await engine.state.newer(version)


def ask(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest(model="auto", messages=(Message("user", text),), **fields)


class Answer:
    """Collects an answer; ``first`` is set by its first content."""

    def __init__(self) -> None:
        self.text = ""
        self.first = trio.Event()

    async def __call__(self, batch: Batch) -> None:
        self.text += "".join(event.text for event in batch if isinstance(event, Delta))
        if self.text:
            self.first.set()


async def test_killed_in_the_middle_of_an_answer_it_serves_the_next_one() -> None:
    async with engine_of() as (engine, upstream):
        (model,) = await upstream.discover()
        assert children() == [], "looking starts nothing"
        failures: list[OblixError] = []

        async def long_answer() -> None:
            with pytest.raises(OblixError) as caught:
                await upstream.chat(ask("Count to ten thousand.", max_tokens=400), model.id, answer)
            failures.append(caught.value)

        answer = Answer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(long_answer)
            await answer.first.wait()
            (child,) = children()
            assert engine.state.value.pid == child.pid
            child.send_signal(signal.SIGKILL)
        assert [error.code for error in failures] == ["process_died"]
        assert "killed" in engine.state.value.reason
        again = Answer()
        await upstream.chat(ask("Say hello.", max_tokens=8), model.id, again)
        assert again.text
        assert engine.state.value.pid not in (None, child.pid)


async def test_idle_it_is_unloaded_and_cancelled_while_it_loads_it_leaves_nothing() -> None:
    async with engine_of(idle_unload_seconds=0.1) as (engine, _):
        async with engine.lease():
            (child,) = children()
        await phase(engine, "stopped")
        assert engine.state.value.reason == "idle for 0.1 s"
        assert not child.is_running()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def give_up() -> None:
                    state, version = engine.state.value, engine.state.version
                    while state.phase != "starting" or state.pid is None:
                        state, version = await engine.state.newer(version)
                    scope.cancel(reason="nobody wants it any more")

                nursery.start_soon(give_up)
                async with engine.lease():
                    pytest.fail("it cannot be loaded yet")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"hello", "invalid magic"),
        (b"GGUF" + bytes(1000), "GGUF"),
        ("half", "corrupted or incomplete"),
    ],
    ids=["missing", "text", "zeros", "truncated"],
)
async def test_a_file_that_cannot_be_loaded(tmp_path: Path, content: bytes | str | None, said: str) -> None:
    path = tmp_path / "model.gguf"
    if content == "half":
        whole = models.find_default_model()
        assert whole is not None
        with whole.open("rb") as file:
            content = file.read(20_000_000)
    if isinstance(content, bytes):
        path.write_bytes(content)
    async with engine_of(ModelFile("model", path)) as (engine, upstream):
        with pytest.raises(OblixError) as caught:
            await upstream.chat(ask("Hello?"), "model", Answer())
        assert caught.value.code == "engine_unavailable"
        assert said in caught.value.message
        assert str(tmp_path) not in caught.value.message
        assert engine.state.value.phase == "failed"
        with pytest.raises(OblixError, match="is not available"):
            await upstream.discover()
