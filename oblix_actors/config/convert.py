"""A TOML document to typed values, one by one, so that one wrong value does not hide the next. Pure.

What each key may hold is read from the record types of :mod:`oblix_actors.settings`; nothing is said twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from oblix_actors.config.wanted import choices, describe, hint
from oblix_actors.settings import ProviderSettings, Settings

NOT_SECTIONS: Final = frozenset({"source", "providers"})
OTHER_NAMES: Final = {
    "providers": {
        "url": "base_url", "endpoint": "base_url", "api_base": "base_url", "host": "base_url", "type": "kind",
        "model": "models", "concurrency": "max_concurrency",
    },
    "server": {"bind": "host", "address": "host", "listen": "host"},
    "": {"provider": "providers", "logging": "log", "logs": "log", "router": "routing", "upstreams": "providers"},
}  # fmt: skip
"""What other programs call it."""
KIND_OF: Final = {
    "claude": "anthropic", "lmstudio": "openai", "lm_studio": "openai", "llamacpp": "openai", "llama.cpp": "openai",
    "vllm": "openai", "openrouter": "openai", "groq": "openai", "mistral": "openai", "deepseek": "openai",
    "together": "openai", "gemini": "openai", "localai": "openai", "openai-compatible": "openai",
}  # fmt: skip


class Draft(msgspec.Struct, frozen=True):
    """What could be read: values by key, without those that are wrong, whose paths are in ``wrong``.

    ``providers`` are by their place in the file.
    """

    sections: dict[str, dict[str, Any]]
    providers: dict[int, dict[str, Any]]
    wrong: frozenset[str] = frozenset()


def convert(document: dict[str, Any], told: frozenset[str]) -> tuple[Draft, list[str]]:
    """The values of ``document`` and every problem of key or type. Paths in ``told`` were complained about already."""
    problems: list[str] = []
    types = {field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "source"}
    sections: dict[str, dict[str, Any]] = {}
    providers: dict[int, dict[str, Any]] = {}
    for key, value in document.items():
        if key not in types:
            if key not in told:
                what = "section" if isinstance(value, dict | list) else "key"
                problems.append(f"{key}: unknown {what}{_meant(key, types, '', value)}")
        elif key == "providers":
            providers = _providers(value, told, problems)
        elif isinstance(value, dict):
            sections[key] = _table(value, types[key], key, told, problems)
        else:
            problems.append(f"{key}: a section is written as a table: [{key}], with a line for each key below it")
    return Draft(sections, providers, frozenset(problem.partition(":")[0] for problem in problems) | told), problems


def _providers(value: Any, told: frozenset[str], problems: list[str]) -> dict[int, dict[str, Any]]:
    if not isinstance(value, list):
        problems.append("providers: each provider is a table of its own, with two brackets: [[providers]]")
        return {}
    found = {}
    for index, entry in enumerate(value):
        path = f"providers[{index}]"
        if isinstance(entry, dict):
            found[index] = _table(entry, ProviderSettings, path, told, problems)
        else:
            problems.append(f"{path}: each provider is a table: [[providers]], with a line for each key below it")
    return found


def _table(
    table: dict[str, Any], kind: type[msgspec.Struct], path: str, told: frozenset[str], problems: list[str]
) -> dict[str, Any]:
    """The values of one table that are right."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    found: dict[str, Any] = {}
    for key, value in table.items():
        here = f"{path}.{key}"
        if key not in fields:
            if here not in told:
                problems.append(f"{here}: unknown key{_meant(key, fields, path.partition('[')[0], value)}")
            continue
        if key == "headers" and isinstance(value, dict):
            value = _texts(value, here, told, problems)
        try:
            found[key] = _finite(msgspec.convert(value, fields[key].type))
        except (msgspec.ValidationError, ValueError) as error:
            if not any(where.startswith(here) for where in told):
                problems.append(_complaint(here, key, value, fields[key].type, str(error)))
    problems += [
        f"{path}.{name}: missing; it is {describe(name, field.type) or 'needed'}"
        for name, field in fields.items()
        if field.required and name not in table
    ]
    return found


def _texts(table: dict[str, Any], path: str, told: frozenset[str], problems: list[str]) -> dict[str, Any]:
    """The entries that are texts."""
    problems += [
        f"{path}.{key}: it must be a text in quotes, not {_shown(value)}"
        for key, value in table.items()
        if not isinstance(value, str) and f"{path}.{key}" not in told
    ]
    return {key: value for key, value in table.items() if isinstance(value, str) and f"{path}.{key}" not in told}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _complaint(here: str, key: str, value: Any, kind: Any, error: str) -> str:
    if key == "kind" and isinstance(value, str):
        meant = KIND_OF.get(value.lower()) or _close(value, choices(kind))
        suggestion = meant and f"; did you mean {meant!r}?"
        return f"{here}: {_shown(value)} is no kind; it is {describe(key, kind)}{suggestion}"
    wanted = describe(key, kind)
    if wanted:
        return f"{here}: it must be {wanted}, not {_shown(value)}{hint(key, value, kind)}"
    reason, _, inside = error.partition(" - at `$")  # msgspec knows where in the value it is
    return f"{here}{inside.rstrip('`')}: {reason[:1].lower()}{reason[1:]}"


def _shown(value: Any) -> str:
    """A wrong value as it may be shown: a long text stays unsaid."""
    if isinstance(value, str):
        return f'"{value}"' if re.fullmatch(r"[\w .:%+/-]{0,40}", value) else "this text"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value) if abs(value) < 10**18 else "this number"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return "a date or time"


def _meant(key: str, names: Iterable[str], where: str, value: Any) -> str:
    """What was probably meant by an unknown key, and where it belongs."""
    names = sorted(set(names) - {"source"})
    elsewhere = [name for name, kind in _sections() if key in kind.__struct_fields__]
    if elsewhere:
        return f"; it belongs into {' or '.join(elsewhere)}"
    close = OTHER_NAMES.get(where, {}).get(key.lower()) or _close(key, names)
    if close == "providers" and not where:
        return "; did you mean [[providers]]?"
    if close:
        return f"; did you mean {f'[{close}]' if not where and isinstance(value, dict) else close}?"
    return f"; there are {', '.join(names)}"


def _sections() -> list[tuple[str, type[msgspec.Struct]]]:
    """``[section]`` and the record type behind it."""
    types = [(field.name, field.type) for field in msgspec.structs.fields(Settings) if field.name not in NOT_SECTIONS]
    return [*((f"[{name}]", kind) for name, kind in types), ("[[providers]]", ProviderSettings)]


def _close(word: str, words: Iterable[str]) -> str:
    close = get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return close[0] if close else ""
