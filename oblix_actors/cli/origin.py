"""Where a provider comes from, and what it is, in words for a table."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from oblix_actors.settings import ProviderSettings, Settings

EMBEDDED_NAME = "embedded"


def origin(provider: ProviderSettings, settings: Settings) -> str:
    """Why this provider is there at all."""
    if any(provider.name == configured.name for configured in settings.providers):
        return "configured"
    if provider.api_key_env is not None:
        return f"{provider.api_key_env} is set"
    return f"looked for at {address(provider)}"


def address(provider: ProviderSettings) -> str:
    """Its host and port."""
    return urlsplit(provider.base_url or "").netloc or "this process"


def missing_keys(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """The environment variables that would have brought a cloud provider."""
    from oblix_actors.config import discovers

    if not discovers(settings):
        return []
    return [name for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY") if not environ.get(name, "").strip()]
