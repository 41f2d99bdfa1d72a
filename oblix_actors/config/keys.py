"""Secrets: from the environment or a file, into :class:`~oblix_actors.settings.Secret`, and nowhere else."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from oblix_actors.core.decision import Privacy
from oblix_actors.errors import ConfigError
from oblix_actors.settings import PrivacySettings, ProviderSettings, Secret, ServerSettings

MAX_FILE_BYTES: Final = 65_536


def provider_key(provider: ProviderSettings, environ: Mapping[str, str]) -> Secret | None:
    """The key of ``provider``, or ``None`` where none is configured. Raises :class:`ConfigError`."""
    where = f"provider {provider.name!r}"
    if provider.api_key_env is not None:
        source = f"the environment variable {provider.api_key_env}"
        value = environ.get(provider.api_key_env, "").strip()
        if not value:
            raise ConfigError([f"{where}: {source} is not set; set it, or leave api_key_env out"])
    elif provider.api_key_file is not None:
        source = f"the key file {provider.api_key_file}"
        value = _read(provider.api_key_file, where).strip()
        if not value:
            raise ConfigError([f"{where}: {source} is empty"])
    else:
        return None
    return Secret(_clean(value, f"{where}: the key in {source}"))


def bound_keys(privacy: PrivacySettings, environ: Mapping[str, str]) -> tuple[tuple[Secret, Privacy], ...]:
    """The client keys whose requests are fenced, with the fence. Raises :class:`ConfigError` where some were meant."""
    levels: tuple[tuple[Privacy, str | None], ...] = (("local", privacy.local_keys_env), ("lan", privacy.lan_keys_env))
    found: list[tuple[Secret, Privacy]] = []
    for level, variable in levels:
        if variable is not None:
            bound = ServerSettings(api_keys_env=variable)
            found += [(key, level) for key in client_keys(bound, environ)]
    return tuple(found)


def client_keys(server: ServerSettings, environ: Mapping[str, str]) -> tuple[Secret, ...]:
    """The keys that clients may show; none means any. Raises :class:`ConfigError` where some were meant."""
    if server.api_keys_env is not None:
        text, source = environ.get(server.api_keys_env, ""), f"the environment variable {server.api_keys_env}"
    elif server.api_keys_file is not None:
        text, source = _read(server.api_keys_file, "[server]"), f"the file {server.api_keys_file}"
    else:
        return ()
    keys = tuple(Secret(_clean(key, f"[server]: a key in {source}")) for key in re.split(r"[\s,]+", text) if key)
    if not keys:
        raise ConfigError([f"[server]: {source} holds no key; without this setting any key is accepted"])
    return keys


def _clean(value: str, what: str) -> str:
    if not value.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in value):
        raise ConfigError([f"{what} holds white space, or characters that no key has"])
    return value


def _read(path: str, where: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            _warn_if_public(os.fstat(file.fileno()).st_mode, path)
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is no path"
        raise ConfigError([f"{where}: the key file {path} cannot be read: {reason}"]) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([f"{where}: the key file {path} is larger than {MAX_FILE_BYTES} bytes"])
    return data.decode("utf-8-sig", "replace")


def _warn_if_public(mode: int, path: str) -> None:
    if os.name == "posix" and stat.S_ISREG(mode) and mode & stat.S_IROTH:
        import structlog  # for this one line

        structlog.get_logger("config").warning(
            "every user of this machine can read the key file; `chmod 600` mends it", file=path
        )
