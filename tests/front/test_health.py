"""How the server says how it is, and which models it has."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import msgspec
import pytest

from oblix_actors import __version__
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.errors import OblixError
from oblix_actors.front.health import can_answer
from tests.front.harness import DOWN, READY, Server, chat_body, make_house, running, silence, until

OTHER = ProviderState(
    name="box", kind="ollama", locality="lan", order=1, status="ready", models=(Model("llama3.2:3b"),), running=2
)


async def health(server: Server) -> Any:
    return (await server.ask("GET", "/health")).json()


async def test_a_healthy_server() -> None:
    async with running(make_house(providers=lambda: (READY, OTHER, DOWN))) as server:
        answer = await server.ask("GET", "/health")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    report = answer.json()
    assert report["status"] == "healthy"
    assert report["version"] == __version__
    assert report["uptime"] >= 0
    assert report["models"] == {"count": 3, "types": {"openai": 2, "ollama": 1}}
    assert report["providers"]["box"]["running"] == 2
    assert report["jobs"] == {"open": 0, "limit": 1000, "draining": False}


async def test_every_actor_has_its_state() -> None:
    async with running() as server:
        agents = (await health(server))["agents"]
    assert agents["resource_monitor"]["state"] == "running"
    assert agents["connectivity"]["state"] == "restarting"
    assert (agents["connectivity"]["restarts"], agents["connectivity"]["last_error"]) == (2, "OSError")


async def test_an_actor_with_a_mailbox_shows_how_full_it_is() -> None:
    house = make_house()
    house = type(house)(
        **{
            **{name: getattr(house, name) for name in house.__slots__},
            "mailboxes": lambda: {"resource_monitor": house.router.state()},
        }
    )
    async with running(house) as server:
        agents = (await health(server))["agents"]
    assert agents["resource_monitor"]["mailbox"] == {"depth": 0, "size": 100, "refused": 0}
    assert agents["connectivity"]["mailbox"] is None


@pytest.mark.parametrize(
    "providers", [(), (DOWN,), (msgspec.structs.replace(READY, models=(Model("embed-me", chat=False),)),)]
)
async def test_it_is_unhealthy_when_no_model_could_answer(providers: tuple[ProviderState, ...]) -> None:
    assert not can_answer(providers)
    async with running(make_house(providers=lambda: providers)) as server:
        answer = await server.ask("GET", "/health")
        ready = await server.ask("GET", "/readyz")
        alive = await server.ask("GET", "/livez")
    assert answer.status == 503
    assert answer.json()["status"] == "unhealthy"
    assert answer.json()["models"] == {"count": 0, "types": {}}
    assert ready.status == 503
    assert ready.error()["code"] == "no_model_available"
    assert alive.status == 200


async def test_it_follows_what_the_providers_publish() -> None:
    states = [DOWN]
    async with running(make_house(providers=lambda: tuple(states))) as server:
        assert (await server.ask("GET", "/readyz")).status == 503
        states[0] = READY
        assert (await server.ask("GET", "/readyz")).status == 200


async def test_a_server_that_drains_is_alive_and_not_ready() -> None:
    async with running() as server:
        server.house.jobs.close(OblixError("shutting_down", "the server is stopping"))
        assert (await server.ask("GET", "/livez")).status == 200
        ready = await server.ask("GET", "/readyz")
        assert (ready.status, ready.error()["code"]) == (503, "shutting_down")
        report = await health(server)
    assert report["status"] == "unhealthy"
    assert report["jobs"]["draining"] is True


async def test_the_sensors_sections_stand_beside_ours_and_are_always_json() -> None:
    def sensors() -> dict[str, Any]:
        return {"resources": {"cpu": nan, "gpu": [inf, -inf]}, "connectivity": {"state": "optimal"}, "status": "mine"}

    async with running(make_house(sensors=sensors)) as server:
        report = await health(server)
    assert report["resources"] == {"cpu": None, "gpu": [None, None]}
    assert report["connectivity"] == {"state": "optimal"}
    assert report["status"] == "healthy"


async def test_open_jobs_are_counted() -> None:
    async with running(script=silence) as server, await server.connect() as client:
        await client.send("POST", "/v1/chat/completions", chat_body())
        await until(lambda: len(server.house.jobs) == 1)
        assert (await health(server))["jobs"]["open"] == 1


@pytest.mark.parametrize("path", ["/", "/health", "/livez", "/readyz", "/v1/models", "/v1/models/auto"])
async def test_head_has_the_headers_and_no_body(path: str) -> None:
    async with running() as server, await server.connect() as client:
        for _ in range(2):
            await client.send("HEAD", path)
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, b"")
            assert int(answer.headers["content-length"]) > 0


async def test_the_root_names_the_endpoints_and_slashes_at_the_end_do_no_harm() -> None:
    async with running() as server:
        hello = (await server.ask("GET", "/")).json()
        assert (await server.ask("GET", "/health/?verbose=1&x")).status == 200
        assert hello["version"] == __version__
        for endpoint in hello["endpoints"]:
            method, path = endpoint.split()
            answer = await server.ask(method, path.replace("{id}", "auto"), b"{" if method == "POST" else b"")
            assert answer.status == (400 if method == "POST" else 200)


async def test_models_lists_auto_and_every_chat_model_by_its_full_name() -> None:
    async with running(make_house(providers=lambda: (READY, OTHER))) as server:
        listed = (await server.ask("GET", "/v1/models")).json()
        assert listed["object"] == "list"
        names = [entry["id"] for entry in listed["data"]]
        assert names == ["auto", "acme:tiny", "acme:hf.co/org/big:q4", "box:llama3.2:3b"]
        for entry in listed["data"]:
            for path in (entry["id"], entry["id"].replace("/", "%2F").replace(":", "%3A")):
                assert (await server.ask("GET", f"/v1/models/{path}")).json() == entry


async def test_a_model_that_is_not_there_is_named() -> None:
    async with running() as server:
        answer = await server.ask("GET", "/v1/models/acme:no-such")
    assert answer.status == 404
    error = answer.error()
    assert error["code"] == "model_not_found"
    assert "acme:no-such" in error["message"]
