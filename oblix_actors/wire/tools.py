"""Tools of a request, for upstreams whose API is not OpenAI's: which a model may, must or must not call. Pure.

Format: https://platform.openai.com/docs/api-reference/chat/create#chat-create-tool_choice.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from oblix_actors.core.chat import ChatRequest, FunctionSpec
from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext

Mode = Literal["auto", "none", "required"]
EMPTY_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


class Tools(msgspec.Struct, frozen=True):
    """``offered`` are the functions to send; ``name`` is the one that must be called, with mode ``required`` only."""

    offered: tuple[FunctionSpec, ...]
    mode: Mode = "auto"
    name: str | None = None


def unsupported(what: str, param: str | None = None) -> OblixError:
    """``upstream_unsupported``: this upstream cannot do ``what``; another one may."""
    return OblixError("upstream_unsupported", f"This model's API has no {what}.", param=param)


def read_tools(request: ChatRequest) -> Tools:
    """The tools as the client wants them used.

    Raises ``upstream_unsupported`` for tools that are not functions, and ``invalid_request`` for a choice that names a
    function nobody offered.
    """
    functions: list[FunctionSpec] = []
    for tool in request.tools:
        if tool.function is None:
            raise unsupported(f"tools of type {tool.type[:40]!r}", "tools")
        functions.append(tool.function)
    offered = tuple(functions)
    choice = request.tool_choice
    if not offered or choice is None or choice == "auto":
        return Tools(offered)
    if choice in ("none", "required"):
        return Tools(offered, choice)  # type: ignore[arg-type] # one of the two
    if isinstance(choice, dict):
        return _from_object(choice, offered)
    raise OblixError("invalid_request", "tool_choice must be none, auto, required or an object.", param="tool_choice")


def _from_object(choice: dict[str, Any], offered: tuple[FunctionSpec, ...]) -> Tools:
    kind = choice.get("type")
    if kind == "function":
        name = _name(choice)
        _pick(offered, {name})
        return Tools(offered, "required", name)
    inner = choice.get("allowed_tools")
    if kind == "allowed_tools" and isinstance(inner, dict) and isinstance(inner.get("tools"), list):
        picked = _pick(offered, {_name(entry) for entry in inner["tools"] if isinstance(entry, dict)})
        return Tools(picked, "required" if inner.get("mode") == "required" else "auto")
    raise unsupported("such a tool_choice", "tool_choice")


def _name(entry: dict[str, Any]) -> str:
    function = entry.get("function")
    name = function.get("name") if isinstance(function, dict) else entry.get("name")
    if not isinstance(name, str):
        raise OblixError("invalid_request", "tool_choice must name a function.", param="tool_choice")
    return name


def _pick(offered: tuple[FunctionSpec, ...], names: set[str]) -> tuple[FunctionSpec, ...]:
    picked = tuple(function for function in offered if function.name in names)
    if len({function.name for function in picked}) < len(names):
        missing = min(names - {function.name for function in picked})
        raise OblixError(
            "invalid_request",
            f"tool_choice names {missing[:64]!r}, which is not one of the tools.",
            param="tool_choice",
        )
    return picked


def read_arguments(text: str) -> dict[str, Any]:
    """A tool call's arguments as the object that other APIs want.

    A model may have written anything: what is not an object comes as ``{"input": …}``, JSON or not.
    """
    if not text.strip():
        return {}
    try:
        value = jsontext.loads(text.encode("utf-8", "replace"))
    except jsontext.NotJSON:
        return {"input": text}
    return value if isinstance(value, dict) else {"input": value}
