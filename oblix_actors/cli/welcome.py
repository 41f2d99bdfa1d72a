"""What ``oblix serve`` prints once it answers: what was found, what was not, and what to try."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from oblix_actors import __version__
from oblix_actors.cli.origin import address, missing_keys, origin
from oblix_actors.cli.terminal import url_of
from oblix_actors.config import effective_providers
from oblix_actors.settings import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from oblix_actors.core.catalogue import ProviderState

QUESTION: Final = "Why is the sky blue?"
STATUS_STYLE: Final = {"ready": "green", "starting": "yellow", "down": "red", "absent": "dim"}


def table(*headings: str, plain: bool) -> Table:
    """An empty table in the style of all commands; ``plain`` has no lines, for files and other programs."""
    made = Table(
        box=None if plain else box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="" if plain else "bold"
    )
    for heading in headings:
        made.add_column(heading, overflow="fold", justify="right" if heading == "Models" else "left")
    return made


def welcome(
    settings: Settings, states: Iterable[ProviderState], environ: Mapping[str, str], *, plain: bool
) -> list[RenderableType]:
    """The whole text, as parts to print one below the other."""
    states = tuple(states)
    root = url_of(settings.server.host, settings.server.port)
    parts: list[RenderableType] = [
        Text.assemble(("Oblix Actors", "bold"), f" {__version__} answers at ", (f"{root}/v1", "bold cyan")),
        "",
        _providers(settings, states, environ, plain=plain),
    ]
    if not any(state.status == "ready" for state in states):
        parts += ["", Text("No model can answer yet. Requests get a 503 until one can.", style="bold yellow")]
    if absent := _not_found(settings, states, environ):
        parts += ["", Text.assemble(("Looked for and not found: ", "dim"), (absent, "dim"))]
    keyed = settings.server.api_keys_env is not None or settings.server.api_keys_file is not None
    parts += [
        "",
        Text("Try it:", style="bold"),
        *_indented(curl(root, keyed=keyed)),
        "",
        *_indented(snippet(root, keyed)),
    ]
    return [*parts, ""]


def _providers(
    settings: Settings, states: tuple[ProviderState, ...], environ: Mapping[str, str], *, plain: bool
) -> Table:
    why = {provider.name: origin(provider, settings) for provider in effective_providers(settings, environ)}
    made = table("Provider", "Models", "Where", "State", "Why", plain=plain)
    for state in states:
        if state.status == "absent":
            continue
        chat = sum(model.chat for model in state.models)
        words = state.status if state.status in {"ready", "down"} else "no answer yet"
        reason = f": {state.reason}" if state.reason and state.status != "ready" else ""
        made.add_row(
            Text(state.name, style="bold"),
            str(chat) if chat else "–",
            state.locality,
            Text(words + reason, style=STATUS_STYLE[state.status]),
            Text(why.get(state.name, "comes along; the last resort"), style="dim"),
        )
    return made


def _not_found(settings: Settings, states: tuple[ProviderState, ...], environ: Mapping[str, str]) -> str:
    absent = {state.name for state in states if state.status == "absent"}
    servers = [
        f"{provider.name} ({address(provider)})"
        for provider in effective_providers(settings, environ)
        if provider.name in absent
    ]
    return ", ".join([*servers, *missing_keys(settings, environ)])


def curl(root: str, *, keyed: bool) -> str:
    """One line for a shell."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": QUESTION}]})
    key = ' -H "Authorization: Bearer $OBLIX_API_KEY"' if keyed else ""
    return f"curl {root}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{body}'"


def snippet(root: str, keyed: bool) -> str:
    """A few lines of Python with the official client."""
    key = 'os.environ["OBLIX_API_KEY"]' if keyed else '"any"'
    return "\n".join(
        [
            *(["import os"] if keyed else []),
            "from openai import OpenAI",
            f'client = OpenAI(base_url="{root}/v1", api_key={key})',
            f'messages = [{{"role": "user", "content": "{QUESTION}"}}]',
            'for chunk in client.chat.completions.create(model="auto", messages=messages, stream=True):',
            '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
        ]
    )


def _indented(text: str) -> list[RenderableType]:
    """Lines that can be copied: never wrapped by us, only by the terminal."""
    return [Text("  " + line, style="cyan", no_wrap=True, overflow="ignore") for line in text.splitlines()]
