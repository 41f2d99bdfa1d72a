"""``oblix models``: everything that could be asked, where it is, and how it is."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oblix_actors.cli.terminal import FAILED, ConfigFile, run, settings_of, show

if TYPE_CHECKING:
    from oblix_actors.core.catalogue import Model, ProviderState
    from oblix_actors.settings import Settings

Row = dict[str, Any]
KEYS: Final = ("locality", "status", "context", "capabilities", "loaded")


def models(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask this server, such as http://127.0.0.1:62549, and no other.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    config: ConfigFile = None,
) -> None:
    """List the models that can be asked for.

    From the server that runs already; where none does, the providers are looked for from here. Ends with code 1 when
    there is none.
    """
    settings = settings_of(config)
    run(lambda: _models(settings, url, as_json=as_json))


async def _models(settings: Settings, url: str | None, *, as_json: bool) -> int:
    from msgspec.structs import replace

    from oblix_actors import logs

    logs.configure(settings.log if settings.log.level == "debug" else replace(settings.log, level="error"))
    from oblix_actors.cli.remote import Remote, address, key_for
    from oblix_actors.providers.http import HttpClient

    async with HttpClient(connect_seconds=settings.routing.connect_seconds) as http:
        remote = Remote(http, address(settings, url), key_for(settings, url))
        there = url is not None or await remote.is_there()
        if there:
            source = f"from the server at {remote.url}"
            rows, troubles = await _from(remote)
    if not there:
        source = f"no server at {remote.url}; these were found from here"
        rows, troubles = await _found(settings)
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(rows, troubles, source)
    return 0 if rows else FAILED


async def _from(remote: Any) -> tuple[list[Row], list[str]]:
    """The rows that a running server gives, and what it says of providers that are down."""
    listed = await remote.get("/v1/models")
    health = await remote.get("/health", good=(200, 503))
    rows = []
    for entry in listed.get("data") or ():
        details = entry.get("oblix")
        if isinstance(details, dict):  # `auto` has none: it is not a model
            rows.append({"model": str(entry.get("id")), **{key: details.get(key) for key in KEYS}})
    providers: dict[str, Any] = health.get("providers") or {}
    return rows, [
        f"{name}: {state.get('reason') or 'down'}" for name, state in providers.items() if state.get("status") == "down"
    ]


async def _found(settings: Settings) -> tuple[list[Row], list[str]]:
    """The same from a tree in this process."""
    from oblix_actors.cli.inhouse import settle
    from oblix_actors.system import open_house

    async with open_house(settings, os.environ) as house:
        await settle(house)
        states = house.providers()
    rows = [_row(state, model) for state in states for model in state.models if model.chat]
    return rows, [f"{state.name}: {state.reason or 'down'}" for state in states if state.status == "down"]


def _row(state: ProviderState, model: Model) -> Row:
    return {
        "model": f"{state.name}:{model.id}",
        "locality": state.locality,
        "context": model.context,
        "capabilities": None if model.capabilities is None else sorted(model.capabilities),
        "loaded": model.loaded,
        "status": state.status,
    }


def _print(rows: list[Row], troubles: list[str], source: str) -> None:
    from rich.text import Text

    from oblix_actors.cli.terminal import printable
    from oblix_actors.cli.welcome import STATUS_STYLE, table

    made = table("Model", "Where", "Context", "Can", "Loaded", "State", plain=not sys.stdout.isatty())
    for row in rows:
        status = row["status"] or "–"
        loaded = {True: "yes", False: "no"}.get(row["loaded"], "–")
        made.add_row(
            Text(printable(row["model"]), style="bold"),
            row["locality"] or "–",
            _tokens(row["context"]),
            ", ".join(row["capabilities"]) if row["capabilities"] else "–",
            loaded,
            Text(status, style=STATUS_STYLE.get(status, "")),
        )
    if rows:
        show(made)
    for trouble in troubles:
        show(Text(f"down: {printable(trouble)}", style="red"), errors=True)
    if not rows:
        show(Text("There is no model that could answer. `oblix pull` fetches a small one.", style="bold"), errors=True)
    count = "1 model" if len(rows) == 1 else f"{len(rows)} models"
    show(Text(f"{count}, {source}", style="dim"), errors=True)


def _tokens(count: int | None) -> str:
    if not count:
        return "–"
    return f"{count // 1024}k" if count % 1024 == 0 else f"{count:,}"
