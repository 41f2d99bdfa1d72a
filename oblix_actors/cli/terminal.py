"""What all commands do alike: load the settings, print, run on trio, and end with the right code.

Exit codes: 0 done, 1 failed, 2 the configuration or the command line is wrong, 130 interrupted.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from oblix_actors.errors import Busy, ConfigError, OblixError, StartFailed

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from oblix_actors.settings import Settings

FAILED: Final = 1
WRONG: Final = 2
INTERRUPTED: Final = 130

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The TOML file to read. Otherwise: OBLIX_CONFIG, ./oblix.toml, the user's config folder, or defaults.",
    ),
]

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a text from elsewhere could drive a terminal with; tabs and line ends are left alone."""


def printable(text: str) -> str:
    """``text`` without what could move the cursor, change colours, or set the window's title."""
    return _CONTROL.sub("", text)


def console(*, errors: bool = False) -> Console:
    """A console on stdout (or stderr). Where that is no terminal its lines are as long as they are."""
    from rich.console import Console

    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() else 10_000
    return Console(file=stream, width=width, highlight=False, emoji=False, soft_wrap=not stream.isatty())


def show(*parts: RenderableType, errors: bool = False) -> None:
    """Print ``parts``, one below the other. A reader that has gone away (``| head``) is no failure."""
    from rich.text import Text

    screen = console(errors=errors)
    with screen.capture() as captured:
        for part in parts:
            # What is there to be copied is wrapped by the terminal alone, which takes it for one line.
            screen.print(part, soft_wrap=(isinstance(part, Text) and part.no_wrap) or None)
    text = "".join(line.rstrip() + "\n" for line in captured.get().splitlines())
    try:
        screen.file.write(text)
        screen.file.flush()
    except BrokenPipeError:
        # Nothing is to be flushed into it when the process ends, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), screen.file.fileno())


def complain(message: str, *, word: str = "error", style: str = "bold red") -> None:
    """Say on stderr what is wrong."""
    from rich.text import Text

    show(Text.assemble((f"{word}: ", style), printable(message)), errors=True)


def warn(message: str) -> None:
    """Say on stderr what may be wrong."""
    complain(message, word="warning", style="bold yellow")


def fail(error: BaseException | str) -> NoReturn:
    """Say on stderr what went wrong, and end with its code."""
    if isinstance(error, ConfigError):
        for problem in error.problems:
            complain(problem)
        raise typer.Exit(WRONG)
    text = error.message if isinstance(error, OblixError) else str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    complain(text)
    raise typer.Exit(FAILED)


def settings_of(config: str | None) -> Settings:
    """The settings of the file that is meant. Every problem is printed, and ends the command."""
    from oblix_actors.config import load

    try:
        return load(config)
    except ConfigError as error:
        fail(error)


def run(program: Callable[[], Awaitable[int]]) -> None:
    """Run ``program`` on trio; the command ends with its code, or says why it failed."""
    import trio

    try:
        code = trio.run(program)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (ConfigError, OblixError, StartFailed, Busy, OSError) as error:
        fail(error)
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        if any(isinstance(error, KeyboardInterrupt) for error in errors):
            raise typer.Exit(INTERRUPTED) from None
        known = [e for e in errors if isinstance(e, ConfigError | OblixError | StartFailed | Busy | OSError)]
        if len(known) < len([e for e in errors if not isinstance(e, trio.Cancelled)]):
            raise
        fail(known[0])
    raise typer.Exit(code)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def url_of(host: str, port: int) -> str:
    """Where a client on this machine finds a server that listens on ``host``."""
    if host in {"0.0.0.0", "", "::"}:  # noqa: S104 - every address of this machine, one of which is the loopback
        host = "127.0.0.1" if host != "::" else "::1"
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}"
