"""Which providers there may be when nobody configured any: local servers on their ports, keys in the environment.

Pure: nothing is contacted here. A local server found this way is ``optional``: when nothing listens on its
port it is absent, which is no fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from oblix_actors.config.address import is_address, is_ours, is_wildcard, locality_of, origin_of, problem_of
from oblix_actors.core.catalogue import Kind
from oblix_actors.errors import ConfigError
from oblix_actors.settings import ProviderSettings, ServerSettings, Settings

OPENAI_URL: Final = "https://api.openai.com/v1"
ANTHROPIC_URL: Final = "https://api.anthropic.com/v1"
OLLAMA_URL: Final = "http://127.0.0.1:11434"
DEFAULT_URLS: Final = {"ollama": OLLAMA_URL, "anthropic": ANTHROPIC_URL}
"""What a provider of this kind has where none is given."""

LOCAL_SERVERS: Final = {
    "lmstudio": "http://127.0.0.1:1234/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
    "vllm": "http://127.0.0.1:8000/v1",
}
"""OpenAI-compatible servers and the ports they have by default."""

PREFERRED: Final = {
    "openai": ("gpt-6.1-terra", "gpt-6-luna", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-5-mini", "gpt-4.1-mini"),
    "claude": ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-haiku-4-5", "claude-sonnet-5", "claude-sonnet-4-5"),
}
"""What ``auto`` asks first of a cloud that offers dozens of models: quick and affordable ones, newest first. As of
2026-11 (https://platform.openai.com/docs/models, https://platform.claude.com/docs/en/models/overview); one that is
gone is passed over, and ``prefer`` in the config replaces the list."""


def well_known(environ: Mapping[str, str], server: ServerSettings | None = None) -> tuple[ProviderSettings, ...]:
    """The providers worth looking for, in the order in which ``auto`` prefers them.

    ``OLLAMA_HOST``, ``OPENAI_BASE_URL`` and ``ANTHROPIC_BASE_URL`` are honoured, but not where they lead to
    ``server``, which is ourselves. Raises :class:`ConfigError` for an address that cannot be one.
    """
    server = server or ServerSettings()
    local = [ProviderSettings(name="ollama", kind="ollama", base_url=ollama_url(environ.get("OLLAMA_HOST", "")))]
    local += [ProviderSettings(name=name, kind="openai", base_url=url) for name, url in LOCAL_SERVERS.items()]
    found = [msgspec.structs.replace(each, optional=True) for each in local if not is_ours(each.base_url or "", server)]
    if environ.get("OPENAI_API_KEY", "").strip():
        found.append(_cloud("openai", "openai", "OPENAI", OPENAI_URL, environ, server))
    if environ.get("ANTHROPIC_API_KEY", "").strip():
        found.append(_cloud("claude", "anthropic", "ANTHROPIC", ANTHROPIC_URL, environ, server))
    return tuple(found)


def _cloud(
    name: str, kind: Kind, prefix: str, default: str, environ: Mapping[str, str], server: ServerSettings
) -> ProviderSettings:
    variable = f"{prefix}_BASE_URL"
    url = environ.get(variable, "").strip().rstrip("/")
    if url:
        problem = problem_of(url)
        if problem is not None:
            raise ConfigError([f"{variable}: {problem}"])
        if kind == "anthropic" and not url.endswith("/v1"):
            url += "/v1"  # Anthropic's own clients are given the address without it
    if not url or is_ours(url, server):  # everybody's clients may be told to come to us
        url = default
    return ProviderSettings(name=name, kind=kind, base_url=url, api_key_env=f"{prefix}_API_KEY", prefer=PREFERRED[name])


def ollama_url(host: str) -> str:
    """Ollama's address from ``OLLAMA_HOST``: a host, ``host:port`` or a URL, and it may be a server's ``0.0.0.0``.

    As Ollama reads it (https://github.com/ollama/ollama/blob/main/envconfig/config.go): the port of a URL without one
    is that of its scheme; what makes no sense counts as not given.
    """
    text = host.strip().strip("\"'").strip()
    scheme, separator, rest = text.rpartition("://")
    if not separator and is_address(rest) and ":" in rest:
        rest = f"[{rest}]"
    try:
        parts = urlsplit(f"{scheme or 'http'}://{rest}")
        port = parts.port
    except ValueError:
        return OLLAMA_URL
    if not text or parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        return OLLAMA_URL
    name = parts.hostname or "127.0.0.1"
    if is_wildcard(name):  # what a server binds to; a client cannot connect to it everywhere
        name = "127.0.0.1"
    port = port or {"https": 443, "http": 80 if separator else 11434}[parts.scheme]
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}:{port}{parts.path.rstrip('/')}"


def discovers(settings: Settings) -> bool:
    """Whether providers are looked for: because the config says so, or says nothing and configures none."""
    return settings.routing.discover if settings.routing.discover is not None else not settings.providers


def effective_providers(settings: Settings, environ: Mapping[str, str]) -> tuple[ProviderSettings, ...]:
    """The configured providers, then the discovered ones whose name and server are not configured.

    All have a unique name, a locality, and an address where their kind needs one. The embedded model is not among
    them. Raises :class:`ConfigError`.
    """
    providers = [_located(provider) for provider in settings.providers]
    if discovers(settings):
        names = {provider.name.lower() for provider in providers}
        servers = {origin_of(provider.base_url) for provider in providers if provider.base_url}
        providers += [
            _located(provider)
            for provider in well_known(environ, settings.server)
            if provider.name not in names and origin_of(provider.base_url or "") not in servers
        ]
    return tuple(providers)


def _located(provider: ProviderSettings) -> ProviderSettings:
    url = (provider.base_url or DEFAULT_URLS.get(provider.kind, "")).rstrip("/")
    locality = provider.locality or (locality_of(url) if url else "local")
    return msgspec.structs.replace(provider, base_url=url or None, locality=locality)
