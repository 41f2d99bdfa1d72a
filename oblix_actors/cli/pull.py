"""``oblix pull``: fetch the embedded model's file, where the package that has it is not installed."""

from __future__ import annotations

from typing import Annotated

import typer

from oblix_actors.cli.terminal import console, fail, run, show


def pull(
    again: Annotated[bool, typer.Option("--again", help="Fetch it even if there is one already.")] = False,
) -> None:
    """Fetch the embedded model (SmolLM2-135M-Instruct, 98 MB) into the user's data folder.

    Its checksum is verified. Does nothing when the model is there already.
    """
    from oblix_actors.engine.models import find_default_model

    found = None if again else find_default_model()
    if found is not None:
        show(f"The embedded model is there already: {found}")
        return
    run(_pull)


async def _pull() -> int:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from oblix_actors.engine.models import DEFAULT_FILE
    from oblix_actors.engine.pull import PullFailed
    from oblix_actors.engine.pull import pull as fetch

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    screen = console(errors=True)
    if not screen.is_terminal:
        show(f"Fetching {DEFAULT_FILE} …", errors=True)
    try:
        with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
            task = bar.add_task(DEFAULT_FILE, total=None)
            path = await fetch(lambda done, total: bar.update(task, completed=done, total=total))
    except PullFailed as error:
        fail(error)
    show(f"The embedded model is at {path}")
    return 0
