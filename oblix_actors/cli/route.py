"""``oblix route``: which model would answer a prompt, and why; nothing is generated."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from oblix_actors.cli.terminal import FAILED, WRONG, ConfigFile, complain, run, settings_of

if TYPE_CHECKING:
    from oblix_actors.cli.remote import Remote
    from oblix_actors.front.house import House
    from oblix_actors.settings import Settings

MAX_PROMPT: Final = 4 * 1024 * 1024
"""Characters of a prompt from standard input."""
NETWORK: Final = ("optimal", "degraded", "disconnected")
PERCENT: Final = ("cpu", "memory", "gpu", "battery")


def route(
    prompt: Annotated[str, typer.Argument(help="What would be asked; - reads it from standard input.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="auto, auto:fast, provider:model, …; see `oblix models`.")
    ] = "auto",
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="KEY=VALUE,…",
            help="Suppose another world: connectivity=optimal, degraded or disconnected; cpu, memory, gpu (percent in "
            "use) and battery (percent of charge) from 0 to 100.",
        ),
    ] = None,
    privacy: Annotated[
        Literal["local", "lan", "any"] | None,
        typer.Option("--privacy", help="How far the request may travel at the most."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask this server, such as http://127.0.0.1:62549, and no other.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Show which model would answer a prompt, and why not the others. Nothing is generated.

    The server that runs already decides; where none does, actors are started for this one look. Try: oblix route "Hi"
    --what-if connectivity=disconnected,cpu=95. Ends with code 1 when nobody could answer.
    """
    options: dict[str, Any] = {}
    if privacy is not None:
        options["privacy"] = privacy
    if supposed := read_what_if(what_if or []):
        options["what_if"] = supposed
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": _text(prompt)}]}
    if options:
        body["oblix"] = options
    settings = settings_of(config)
    run(lambda: _route(settings, url, body, as_json=as_json))


def read_what_if(texts: list[str]) -> dict[str, str | float]:
    """``["cpu=95,battery=10", "connectivity=degraded"]`` as the field of a request; what cannot be meant ends the
    command."""
    found: dict[str, str | float] = {}
    for item in ",".join(texts).split(","):
        if not item.strip():
            continue
        key, equals, value = (part.strip() for part in item.partition("="))
        if key == "connectivity" and value in NETWORK:
            found[key] = value
        elif key == "connectivity":
            _refuse(f"connectivity is {', '.join(NETWORK[:-1])} or {NETWORK[-1]}, not {value!r}")
        elif key in PERCENT:
            found[key] = _percent(key, value)
        elif not equals:
            _refuse(f"{item.strip()!r} is not KEY=VALUE")
        else:
            _refuse(f"there is no {key!r}; there are connectivity, {', '.join(PERCENT)}")
    return found


def _percent(key: str, value: str) -> float:
    try:
        number = float(value.removesuffix("%").strip())
    except ValueError:
        number = -1.0
    if not 0 <= number <= 100:  # NaN is not, either
        _refuse(f"{key} is a number from 0 to 100, not {value!r}")
    return number


def _refuse(message: str) -> None:
    complain(f"--what-if: {message}")
    raise typer.Exit(WRONG)


def _text(prompt: str) -> str:
    text = sys.stdin.read(MAX_PROMPT + 1) if prompt == "-" else prompt
    if len(text) > MAX_PROMPT:
        complain(f"the prompt is longer than {MAX_PROMPT} characters")
        raise typer.Exit(WRONG)
    return text


async def _route(settings: Settings, url: str | None, body: dict[str, Any], *, as_json: bool) -> int:
    from oblix_actors.cli.look import look
    from oblix_actors.cli.plan_table import show_plan

    async def through(remote: Remote) -> Any:
        return await remote.post("/v1/route", body)

    async def inside(house: House) -> Any:
        return await _inside(house, body)

    plan, source = await look(settings, url, through, inside)
    if as_json:
        print(json.dumps(plan, indent=2, ensure_ascii=False))
    else:
        show_plan(plan, source)
    return 0 if any(entry.get("excluded") is None for entry in plan.get("candidates") or ()) else FAILED


async def _inside(house: House, body: dict[str, Any]) -> Any:
    """What ``POST /v1/route`` would say."""
    import msgspec

    from oblix_actors.actors.messages import Explain
    from oblix_actors.core.explain import explain_plan
    from oblix_actors.front.options import what_if, with_options
    from oblix_actors.wire.openai import parse_chat_request

    chat = with_options(parse_chat_request(msgspec.json.encode(body)), lambda _: None, "any")
    supposed = what_if(chat)
    return explain_plan(await house.router.ask(lambda reply: Explain(chat, reply, supposed)))
