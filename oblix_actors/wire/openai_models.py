"""OpenAI's list of models: reads an upstream's, writes ours.

Format: https://platform.openai.com/docs/api-reference/models/list, with what vendors add: llama.cpp ``meta``, vLLM
``max_model_len``, OpenRouter ``context_length``, ``architecture`` and ``supported_parameters``
(https://openrouter.ai/docs/models), Groq ``context_window``, Mistral ``max_context_length`` and ``capabilities``. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from oblix_actors.core import chat
from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext

MAX_MODELS: Final = 10_000
MAX_ID: Final = 512
_MOST_TOKENS: Final = 1_000_000_000

_NO_CHAT: Final = re.compile(
    r"""(?ix)
    embed | rerank | (^|[/_-]) (bge|e5|gte) - | whisper | (^|[-_/]) tts ([-_:]|$) | transcribe | dall-e | gpt-image
    | chatgpt-image | moderation | realtime | (^|/) sora ([-_]|$) | stable-diffusion | (^|/) flux [-._]
    """
)
"""Names that embed, rank, listen, speak or draw, whoever serves them."""

_NO_CHAT_AT_OPENAI: Final = re.compile(
    r"(?i)^(davinci|babbage)-|-instruct|^codex-|-codex|^computer-use|deep-research|^o\d+-pro|^gpt-[\d.]+-pro"
)
"""OpenAI's own that only other APIs of theirs serve (completions, responses)."""
_OPENAI_OWNERS: Final = frozenset({"openai", "openai-internal", "system", "openai-dev"})

_CONTEXT_FIELDS: Final = ("context_length", "max_model_len", "context_window", "max_context_length", "n_ctx")
_OPENROUTER_MODALITIES: Final = {"image": chat.IMAGES, "audio": chat.AUDIO, "file": chat.FILES}
_OPENROUTER_PARAMETERS: Final = {
    "tools": chat.TOOLS,
    "response_format": chat.JSON_OBJECT,
    "structured_outputs": chat.JSON_SCHEMA,
    "logprobs": chat.LOGPROBS,
}


def parse_models(body: bytes) -> tuple[Model, ...]:
    """The models in an upstream's list, in its order. Raises ``upstream_malformed`` when it is not such a list.

    Entries without a usable ``id`` are left out: a strange one must not cost the others.
    """
    try:
        value = jsontext.loads(body)
    except jsontext.NotJSON:
        raise OblixError("upstream_malformed", "the list of models is not JSON") from None
    entries = value.get("data") if isinstance(value, dict) else value  # Together sends a bare array
    if entries is None and isinstance(value, dict) and value.get("object") == "list":
        entries = []  # an LM Studio or vLLM without models
    if not isinstance(entries, list):
        raise OblixError("upstream_malformed", "the list of models does not look like OpenAI's: it has no data array")
    models: dict[str, Model] = {}
    for entry in entries[:MAX_MODELS]:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str) and 0 < len(entry["id"]) <= MAX_ID:
            models.setdefault(entry["id"], _model(entry))
    if entries and not models:
        raise OblixError("upstream_malformed", "the list of models does not look like OpenAI's: no entry has an id")
    return tuple(models.values())


def _model(entry: dict[str, Any]) -> Model:
    meta = entry.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    context = next(filter(None, (_tokens(entry.get(name)) for name in _CONTEXT_FIELDS)), None)
    context = context or _tokens(meta.get("n_ctx")) or _tokens(meta.get("n_ctx_train"))
    size = meta.get("size")
    return Model(
        entry["id"],
        capabilities=_capabilities(entry),
        context=context,
        loaded=_loaded(entry, meta),
        size_bytes=size if isinstance(size, int) and size > 0 else None,
        chat=_chats(entry),
    )


def _tokens(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS else None


def _loaded(entry: dict[str, Any], meta: dict[str, Any]) -> bool | None:
    """LM Studio says ``state``; a llama.cpp server that describes its model has it in memory."""
    state = entry.get("state")
    if state in ("loaded", "not-loaded"):
        return bool(state == "loaded")
    return True if meta.get("n_ctx_train") else None


def _capabilities(entry: dict[str, Any]) -> frozenset[str] | None:
    """What OpenRouter tells; the others tell too little to exclude a model by it."""
    parameters, architecture = entry.get("supported_parameters"), entry.get("architecture")
    if not isinstance(parameters, list) or not isinstance(architecture, dict):
        return None
    modalities = architecture.get("input_modalities")
    known = {_OPENROUTER_PARAMETERS.get(name) for name in parameters if isinstance(name, str)}
    if isinstance(modalities, list):
        known |= {_OPENROUTER_MODALITIES.get(name) for name in modalities if isinstance(name, str)}
    return frozenset(name for name in known if name is not None)


def _chats(entry: dict[str, Any]) -> bool:
    name: str = entry["id"]
    architecture = entry.get("architecture")
    if isinstance(architecture, dict) and isinstance(architecture.get("output_modalities"), list):
        return "text" in architecture["output_modalities"]
    kind = entry.get("type")
    if kind in ("chat", "llm", "vlm"):
        return True
    if kind in ("embeddings", "embedding", "image", "audio", "moderation", "rerank", "transcribe", "video"):
        return False
    capabilities = entry.get("capabilities")
    if isinstance(capabilities, dict) and isinstance(capabilities.get("completion_chat"), bool):
        return bool(capabilities["completion_chat"])  # Mistral
    if _NO_CHAT.search(name):
        return False
    owner = entry.get("owned_by")
    return not (isinstance(owner, str) and owner in _OPENAI_OWNERS and _NO_CHAT_AT_OPENAI.search(name))


def _entry(name: str, owner: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


def _entries(providers: Iterable[ProviderState], created: int) -> Iterable[dict[str, Any]]:
    yield _entry("auto", "oblix", created)
    for provider in providers:
        for model in provider.models:
            if model.chat:
                yield {
                    **_entry(f"{provider.name}:{model.id}", provider.name, created),
                    "oblix": _details(provider, model),
                }


def _details(provider: ProviderState, model: Model) -> dict[str, Any]:
    """What OpenAI's entry has no field for; ``null`` where nobody knows."""
    return {
        "locality": provider.locality,
        "status": provider.status,
        "context": model.context,
        "capabilities": None if model.capabilities is None else sorted(model.capabilities),
        "loaded": model.loaded,
    }


def encode_models(providers: Iterable[ProviderState], created: int) -> bytes:
    """Our own list: ``auto``, then every chat model as ``provider:model``. ``created`` is Unix seconds.

    A model's entry has more in ``oblix``: where it is, its provider's status, its context in tokens, what it can do,
    and whether it is in memory.
    """
    return msgspec.json.encode({"object": "list", "data": list(_entries(providers, created))})


def encode_model(providers: Iterable[ProviderState], name: str, created: int) -> bytes | None:
    """One entry of that list, or ``None`` where it has no such model."""
    found = next((entry for entry in _entries(providers, created) if entry["id"] == name), None)
    return None if found is None else msgspec.json.encode(found)
