"""Writes the body of Ollama's ``POST /api/chat``. Pure.

API: https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion; tool calls:
https://docs.ollama.com/capabilities/tool-calling; ``think``: https://docs.ollama.com/capabilities/thinking.

What the API has no field for raises ``upstream_unsupported``, so that another candidate is asked instead.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from oblix_actors.core.chat import AudioPart, ChatRequest, FilePart, ImagePart, Message, RefusalPart, TextPart, ToolCall
from oblix_actors.errors import OblixError
from oblix_actors.wire.media import read_data_url
from oblix_actors.wire.tools import EMPTY_SCHEMA, read_arguments, read_tools, unsupported

_ROLES: Final = {"developer": "system", "function": "tool"}
_EFFORTS: Final[dict[str, bool | str]] = {"none": False, "minimal": "low", "xhigh": "high", "max": "high"}


def build_chat_body(
    request: ChatRequest,
    model: str,
    *,
    num_ctx: int | None,
    keep_alive: str | None = None,
    think: tuple[bool | str, ...] | None = None,
) -> bytes:
    """The body for ``model``.

    ``num_ctx`` is the context to load it with (tokens), ``keep_alive`` how long it stays in memory afterwards
    (``"10m"``, ``"-1"``), ``think`` the values that its ``think`` field takes (empty: it does not think; ``None``:
    unknown). A client's own ``options`` and ``keep_alive`` are sent, too; its ``options.num_ctx`` wins.
    """
    if request.n > 1:
        raise unsupported("several choices (n)", "n")
    if request.logprobs:
        raise unsupported("log-probabilities", "logprobs")
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(request.messages),
        "stream": True,
        "options": _options(request, num_ctx),
        # Since 0.12.6; without it a prompt that is too long is cut in silence.
        "truncate": False,
    }
    optional = {
        "tools": _tools(request),
        "format": _format(request),
        "think": _think(request.reasoning_effort, think),
        "keep_alive": keep_alive if keep_alive is not None else request.body.get("keep_alive"),
    }
    body.update({name: value for name, value in optional.items() if value is not None})
    try:
        return msgspec.json.encode(body)
    except RecursionError:
        raise OblixError("invalid_request", "The body is nested too deeply.") from None


def _options(request: ChatRequest, num_ctx: int | None) -> dict[str, Any]:
    given = request.body.get("options") or {}
    if not isinstance(given, dict):
        raise OblixError("invalid_request", "options must be an object.", param="options")
    named = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "num_predict": request.max_tokens,
        "stop": list(request.stop) or None,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    options = {"num_ctx": num_ctx, **given, **{name: value for name, value in named.items() if value is not None}}
    return {name: value for name, value in options.items() if value is not None}


def _tools(request: ChatRequest) -> list[dict[str, Any]] | None:
    tools = read_tools(request)
    if tools.mode == "required":
        raise unsupported("way to force a tool call", "tool_choice")
    if tools.mode == "none" or not tools.offered:
        return None
    entries: list[dict[str, Any]] = []
    for function in tools.offered:
        entry = {"name": function.name, "description": function.description or ""}
        entries.append({"type": "function", "function": {**entry, "parameters": function.parameters or EMPTY_SCHEMA}})
    return entries


def _format(request: ChatRequest) -> str | dict[str, Any] | None:
    wanted = request.response_format or {}
    if wanted.get("type") == "json_object":
        return "json"
    if wanted.get("type") != "json_schema":
        return None
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) else "json"


def _think(effort: str | None, values: tuple[bool | str, ...] | None) -> bool | str | None:
    """The ``think`` value nearest to ``effort``; ``None`` leaves the field out: a model that cannot refuses it."""
    if effort is None or values == ():
        return None
    wanted = _EFFORTS.get(effort, effort)
    if values is None or wanted in values:
        return wanted
    if wanted is False:
        return "low" if "low" in values else None
    return True if True in values else None


def _messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    """Tool call ids to function names: Ollama's tool messages name the tool."""
    written: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        text, images = _content(message, f"messages[{index}].content")
        entry: dict[str, Any] = {"role": _ROLES.get(message.role, message.role), "content": text}
        if images:
            entry["images"] = images
        if message.role == "assistant":
            calls = [_tool_call(call, index) for call in message.tool_calls or ()]
            if calls:
                entry["tool_calls"] = calls
                names.update({call["id"]: call["function"]["name"] for call in calls})
            if message.reasoning_content:
                entry["thinking"] = message.reasoning_content
        elif entry["role"] == "tool":
            name = names.get(message.tool_call_id or "") or message.name
            if name:
                entry["tool_name"] = name
            if message.tool_call_id:
                entry["tool_call_id"] = message.tool_call_id
        written.append(entry)
    return written


def _content(message: Message, path: str) -> tuple[str, list[str]]:
    if not isinstance(message.content, tuple):
        return message.content or message.refusal or "", []
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate(message.content):
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                texts.append(text)
            case ImagePart():
                media = read_data_url(part.image_url.url)
                if media is None:
                    raise unsupported("images by URL: send them as data: URLs", f"{path}[{index}].image_url")
                images.append(media.data)
            case AudioPart():
                raise unsupported("audio", f"{path}[{index}]")
            case FilePart():
                raise unsupported("files", f"{path}[{index}]")
    return "\n".join(texts), images


def _tool_call(call: ToolCall, index: int) -> dict[str, Any]:
    if call.function is None:
        raise unsupported("tool calls that are not functions", f"messages[{index}].tool_calls")
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": read_arguments(call.function.arguments)},
    }
