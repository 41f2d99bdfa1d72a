"""``oblix agents``: every actor of the server, how it is, and what it has seen last."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oblix_actors.cli.terminal import FAILED, ConfigFile, printable, run, settings_of, show

if TYPE_CHECKING:
    from oblix_actors.cli.remote import Remote
    from oblix_actors.front.house import House
    from oblix_actors.settings import Settings

Row = dict[str, Any]
PHASE_STYLE: Final = {"running": "green", "starting": "yellow", "restarting": "red", "stopped": "red"}


def agents(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, with the whole samples.")] = False,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask this server, such as http://127.0.0.1:62549, and no other.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """List the actors: their states, their mailboxes, and what each has seen last.

    Of the server that runs already; where none does, of one that is started for this look. Ends with code 1 when an
    actor does not run.
    """
    settings = settings_of(config)
    run(lambda: _agents(settings, url, as_json=as_json))


async def _agents(settings: Settings, url: str | None, *, as_json: bool) -> int:
    from oblix_actors.cli.look import look

    rows, source = await look(settings, url, _through, _inside)
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(rows, source)
    return 0 if rows and all(row.get("state") == "running" for row in rows) else FAILED


async def _through(remote: Remote) -> list[Row]:
    listed = await remote.get("/v1/agents")
    return [row for row in listed.get("data") or () if isinstance(row, dict)]


async def _inside(house: House) -> list[Row]:
    """What ``GET /v1/agents`` would say."""
    import msgspec
    import trio

    from oblix_actors.front.health import agents_with_samples

    rows: list[Row] = msgspec.json.decode(msgspec.json.encode(agents_with_samples(house, trio.current_time())))
    return rows


def _print(rows: list[Row], source: str) -> None:
    from rich.text import Text

    from oblix_actors.cli.welcome import table

    made = table("Agent", "State", "Since", "Restarts", "Mailbox", "Last sample", plain=not sys.stdout.isatty())
    for column in (1, 2, 4):
        made.columns[column].no_wrap = True
    for column in (2, 3, 4):
        made.columns[column].justify = "right"
    for row in rows:
        state = _words(row.get("state"))
        restarts = row.get("restarts") or 0
        made.add_row(
            Text(_words(row.get("name")), style="bold"),
            Text(state, style=PHASE_STYLE.get(state, "")),
            _age(row.get("seconds")),
            Text(str(restarts), style="yellow" if restarts else "dim"),
            _mailbox(row.get("mailbox")),
            in_words(row.get("sample")),
        )
    show(made)
    for row in rows:
        if row.get("last_error"):
            text = f"{_words(row.get('name'))} crashed lately: {_words(row['last_error'])}"
            show(Text(text, style="red"), errors=True)
    count = f"{len(rows)} actor{'s' if len(rows) != 1 else ''}"
    show(Text(f"{count} of {printable(source)}", style="dim"), errors=True)


def in_words(sample: Any) -> str:
    """A sample in a few words: a monitor's state and first reasons, a provider's models and load, the embedded model's
    process, open jobs; of what is none of these, its plain values."""
    if not isinstance(sample, dict):
        return "–"
    if "reasons" in sample:
        why = "; ".join(_words(reason) for reason in (sample["reasons"] or ())[:2])
        return f"{_words(sample.get('state'))}: {why}" if why else _words(sample.get("state"))
    if "slots" in sample:
        if sample.get("status") != "ready":
            return ": ".join(_words(word) for word in (sample.get("status"), sample.get("reason")) if word)
        models = sample.get("models")
        waiting = f", {sample['waiting']} waiting" if sample.get("waiting") else ""
        return (
            f"ready: {models} model{'s' if models != 1 else ''}, {sample.get('running')} of {sample['slots']} "
            f"slots busy{waiting}"
        )
    if "limit" in sample:
        draining = ", draining" if sample.get("draining") else ""
        return f"{sample.get('open')} of {sample['limit']} jobs open{draining}"
    if "phase" in sample:
        used = f", {sample['leases']} requests" if sample.get("leases") else ""
        return ": ".join(_words(word) for word in (f"{sample['phase']}{used}", sample.get("reason")) if word)
    words = (f"{name} {value}" for name, value in sample.items() if value not in (None, "") and _is_plain(value))
    return printable(", ".join(words)) or "–"


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _words(value: Any) -> str:
    return printable(str(value)) if value not in (None, "") else "–"


def _mailbox(mailbox: Any) -> str:
    if not isinstance(mailbox, dict):
        return "–"
    refused = f" ({mailbox['refused']} refused)" if mailbox.get("refused") else ""
    return f"{mailbox.get('depth')}/{mailbox.get('size')}{refused}"


def _age(seconds: Any) -> str:
    """``42 s``, ``12 min``, ``5 h``, ``3 d``."""
    if not isinstance(seconds, int | float):
        return "–"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
