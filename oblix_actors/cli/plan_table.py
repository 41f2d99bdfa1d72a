"""A decision as tables that a person can read: what the monitors say, who may answer, who may not and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from oblix_actors.cli.terminal import printable, show
from oblix_actors.cli.welcome import table

if TYPE_CHECKING:
    from rich.console import RenderableType

Entry = dict[str, Any]
STATE_STYLE: Final = {
    "available": "green",
    "optimal": "green",
    "constrained": "yellow",
    "degraded": "yellow",
    "critical": "red",
    "disconnected": "red",
}


def show_plan(plan: Entry, source: str) -> None:
    """Print what ``POST /v1/route`` answered; ``source`` is who was asked."""
    plain = not sys.stdout.isatty()
    entries: list[Entry] = plan.get("candidates") or []
    ranked = [entry for entry in entries if entry.get("excluded") is None]
    out = [entry for entry in entries if entry.get("excluded") is not None]
    parts: list[RenderableType] = [_head(plan.get("routing_decision") or {})]
    if ranked:
        parts += ["", _ranked(ranked, plain=plain)]
    if out:
        parts += ["", _out(out, plain=plain)]
    show(*parts)
    if not ranked:
        show(Text("Nobody can answer this now.", style="bold red"), errors=True)
    show(Text(f"Nothing was generated. Decided by {printable(source)}", style="dim"), errors=True)


def _head(decision: Entry) -> Table:
    """The two monitors, and what comes of them."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, key in (("Machine", "resource_routing"), ("Network", "connectivity_routing")):
        routing = decision.get(key) or {}
        state = _words(routing.get("state"))
        says = Text.assemble((state, STATE_STYLE.get(state, "")), f" → {_words(routing.get('target'))}")
        made.add_row(name, says, _lines(_words(routing.get("reason")).split("; ")))
    policy, target = _words(decision.get("policy")), _words(decision.get("target"))
    made.add_row("Policy", f"{policy} → {target}", _words(decision.get("reason")))
    made.add_row("Privacy", _words(decision.get("privacy")), _words(decision.get("privacy_reason")))
    if decision.get("warming"):
        made.add_row("Warming", _words(decision["warming"]), "is loaded meanwhile, for the next request")
    return made


def _ranked(entries: Iterable[Entry], *, plain: bool) -> Table:
    made = table("", "Model", "Where", "Score", "Expected", "Cost", "Why", plain=plain)
    if not plain:
        made.padding = (0, 1, 0, 0)  # seven columns are many for eighty characters
    for column in (0, 3, 4, 5):
        made.columns[column].justify = "right"
        made.columns[column].no_wrap = True
    made.columns[2].no_wrap = True
    for place, entry in enumerate(entries, 1):
        made.add_row(
            str(place),
            Text(_words(entry.get("model")), style="bold green" if place == 1 else "bold"),
            _words(entry.get("locality")),
            _score(entry.get("score")),
            _seconds(entry.get("expected_seconds")),
            _dollars(entry.get("expected_cost")),
            _why(entry),
        )
    return made


def _out(entries: Iterable[Entry], *, plain: bool) -> Table:
    made = table("Left out", "Where", "Rule", "Why", plain=plain)
    made.columns[1].no_wrap = made.columns[2].no_wrap = True
    for entry in entries:
        made.add_row(
            Text(_words(entry.get("model")), style="dim"),
            _words(entry.get("locality")),
            Text(_words(entry.get("excluded")), style="yellow"),
            _words(entry.get("reason")),
        )
    return made


def _why(entry: Entry) -> str:
    """The reason, without what has a column of its own."""
    parts = _words(entry.get("reason")).split("; ")
    if parts[0] == entry.get("locality"):
        parts = parts[1:]
    return "; ".join(part for part in parts if not part.startswith("about ")) or "–"


def _lines(reasons: Iterable[str]) -> str:
    return "\n".join(reasons)


def _words(value: Any) -> str:
    return printable(str(value)) if value not in (None, "") else "–"


def _score(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else "–"


def _seconds(value: Any) -> str:
    """How long something takes: ``0.3 s``, ``15 s``, ``2.5 min``."""
    if not isinstance(value, int | float):
        return "–"
    if value < 0.1:
        return "< 0.1 s"
    if value < 100:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.1f} min"


def _dollars(value: Any) -> str:
    if not isinstance(value, int | float):
        return "–"
    if value == 0:
        return "free"
    return f"${value:.4f}" if value >= 0.0001 else "< $0.0001"
