"""The adapter for each kind of provider that has an address, or needs none."""

from __future__ import annotations

from oblix_actors.core.upstream import Upstream
from oblix_actors.providers.anthropic import AnthropicUpstream
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.ollama import OllamaUpstream
from oblix_actors.providers.openai import OpenAIUpstream
from oblix_actors.providers.scripted import ScriptedUpstream
from oblix_actors.settings import ProviderSettings, Secret


def upstream_for(provider: ProviderSettings, key: Secret | None, http: HttpClient) -> Upstream:
    """The adapter of ``provider``. The embedded model's is made elsewhere: it needs the engine."""
    match provider.kind:
        case "openai":
            return OpenAIUpstream(provider, key, http)
        case "ollama":
            return OllamaUpstream(provider, key, http)
        case "anthropic":
            return AnthropicUpstream(provider, key, http)
        case "scripted":
            return ScriptedUpstream(provider)
        case "embedded":
            raise RuntimeError("the embedded model has no address")
