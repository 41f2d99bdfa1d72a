"""What an Ollama server has: ``GET /api/tags``, ``GET /api/ps``, ``POST /api/show``. Pure.

API: https://github.com/ollama/ollama/blob/main/docs/api.md#list-local-models and the sections after it; the
``thinking`` object of ``/api/show``: https://docs.ollama.com/capabilities/thinking.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from oblix_actors.core import chat
from oblix_actors.core.catalogue import Model
from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext

MAX_MODELS: Final = 10_000
MAX_NAME: Final = 512
_MOST_TOKENS: Final = 1_000_000_000
_ALWAYS: Final = frozenset({chat.JSON_OBJECT, chat.JSON_SCHEMA})
"""Ollama constrains any model's output by a grammar. It has one choice, no audio and no files, and does not give
log-probabilities in all versions that are around."""
_FROM_OLLAMA: Final = {"tools": chat.TOOLS, "vision": chat.IMAGES}
_EMBEDDERS: Final = re.compile(r"(?i)bert|embed|minilm|(^|/)bge-")
_NUM_CTX: Final = re.compile(r"(?m)^\s*num_ctx\s+(\d+)\s*$")


class Listed(msgspec.Struct, frozen=True):
    """One entry of ``/api/tags``. ``remote``: this server only hands it on to another one (Ollama's cloud models)."""

    name: str
    digest: str = ""
    size_bytes: int | None = None
    remote: bool = False


class Details(msgspec.Struct, frozen=True):
    """What ``/api/show`` tells of one model.

    ``capabilities`` are ours, ``None`` where the server is too old to say; ``context`` is the most tokens the model
    can have, ``num_ctx`` what its Modelfile sets. ``think`` holds the values that the ``think`` field takes:
    empty for a model that does not think, ``None`` where unknown.
    """

    capabilities: frozenset[str] | None = None
    chat: bool = True
    context: int | None = None
    num_ctx: int | None = None
    think: tuple[bool | str, ...] | None = None


def parse_tags(body: bytes) -> tuple[Listed, ...]:
    """The models on disk, in the server's order. Raises ``upstream_malformed`` for a stranger on the port."""
    models: dict[str, Listed] = {}
    for entry in _entries(body, "the list of models"):
        name = entry.get("model") or entry.get("name")
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME:
            digest = entry.get("digest")
            listed = Listed(
                name,
                digest=digest if isinstance(digest, str) else "",
                size_bytes=_positive(entry.get("size")),
                remote=bool(entry.get("remote_host")),
            )
            models.setdefault(name, listed)
    return tuple(models.values())


def parse_ps(body: bytes) -> dict[str, int | None]:
    """The models in memory, each with the context it was loaded with, in tokens (``None`` from old servers)."""
    loaded: dict[str, int | None] = {}
    for entry in _entries(body, "the list of loaded models"):
        name = entry.get("model") or entry.get("name")
        if isinstance(name, str):
            loaded[name] = _tokens(entry.get("context_length"))
    return loaded


def parse_show(body: bytes, name: str = "") -> Details:
    """What the server says of the model called ``name``. Raises ``upstream_malformed``."""
    value = _object(body, "the description of a model")
    given = value.get("capabilities")
    known = {entry for entry in given if isinstance(entry, str)} if isinstance(given, list) else None
    info = value.get("model_info")
    info = info if isinstance(info, dict) else {}
    architecture = info.get("general.architecture")
    parameters = value.get("parameters")
    num_ctx = _NUM_CTX.search(parameters) if isinstance(parameters, str) else None
    if known is None:
        chats = not (isinstance(architecture, str) and "bert" in architecture) and not _EMBEDDERS.search(name)
    else:
        chats = "completion" in known
    return Details(
        capabilities=None if known is None else _ALWAYS | {_FROM_OLLAMA[name] for name in known & _FROM_OLLAMA.keys()},
        chat=chats,
        context=_tokens(info.get(f"{architecture}.context_length")),
        num_ctx=_tokens(int(num_ctx.group(1))) if num_ctx else None,
        think=_think(value.get("thinking"), known),
    )


def describe(listed: Listed, details: Details | None, *, loaded: bool | None) -> Model:
    """One model for the catalogue; ``details`` is ``None`` where the server did not tell."""
    if details is None:
        chats = not _EMBEDDERS.search(listed.name)
        return Model(listed.name, loaded=loaded, size_bytes=listed.size_bytes, chat=chats, remote=listed.remote)
    return Model(
        listed.name,
        capabilities=details.capabilities,
        context=details.context,
        loaded=loaded,
        size_bytes=listed.size_bytes,
        chat=details.chat,
        remote=listed.remote,
    )


def _think(given: Any, known: set[str] | None) -> tuple[bool | str, ...] | None:
    values = given.get("values") if isinstance(given, dict) else None
    if isinstance(values, list):
        usable = tuple(value for value in values if isinstance(value, bool | str))
        return () if usable == (False,) else usable
    return () if known is not None and "thinking" not in known else None


def _entries(body: bytes, what: str) -> list[dict[str, Any]]:
    value = _object(body, what)
    entries = value.get("models")
    if entries is None and "models" in value:
        return []
    if not isinstance(entries, list):
        raise OblixError("upstream_malformed", f"{what} does not look like Ollama's: it has no models array")
    return [entry for entry in entries[:MAX_MODELS] if isinstance(entry, dict)]


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = jsontext.loads(body)
    except jsontext.NotJSON:
        raise OblixError("upstream_malformed", f"{what} is not JSON: is this an Ollama server?") from None
    if not isinstance(value, dict):
        raise OblixError("upstream_malformed", f"{what} is not a JSON object: is this an Ollama server?")
    return value


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _tokens(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    value = _positive(value)
    return value if value is not None and value <= _MOST_TOKENS else None
