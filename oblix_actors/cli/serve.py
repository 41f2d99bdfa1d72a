"""``oblix serve``: start the server, say what was found, and serve until told to stop."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from oblix_actors.cli.terminal import FAILED, ConfigFile, fail, run, settings_of, show, warn
from oblix_actors.errors import ConfigError

if TYPE_CHECKING:
    from oblix_actors.front.house import House
    from oblix_actors.settings import Settings

Host = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Listen on this address instead of [server] host.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, metavar="PORT", help="Listen on this port instead of [server] port.")
]


def serve(
    config: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    embedded: Annotated[
        bool | None, typer.Option("--embedded/--no-embedded", help="Have the embedded model as the last resort.")
    ] = None,
    discover: Annotated[
        bool | None,
        typer.Option("--discover/--no-discover", help="Look for local servers and cloud keys that are not configured."),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, typer.Option(help="Log from this level on, to stderr.")
    ] = None,
) -> None:
    """Start the server.

    It prints which providers it found, serves until Ctrl-C or SIGTERM, and then finishes what runs. Exit code: 0 after
    a clean end, 1 if it could not start or had to cut answers off, 2 if the configuration is wrong.
    """
    from msgspec.structs import replace

    settings = settings_of(config)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = replace(settings, server=replace(settings.server, **given))
    if embedded is not None:
        settings = replace(settings, embedded=replace(settings.embedded, enabled=embedded))
    if discover is not None:
        settings = replace(settings, routing=replace(settings.routing, discover=discover))
    if log_level is not None:
        settings = replace(settings, log=replace(settings.log, level=log_level))
    start(settings, os.environ)


def start(settings: Settings, environ: Mapping[str, str]) -> None:
    """Serve with ``settings`` until told to stop; the command ends with the right code."""
    from oblix_actors import logs  # first: it imports structlog lightly

    logs.configure(settings.log)
    from oblix_actors import config, system

    try:
        for warning in config.warnings(settings, config.effective_providers(settings, environ)):
            warn(warning)
    except ConfigError as error:
        fail(error)

    async def program() -> int:
        try:
            cut = await system.serve(settings, on_ready=lambda house: _ready(settings, house, environ), environ=environ)
        except OSError as error:
            fail(_no_address(error, settings.server.host, settings.server.port))
        if cut:
            warn(f"{cut} answers were cut off, because they took longer than [server] drain_seconds")
        return FAILED if cut else 0

    run(program)


def _ready(settings: Settings, house: House, environ: Mapping[str, str]) -> None:
    from oblix_actors.cli.welcome import welcome

    settings = msgspec.structs.replace(settings, server=house.settings)  # port 0 has become a real one
    show(*welcome(settings, house.providers(), environ, plain=not sys.stdout.isatty()))


def _no_address(error: OSError, host: str, port: int) -> str:
    """One paragraph: why the server cannot listen there, and what to do."""
    where = f"cannot listen on {host}, port {port}"
    if isinstance(error, socket.gaierror):
        return f"{where}: the name does not resolve; use an address such as 127.0.0.1 or 0.0.0.0"
    if error.errno == errno.EADDRINUSE:
        who = _listener(port)
        return (
            f"{where}: {who or 'another program'} listens there already. If that is a server of ours, use it as it is; "
            f"otherwise stop it, or take another port: oblix serve --port {port + 1 if port < 65535 else 62549}"
        )
    if error.errno == errno.EACCES:
        return f"{where}: that needs more rights than this user has; ports from 1024 on are free for all"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address; 127.0.0.1 is itself, 0.0.0.0 every address it has"
    return f"{where}: {error.strerror or error}"


def _listener(port: int) -> str:
    """Who listens on ``port``, as far as this user may know."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""
