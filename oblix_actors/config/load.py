"""From a TOML file to settings: where the file is, what it says, and everything that is wrong with it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from oblix_actors.config.convert import Draft, convert
from oblix_actors.config.inline import inline_secrets
from oblix_actors.config.values import impossible
from oblix_actors.errors import ConfigError
from oblix_actors.settings import EmbeddedSettings, ProviderSettings, ServerSettings, Settings

MAX_BYTES: Final = 262_144
"""Of a config file: hundreds of providers."""
VARIABLE: Final = "OBLIX_CONFIG"
LOCAL_NAME: Final = "oblix.toml"


def find(path: str | Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The file to read: ``path``, else ``OBLIX_CONFIG``, else ``./oblix.toml``, else the user's; ``None`` for none.

    One that is named is the one, whether it is there or not; the other two are taken where they are there.
    """
    if path:
        return Path(path).expanduser()
    if named := environ.get(VARIABLE, "").strip():
        return Path(named).expanduser()
    return next((place for place in usual_places(cwd) if _is_there(place)), None)


def usual_places(cwd: Path) -> tuple[Path, ...]:
    """Where a config file is looked for when none is named: the current folder, then the user's config folder."""
    from platformdirs import user_config_path

    return cwd / LOCAL_NAME, user_config_path("oblix", appauthor=False) / "config.toml"


def load(
    path: str | Path | None = None, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Settings:
    """The settings of the file that :func:`find` finds, or the defaults where there is none.

    ``environ`` and ``cwd`` are the process's own by default. Raises :class:`ConfigError` with every problem.
    """
    environ = os.environ if environ is None else environ
    found = find(path, environ, Path() if cwd is None else cwd)
    if found is None:
        return Settings()
    try:
        text = _read(found)
    except ConfigError as error:
        if not path and environ.get(VARIABLE, "").strip():
            raise ConfigError([f"{problem} ({VARIABLE} names it)" for problem in error.problems]) from None
        raise
    return parse(text, str(found))


def parse(text: str, source: str) -> Settings:
    """The settings that the TOML document ``text`` says. ``source`` is its file, for messages and relative paths.

    Raises :class:`ConfigError` with every problem.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        lines = text.split("\n")
        end = f"(at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file)"
        raise ConfigError([f"{source}: not TOML: {str(error).replace('(at end of document)', end)}"]) from None
    except RecursionError:
        raise ConfigError([f"{source}: its values are nested too deeply"]) from None
    secrets = inline_secrets(document)
    draft, problems = convert(document, told=frozenset(secrets))
    problems = [*secrets.values(), *problems, *impossible(draft)]
    if problems:
        raise ConfigError([f"{source}: {problem}" for problem in _in_order(problems, list(document))])
    return _anchored(_build(draft), source)


def _in_order(problems: list[str], sections: list[str]) -> list[str]:
    """Section by section and provider by provider, as the file has them."""

    def place(problem: str) -> tuple[int, int]:
        head = problem.partition(":")[0].partition(".")[0]
        section, _, index = head.partition("[")
        return sections.index(section) if section in sections else len(sections), int(index.rstrip("]") or 0)

    return sorted(problems, key=place)


def _build(draft: Draft) -> Settings:
    types = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    sections = {name: types[name](**values) for name, values in draft.sections.items()}
    providers = tuple(ProviderSettings(**values) for values in draft.providers.values())
    return Settings(**sections, providers=providers)


def _anchored(settings: Settings, source: str) -> Settings:
    """Paths of files made independent of the working directory: relative ones begin at the config file's folder."""
    folder = Path(source).absolute().parent

    def anchor(path: str | None) -> str | None:
        return path and str(folder / Path(path).expanduser())

    server: ServerSettings = msgspec.structs.replace(
        settings.server, api_keys_file=anchor(settings.server.api_keys_file)
    )
    embedded: EmbeddedSettings = msgspec.structs.replace(settings.embedded, model=anchor(settings.embedded.model))
    providers = tuple(
        msgspec.structs.replace(provider, api_key_file=anchor(provider.api_key_file)) for provider in settings.providers
    )
    return msgspec.structs.replace(
        settings, server=server, embedded=embedded, providers=providers, source=str(Path(source).absolute())
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder that may not be entered
        return False


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError([f"{path}: this is a folder; name the file in it"])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file; config.example.toml is one to start from"]) from None
    except PermissionError:
        raise ConfigError(
            [f"{path}: may not be read by this user; its permissions, or a folder's, forbid it"]
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_BYTES} bytes: this is not a config file"])
    try:
        text = data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError([f"{path}: not UTF-8 at line {line}: save it as UTF-8"]) from None
    if not text.strip() and str(path) != os.devnull:  # which says "no file at all"
        raise ConfigError([f"{path}: the file is empty; remove it to have the defaults, or see config.example.toml"])
    return text
