"""Values that are each of the right type and still cannot be meant, and those that may be a mistake. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from oblix_actors.config.address import is_address, is_loopback, is_ours, locality_of, problem_of
from oblix_actors.config.convert import Draft
from oblix_actors.core.wishes import BUILT_IN
from oblix_actors.settings import ProviderSettings, ResourceMonitorSettings, ServerSettings, Settings

RESERVED: Final = {
    "auto": "is what clients say to mean every provider",
    "embedded": "is the name of the embedded model's provider",
    "oblix": "is the name of this server itself",
}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_WISH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z")
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers that belong to HTTP itself: another value breaks every request."""
_HERE: Final = frozenset({"embedded", "scripted"})
"""Kinds that run in this process, or beside it: there is nothing to connect to."""


def impossible(draft: Draft) -> list[str]:
    """What is wrong with the values that could be read, each problem with its path in front."""
    problems = [*_thresholds(draft), *_server(draft.sections.get("server", {})), *_decisions(draft)]
    model = draft.sections.get("embedded", {}).get("model")
    if model is not None and not model.strip():
        problems.append("embedded.model: empty; leave it out to have the default model")
    server = ServerSettings(**draft.sections.get("server", {}))
    seen: dict[str, int] = {}
    for index, provider in draft.providers.items():
        path = f"providers[{index}]"
        problems += [f"{path}.{problem}" for problem in _provider(provider, server)]
        name = provider.get("name", "")
        if name and name.lower() in seen:
            problems.append(f"{path}.name: {name!r} is the name of providers[{seen[name.lower()]}] already")
        seen.setdefault(name.lower(), index)
    return [problem for problem in problems if problem.partition(":")[0] not in draft.wrong]


def _thresholds(draft: Draft) -> Iterator[str]:
    given, defaults = draft.sections.get("resource_monitor", {}), ResourceMonitorSettings()
    for name in ("cpu", "memory", "gpu"):
        low, high = f"{name}_threshold", f"critical_{name}"
        if {f"resource_monitor.{low}", f"resource_monitor.{high}"} & draft.wrong:
            continue
        limit, critical = given.get(low, getattr(defaults, low)), given.get(high, getattr(defaults, high))
        if critical <= limit:
            which = high if high in given else low
            yield (
                f"resource_monitor.{which}: {high} ({critical:g} percent) must be above {low} ({limit:g} percent), "
                "or there is nothing between available and critical"
            )


def _decisions(draft: Draft) -> Iterator[str]:
    """``[privacy]`` and the virtual models."""
    privacy = draft.sections.get("privacy", {})
    for level in ("local", "lan"):
        for index, pattern in enumerate(privacy.get(level, ())):
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"privacy.{level}[{index}]: not a regular expression: {error}"
        variable = privacy.get(f"{level}_keys_env")
        if variable is not None and not _VARIABLE.match(variable):
            yield f"privacy.{level}_keys_env: not the name of an environment variable"
    for name, wish in draft.sections.get("routing", {}).get("virtual_models", {}).items():
        path = f"routing.virtual_models.{name[:80]}"
        if name in BUILT_IN:
            yield f"{path}: the name has a meaning already; take another"
        elif not _WISH.match(name):
            yield f"{path}: letters, digits, '.', '_', '-' and ':', at most 64, please"
        if wish == ():
            yield f"{path}: an empty list can never answer"


def _server(server: dict[str, Any]) -> Iterator[str]:
    if "api_keys_env" in server and "api_keys_file" in server:
        yield "server.api_keys_file: api_keys_env is given too; keep one of them"
    if "api_keys_env" in server and not _VARIABLE.match(server["api_keys_env"]):
        yield f"server.api_keys_env: {_NOT_A_VARIABLE}"
    if server.get("api_keys_file", "x").strip() == "":
        yield "server.api_keys_file: empty; leave it out to accept any key"
    host = server.get("host", "127.0.0.1")
    if not host or any(char.isspace() for char in host) or "/" in host or "*" in host:
        yield (
            "server.host: it must be the address to listen on, such as 127.0.0.1 (this machine only), or 0.0.0.0 "
            "(every network this machine is in); without http:// and port"
        )
    elif ":" in host and not is_address(host):
        yield "server.host: it must be a name or an address alone; the port has a key of its own"


_NOT_A_VARIABLE: Final = (
    "it must be the name of an environment variable (letters, digits and '_'), not the key itself and not $NAME"
)


def _provider(given: dict[str, Any], server: ServerSettings) -> Iterator[str]:
    """Problems of one provider, as ``key: reason``. ``given`` may lack anything."""
    kind = given.get("kind")
    if kind == "embedded":
        yield "kind: the embedded model has a section of its own; use [embedded] and leave this entry out"
        return
    yield from _name(given.get("name"))
    if kind in _HERE:
        for key in ("base_url", "api_key_env", "api_key_file", "headers"):
            if key in given:
                yield f"{key}: a provider of kind {kind!r} runs inside this server: nothing is sent anywhere"
    else:
        yield from _base_url(kind, given.get("base_url"), server)
    if "api_key_env" in given and "api_key_file" in given:
        yield "api_key_file: api_key_env is given too; keep one of them"
    if "api_key_env" in given and not _VARIABLE.match(given["api_key_env"]):
        yield f"api_key_env: {_NOT_A_VARIABLE}"
    if given.get("api_key_file", "x").strip() == "":
        yield "api_key_file: empty; leave it out where no key is needed"
    for key in ("models", "prefer"):
        names = given.get(key, ())
        if any(not name.strip() for name in names):
            yield f"{key}: a name in it is empty"
        if len(set(names)) < len(names):
            yield f"{key}: {next(name for name in names if names.count(name) > 1)[:100]!r} stands in it twice"
    yield from _headers(given.get("headers", {}))


def _name(name: str | None) -> Iterator[str]:
    if name is None:
        return
    if name.lower() in RESERVED:
        yield f"name: {name!r} {RESERVED[name.lower()]}; take another"
    elif ":" in name:
        yield f"name: {name[:80]!r} has a colon, which is where the name ends in provider:model; take '-' instead"
    elif not _NAME.match(name):
        yield f"name: {name[:80]!r} cannot be used: it must be letters, digits, '.', '_' and '-', at most 64 of them"


def _headers(headers: dict[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if not _HEADER.match(name):
            yield f"headers.{name[:80]!r}: that is not a header's name"
        elif name.lower() in _OURS:
            yield f"headers.{name}: this header belongs to HTTP itself and is set where it is sent"
        elif "\n" in value or "\r" in value:
            yield f"headers.{name}: its value has a line break, which would begin another header"
        elif not value.isascii() or any(ord(char) < 32 or ord(char) == 127 for char in value):
            yield f"headers.{name}: its value must be printable ASCII"


def _base_url(kind: str | None, url: str | None, server: ServerSettings) -> Iterator[str]:
    if url is None:
        if kind == "openai":
            yield "base_url: missing; it is the address up to and with /v1; OpenAI's own is https://api.openai.com/v1"
        return  # Ollama and Anthropic have one that is nearly always right
    problem = problem_of(url)
    if problem is not None:
        yield f"base_url: {problem}"
    elif is_ours(url, server):
        yield "base_url: that is this server itself ([server] host and port), which would ask itself for ever"


def warnings(settings: Settings, providers: tuple[ProviderSettings, ...] = ()) -> list[str]:
    """What is allowed and may still be a mistake, each a line. ``providers`` are the effective ones."""
    found = []
    server = settings.server
    if not is_loopback(server.host) and server.api_keys_env is None and server.api_keys_file is None:
        found.append(
            f"server.host: {server.host} is open to other machines, and no client key is asked for: whoever reaches it "
            'can use every model and spend your cloud keys. Set api_keys_env or api_keys_file, or host = "127.0.0.1"'
        )
    for provider in providers or settings.providers:
        keyed = provider.api_key_env is not None or provider.api_key_file is not None
        url = provider.base_url or ""
        if keyed and url.startswith("http://") and locality_of(url) == "cloud":
            found.append(f"provider {provider.name!r}: its key goes over the internet unencrypted; use https://")
    return found
