"""What the engine actor decides: when its process starts, stops, starts again, and who is told what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from oblix_actors.actors import engine as engine_module
from oblix_actors.actors.engine import FREE_DEATHS, LONGEST_PAUSE, Engine
from oblix_actors.engine import models
from oblix_actors.engine.models import ModelFile
from oblix_actors.engine.protocol import EngineAddress
from oblix_actors.errors import OblixError
from oblix_actors.runtime.supervisor import ChildSpec, Supervisor
from oblix_actors.settings import EmbeddedSettings
from tests.engine.fake_process import LOADING, FakeProcess

MODEL = ModelFile("tiny", Path("/models/tiny.gguf"))


@pytest.fixture(autouse=True)
def fake_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    FakeProcess.lives.clear()
    FakeProcess.script.clear()
    FakeProcess.ending = 0.0
    monkeypatch.setattr(engine_module, "EngineProcess", FakeProcess)
    yield
    assert FakeProcess.running() == [], "a process was left behind"


async def started(nursery: trio.Nursery, model: ModelFile | None = MODEL, **settings: Any) -> Engine:
    engine = Engine(EmbeddedSettings(**settings), model, cores=3)
    await nursery.start(engine.run)
    return engine


def phase(engine: Engine) -> str:
    return engine.state.value.phase


@asynccontextmanager
async def leased(engine: Engine) -> AsyncIterator[EngineAddress]:
    """As ``engine.lease()``, with all tasks at rest before and after."""
    async with engine.lease() as address:
        await wait_all_tasks_blocked()
        yield address
    await wait_all_tasks_blocked()


async def refusal(engine: Engine) -> OblixError:
    with pytest.raises(OblixError) as caught:
        async with engine.lease():
            pytest.fail("there is no engine to lease")
    await wait_all_tasks_blocked()
    assert engine.state.value.leases == 0
    return caught.value


async def test_it_starts_on_demand_and_once_for_all(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    engine = await started(nursery, context=1024, slots=3)
    await wait_all_tasks_blocked()
    assert FakeProcess.lives == []
    addresses: list[EngineAddress] = []

    async def use() -> None:
        async with engine.lease() as address:
            addresses.append(address)
            await trio.sleep(1)

    begun = trio.current_time()
    async with trio.open_nursery() as users:
        for _ in range(3):
            users.start_soon(use)
        await wait_all_tasks_blocked()
        assert phase(engine) == "starting"
        assert engine.state.value.leases == 3
        assert engine.state.value.pid == 1000
    assert trio.current_time() - begun == LOADING + 1
    (life,) = FakeProcess.lives
    assert (life.params.context, life.params.slots, life.params.threads) == (1024, 3, 3)
    assert len(set(addresses)) == 1
    assert addresses[0].base_url == "http://127.0.0.1:1000/v1"
    assert addresses[0].key.reveal() == life.params.key
    assert len(life.params.key) >= 32
    assert addresses[0].pid == life.pid
    await wait_all_tasks_blocked()
    assert phase(engine) == "ready"
    assert engine.state.value.leases == 0


async def test_it_unloads_when_idle_and_only_then(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    engine = await started(nursery, idle_unload_seconds=10)
    async with leased(engine):
        await trio.sleep(50)
        assert phase(engine) == "ready"
    await trio.sleep(9)
    async with leased(engine):
        pass
    await trio.sleep(9)
    assert phase(engine) == "ready"
    await trio.sleep(2)
    assert phase(engine) == "stopped"
    assert engine.state.value.reason == "idle for 10 s"
    assert engine.state.value.pid is None
    assert len(FakeProcess.lives) == 1
    async with leased(engine) as address:
        assert address.pid == 1001


async def test_who_comes_while_it_unloads_waits_for_the_next_life(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    FakeProcess.ending = 1.5
    engine = await started(nursery, idle_unload_seconds=10)
    async with leased(engine):
        pass
    await trio.sleep(10.5)
    assert phase(engine) == "stopping"
    async with leased(engine) as address:
        assert address.pid == 1001


@pytest.mark.parametrize("settings", [{"idle_unload_seconds": 0}, {"start": "eager", "idle_unload_seconds": 5}])
async def test_it_is_never_unloaded(nursery: trio.Nursery, autojump_clock: MockClock, settings: dict[str, Any]) -> None:
    engine = await started(nursery, **settings)
    async with leased(engine):
        pass
    await trio.sleep(80_000)
    assert phase(engine) == "ready"
    assert len(FakeProcess.lives) == 1


async def test_a_death_is_seen_at_once_and_the_next_lease_starts_it_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    engine = await started(nursery)
    async with leased(engine):
        FakeProcess.lives[0].die()
        await wait_all_tasks_blocked()
        assert phase(engine) == "stopped"
        assert engine.state.value.reason == "its process was killed"
        assert engine.state.value.pid is None
    await trio.sleep(100)
    assert len(FakeProcess.lives) == 1
    begun = trio.current_time()
    async with leased(engine) as address:
        assert address.pid == 1001
    assert trio.current_time() - begun == LOADING


async def test_eager_starts_by_itself_and_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    engine = await started(nursery, start="eager")
    await trio.sleep(LOADING)
    await wait_all_tasks_blocked()
    assert phase(engine) == "ready"
    FakeProcess.script[:] = ["fails"]
    FakeProcess.lives[0].die()
    await wait_all_tasks_blocked()
    assert phase(engine) == "starting"
    await trio.sleep(LOADING)
    await wait_all_tasks_blocked()
    assert phase(engine) == "failed"
    await trio.sleep(10)
    assert phase(engine) == "ready"
    assert len(FakeProcess.lives) == 3


async def test_a_start_that_fails_tells_all_who_wait_and_pauses(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    FakeProcess.script[:] = ["fails", "fails"]
    engine = await started(nursery)
    errors: list[OblixError] = []

    async def use() -> None:
        errors.append(await refusal(engine))

    async with trio.open_nursery() as users:
        users.start_soon(use)
        users.start_soon(use)
    assert {error.code for error in errors} == {"engine_unavailable"}
    assert {error.message for error in errors} == {"the embedded model is not available: it is broken"}
    assert phase(engine) == "failed"
    assert engine.state.value.reason == "it is broken"
    await trio.sleep(0.25)
    again = await refusal(engine)
    assert again.retry_after == 0.75
    assert len(FakeProcess.lives) == 1
    await trio.sleep(0.8)
    assert phase(engine) == "stopped"
    assert (await refusal(engine)).retry_after == 2
    await trio.sleep(2.5)
    async with leased(engine) as address:
        assert address.pid == 1002


async def test_the_pauses_grow_to_a_limit(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    FakeProcess.script[:] = ["fails"] * 12
    engine = await started(nursery)
    pauses = []
    for _ in range(12):
        pauses.append((await refusal(engine)).retry_after)
        await trio.sleep(LONGEST_PAUSE + 1)
    assert pauses == [1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE] * 6]


async def test_a_model_that_dies_again_and_again_is_left_alone_for_a_while(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    engine = await started(nursery)
    for number in range(FREE_DEATHS + 1):
        async with leased(engine):
            FakeProcess.lives[number].die()
            await wait_all_tasks_blocked()
    assert phase(engine) == "failed"
    assert (await refusal(engine)).retry_after is not None
    await trio.sleep(LONGEST_PAUSE + 1)
    async with leased(engine):
        await trio.sleep(3600)
        FakeProcess.lives[-1].die()
        await wait_all_tasks_blocked()
        assert phase(engine) == "stopped", "a long life makes the earlier deaths forgotten"


async def test_a_model_that_does_not_load_in_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    FakeProcess.script[:] = ["hangs"]
    engine = await started(nursery, start_seconds=30)
    error = await refusal(engine)
    assert "did not load within 30 s" in error.message
    assert FakeProcess.running() == []


async def test_a_lease_that_is_given_up_counts_no_more(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    engine = await started(nursery, idle_unload_seconds=10)
    with trio.move_on_after(LOADING / 2):
        async with engine.lease():
            pytest.fail("it cannot be loaded yet")
    await wait_all_tasks_blocked()
    assert engine.state.value.leases == 0
    await trio.sleep(LOADING)
    assert phase(engine) == "ready"
    await trio.sleep(10)
    assert phase(engine) == "stopped"


async def test_a_full_mailbox_is_busy(autojump_clock: MockClock) -> None:
    engine = Engine(EmbeddedSettings(), MODEL, cores=1)  # nobody reads its mail
    for _ in range(engine.mailbox.state().size // 2):
        with trio.CancelScope() as scope:
            scope.cancel(reason="a client that has gone already")
            async with engine.lease():
                pytest.fail("nobody is there to answer")
    with pytest.raises(OblixError, match="full") as caught:
        async with engine.lease():
            pytest.fail("nobody is there to answer")
    assert caught.value.code == "busy"


async def test_a_model_that_is_fetched_later_is_found(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "resolve", lambda _settings: None)
    engine = await started(nursery, model=None, start="eager")
    assert phase(engine) == "absent"
    assert await engine.model() is None
    assert (await refusal(engine)).code == "engine_unavailable"
    monkeypatch.setattr(models, "resolve", lambda _settings: MODEL)
    assert await engine.model() == MODEL
    await wait_all_tasks_blocked()
    assert phase(engine) == "starting"
    async with leased(engine) as address:
        assert address.model == MODEL.name


async def crash(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message of a lease crashes the actor."""
    whole = engine._lease

    def broken(_hold: object) -> None:
        monkeypatch.setattr(engine, "_lease", whole)
        raise RuntimeError("a defect")

    monkeypatch.setattr(engine, "_lease", broken)
    with pytest.raises(OblixError) as caught:
        async with engine.lease():
            pytest.fail("the actor has crashed")
    assert caught.value.code == "actor_crashed"


@asynccontextmanager
async def supervised(nursery: trio.Nursery) -> AsyncIterator[tuple[Engine, Supervisor]]:
    engine = Engine(EmbeddedSettings(), MODEL, cores=1)
    supervisor = Supervisor()
    await supervisor.start(nursery, ChildSpec("engine", engine.run))
    yield engine, supervisor
    await supervisor.stop()
    assert FakeProcess.running() == []
    assert phase(engine) == "stopped"


async def test_a_crashed_actor_leaves_no_process_and_serves_on(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeProcess.ending = 0.5
    async with supervised(nursery) as (engine, supervisor):
        async with leased(engine):
            await crash(engine, monkeypatch)
            await trio.sleep(1)
            assert supervisor.states()[0].restarts == 1
            assert FakeProcess.running() == []
            assert phase(engine) == "stopped"
            assert engine.state.value.pid is None
        async with leased(engine) as address:
            assert address.pid == 1001


async def test_who_waits_outlives_a_crash_of_the_actor(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervised(nursery) as (engine, _), trio.open_nursery() as users:
        pids: list[int] = []

        async def use() -> None:
            async with engine.lease() as address:
                pids.append(address.pid)

        users.start_soon(use)
        await wait_all_tasks_blocked()
        assert phase(engine) == "starting"
        await crash(engine, monkeypatch)
        await trio.sleep(5)
        assert pids == [1001]
