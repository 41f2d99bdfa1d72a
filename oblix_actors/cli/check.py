"""``oblix check``: is the configuration right, and what does it come to?"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oblix_actors.cli.origin import EMBEDDED_NAME, address, missing_keys, origin
from oblix_actors.cli.terminal import WRONG, ConfigFile, complain, show, warn
from oblix_actors.errors import ConfigError

if TYPE_CHECKING:
    from oblix_actors.settings import ProviderSettings, Settings


def check(
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Check the configuration, without starting anything.

    Prints every problem with its file, key and reason, and ends with code 2; or the providers that result, and where
    each comes from. The network is not touched.
    """
    from oblix_actors import logs
    from oblix_actors.settings import LogSettings

    logs.configure(LogSettings(format="text"))
    found = Findings()
    try:
        _look(config, found)
    except ConfigError as error:
        found.problems += error.problems
    if as_json:
        print(json.dumps({"ok": not found.problems, **asdict(found)}, indent=2, ensure_ascii=False))
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(WRONG)


@dataclass
class Findings:
    """``not_set`` are the environment variables that would have brought another provider."""

    file: str | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    providers: list[dict[str, Any]] = field(default_factory=list)
    not_set: list[str] = field(default_factory=list)


def _look(config: str | None, found: Findings) -> None:
    """Load the settings, then everything that a start would read; each failure is noted, and the rest looked at."""
    from oblix_actors import config as configuration

    settings = configuration.load(config)
    found.file = settings.source
    found.not_set = missing_keys(settings, os.environ)
    providers = configuration.effective_providers(settings, os.environ)
    found.warnings += configuration.warnings(settings, providers)
    found.providers = [_row(provider, settings, found.problems) for provider in providers]
    try:
        configuration.client_keys(settings.server, os.environ)
    except ConfigError as error:
        found.problems += error.problems
    if settings.embedded.enabled:
        found.providers.append(_embedded(settings, found.problems))


def _row(provider: ProviderSettings, settings: Settings, problems: list[str]) -> dict[str, Any]:
    from oblix_actors.config import provider_key

    key = "none"
    try:
        if provider_key(provider, os.environ) is not None:
            key = provider.api_key_env or provider.api_key_file or key
    except ConfigError as error:
        problems += error.problems
        key = "missing"
    return {
        "name": provider.name,
        "kind": provider.kind,
        "where": provider.locality,
        "address": address(provider),
        "key": key,
        "why": origin(provider, settings),
    }


def _embedded(settings: Settings, problems: list[str]) -> dict[str, Any]:
    from oblix_actors.engine.models import resolve

    where = "no file: `oblix pull` fetches one"
    try:
        found = resolve(settings.embedded)
        if found is not None:
            where = found.path.name
    except ConfigError as error:
        problems += error.problems
        where = "missing"
    return {
        "name": EMBEDDED_NAME,
        "kind": "embedded",
        "where": "local",
        "address": where,
        "key": "none",
        "why": "comes along; the last resort",
    }


def _print(found: Findings) -> None:
    from rich.text import Text

    for warning in found.warnings:
        warn(warning)
    if found.problems:
        for problem in found.problems:
            complain(problem)
        count = "1 problem" if len(found.problems) == 1 else f"{len(found.problems)} problems"
        show(Text(f"{count}: the server would not start.", style="bold"), errors=True)
        return
    from oblix_actors.cli.welcome import table

    made = table("Provider", "Kind", "Where", "Address", "Key", "Why", plain=not sys.stdout.isatty())
    for row in found.providers:
        rest = (row[name] for name in ("kind", "where", "address", "key"))
        made.add_row(Text(row["name"], style="bold"), *rest, Text(row["why"], style="dim"))
    head = f"{_short(found.file)} is right." if found.file else "No config file: the defaults hold."
    show(Text(head, style="bold green"), "", made)
    if found.not_set:
        show("", Text(f"Not set: {', '.join(found.not_set)}", style="dim"))


def _short(path: str) -> str:
    """``path``, from here on where it is below the current folder."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path
