"""Secrets that stand in the config file itself, where they do not belong. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from oblix_actors.core.redact import looks_secret

SECRET_KEYS: Final = frozenset({"api_key", "apikey", "api-key", "key", "token", "secret", "password", "api_keys"})
SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
)
WHY: Final = "backups, version control and screenshots would have it"
PROVIDER_CURE: Final = (
    'name the environment variable that holds it (api_key_env = "MY_KEY") or a file with it (api_key_file = "…")'
)
SERVER_CURE: Final = (
    'name the environment variable that holds the keys (api_keys_env = "MY_KEYS") or a file (api_keys_file = "…")'
)


def inline_secrets(document: dict[str, Any]) -> dict[str, str]:
    """Path → problem of every value that is a secret, or looks like one. No value is ever repeated."""
    found: dict[str, str] = {}
    for path, key, value in _walk(document, ""):
        cure = SERVER_CURE if path.startswith("server.") else PROVIDER_CURE
        in_headers = ".headers." in path
        if in_headers and key.lower() in SECRET_HEADERS:
            found[path] = f"{path}: a credential is refused in this file, because {WHY}; instead, {cure}"
        elif not in_headers and key.lower() in SECRET_KEYS:
            found[path] = f"{path}: a key is refused in this file, because {WHY}; instead, {cure}"
        elif isinstance(value, str) and looks_secret(value):
            if key in {"api_key_env", "api_keys_env"}:
                cure = f"{key} is the name of the variable that holds the key, and this looks like the key itself"
            elif key in {"api_key_file", "api_keys_file"}:
                cure = f"{key} is the path of the file that holds the key, and this looks like the key itself"
            found[path] = f"{path}: this looks like a key, which is refused in this file, because {WHY}; {cure}"
    return found


def _walk(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Every key of every table, and every entry of every list, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            here = f"{path}.{key}" if path else str(key)
            yield here, str(key), item
            yield from _walk(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            here = f"{path}[{index}]"
            if isinstance(item, str):
                yield here, "", item
            yield from _walk(item, here)
