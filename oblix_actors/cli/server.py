"""``oblix server``: the original's words for starting, with models named on the command line and no config file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oblix_actors.cli.serve import start
from oblix_actors.cli.terminal import WRONG, complain, warn

if TYPE_CHECKING:
    from oblix_actors.settings import ProviderSettings

LOCAL: Final = {"ollama": "ollama"}
CLOUD: Final = {"openai": ("openai", "OPENAI_API_KEY"), "claude": ("anthropic", "ANTHROPIC_API_KEY")}
KEY_VARIABLE: Final = "OBLIX_CLOUD_API_KEY"
"""Under this name the key of ``--cloud-api-key`` is handed on inside the process."""


def server(
    local_model: Annotated[
        str | None, typer.Option(metavar="NAME:MODEL", help="A local model: ollama:MODEL, such as ollama:llama3.2:3b.")
    ] = None,
    cloud_model: Annotated[
        str | None, typer.Option(metavar="NAME:MODEL", help="A cloud model: openai:MODEL or claude:MODEL.")
    ] = None,
    cloud_api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The cloud model's key. Others may read it here; OPENAI_API_KEY and ANTHROPIC_API_KEY are safer.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="Listen on this port.")] = 62549,
) -> None:
    """Start the server with the models named here (as Oblix did).

    No config file is read. Without a model it looks for what there is, as **oblix serve** does.
    """
    from oblix_actors.settings import ServerSettings, Settings

    environ = dict(os.environ)
    providers = []
    if local_model is not None:
        providers.append(_local(local_model, environ))
    if cloud_api_key is not None:
        if cloud_model is None:
            _usage("--cloud-api-key: there is no --cloud-model that it could be for")
        warn("--cloud-api-key: other users of this machine can read it; the environment variable is the safer place")
        environ[KEY_VARIABLE] = cloud_api_key
    if cloud_model is not None:
        providers.append(_cloud(cloud_model, environ, given=cloud_api_key is not None))
    start(Settings(server=ServerSettings(host=host, port=port), providers=tuple(providers)), environ)


def _local(name: str, environ: dict[str, str]) -> ProviderSettings:
    from oblix_actors.config.discovery import ollama_url
    from oblix_actors.settings import ProviderSettings

    prefix, model = _split(name, "--local-model", tuple(LOCAL))
    url = ollama_url(environ.get("OLLAMA_HOST", ""))
    return ProviderSettings(name=prefix, kind="ollama", base_url=url, models=(model,))


def _cloud(name: str, environ: dict[str, str], *, given: bool) -> ProviderSettings:
    from msgspec.structs import replace

    from oblix_actors.config import well_known

    prefix, model = _split(name, "--cloud-model", tuple(CLOUD))
    variable = CLOUD[prefix][1]
    if not given and not environ.get(variable, "").strip():
        _usage(f"--cloud-model: {variable} is not set; set it to the key of {prefix}")
    keyed = environ if not given else {**environ, variable: environ[KEY_VARIABLE]}
    found = next(provider for provider in well_known(keyed) if provider.name == prefix)
    return replace(found, models=(model,), prefer=(), api_key_env=KEY_VARIABLE if given else variable)


def _split(name: str, option: str, prefixes: tuple[str, ...]) -> tuple[str, str]:
    """``prefix:model``, split at the first colon: what follows may have a tag."""
    prefix, _, model = name.partition(":")
    if prefix not in prefixes or not model.strip():
        shape = " or ".join(f"{each}:MODEL" for each in prefixes)
        _usage(f"{option}: it must be {shape}, not {name[:100]!r}")
    return prefix, model.strip()


def _usage(message: str) -> None:
    complain(message)
    raise typer.Exit(WRONG)
