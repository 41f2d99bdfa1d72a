"""The ``oblix`` command: puts the commands together. What a command needs is imported when it runs."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from oblix_actors import __version__
from oblix_actors.cli import agents, ask, check, models, pull, route, serve, server

HELP = """One local, OpenAI-compatible server that answers from the best model reachable right now.

**oblix serve** starts it, **oblix ask** "Why is the sky blue?" tries it. Nothing has to be configured: local servers
are found on their default ports, cloud keys in OPENAI_API_KEY and ANTHROPIC_API_KEY, and a small model comes along.
"""

app = typer.Typer(
    name="oblix",
    help=HELP,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # a traceback of ours is for a bug report: whole, and without local variables
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve.serve)
app.command()(ask.ask)
app.command()(models.models)
app.command()(route.route)
app.command()(agents.agents)
app.command()(check.check)
app.command()(pull.pull)
app.command()(server.server)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"oblix {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What is common to all commands (the text of ``--help`` is the application's)."""


def run() -> None:
    """Run the command line. Text that the terminal's encoding does not know is replaced, not a reason to crash."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
