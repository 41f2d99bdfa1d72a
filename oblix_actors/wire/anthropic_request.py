"""Writes the body of Anthropic's ``POST /v1/messages``. Pure.

API: https://docs.anthropic.com/en/api/messages; thinking: https://platform.claude.com/docs/en/build-with-claude/thinking;
structured outputs: https://platform.claude.com/docs/en/build-with-claude/structured-outputs.

What the API cannot do raises ``upstream_unsupported``, so that another candidate is asked. Preferences that it has
no field for (seed, penalties, and temperature where the model refuses it) are left out, as in the vendor's own
OpenAI-compatible endpoint (https://docs.anthropic.com/en/api/openai-sdk).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from oblix_actors.core.chat import ChatRequest
from oblix_actors.errors import OblixError
from oblix_actors.wire.anthropic_messages import write_messages
from oblix_actors.wire.anthropic_models import Traits, guess_traits
from oblix_actors.wire.anthropic_schema import fit_schema
from oblix_actors.wire.tools import EMPTY_SCHEMA, Tools, read_tools, unsupported

JSON_TOOL: Final = "respond_in_json"
"""The tool whose forced call is a JSON answer, where the model has no structured outputs for it."""
BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000}
"""Tokens of manual thinking."""
LEAST_BUDGET: Final = 1024
_LEVELS: Final = ("low", "medium", "high", "xhigh", "max")


def build_messages_body(
    request: ChatRequest, model: str, *, default_max_tokens: int, traits: Traits | None = None
) -> bytes:
    """The body for ``model``.

    ``default_max_tokens`` bounds the answer of a request that sets no limit; both are cut to what the model can give.
    ``traits`` is what the model accepts, guessed from its name where it is not known.
    """
    if request.n > 1:
        raise unsupported("several choices (n)", "n")
    if request.logprobs:
        raise unsupported("log-probabilities", "logprobs")
    traits = traits or guess_traits(model)
    tools = read_tools(request)
    system, messages = write_messages(request.messages, prefill=traits.prefill)
    most = min(request.max_tokens or default_max_tokens, traits.max_output)
    body: dict[str, Any] = {"model": model, "max_tokens": most, "messages": messages, "stream": True}
    if system:
        body["system"] = system
    if request.stop:
        if not all(text.strip() for text in request.stop):
            raise unsupported("stop sequences of white space alone", "stop")
        body["stop_sequences"] = request.stop
    if request.user and "@" not in request.user and len(request.user) <= 256:
        body["metadata"] = {"user_id": request.user}
    forced = _add_output(body, request, tools, traits)
    if not forced:
        forced = _add_tools(body, request, tools, traits)
    thinks = _add_thinking(body, request, traits, forced=forced)
    if traits.sampling and not thinks:
        _add_sampling(body, request)
    try:
        return msgspec.json.encode(body)
    except RecursionError:
        raise OblixError("invalid_request", "The body is nested too deeply.") from None


def _add_sampling(body: dict[str, Any], request: ChatRequest) -> None:
    if request.temperature is not None:
        body["temperature"] = min(max(request.temperature, 0.0), 1.0)
    elif request.top_p is not None:  # models since 4.1 refuse both at once
        body["top_p"] = request.top_p


def _add_output(body: dict[str, Any], request: ChatRequest, tools: Tools, traits: Traits) -> bool:
    """Constrain the answer to JSON where it is wanted; whether that is done by a forced tool call."""
    wanted = request.response_format or {}
    kind = wanted.get("type")
    if kind not in ("json_object", "json_schema"):
        return False
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if kind == "json_schema" and isinstance(schema, dict):
        if traits.structured:
            body["output_config"] = {"format": {"type": "json_schema", "schema": fit_schema(schema)}}
            return False
    else:
        schema = {"type": "object"}
    if tools.offered or traits.thinking == "always" or schema.get("type") != "object":
        raise unsupported("such an output format for this model, or not together with tools", "response_format")
    description = inner.get("description") if isinstance(inner, dict) else None
    text = description if isinstance(description, str) else "Give the answer, as a JSON object."
    body["tools"] = [{"name": JSON_TOOL, "description": text, "input_schema": schema}]
    body["tool_choice"] = {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}
    return True


def _add_tools(body: dict[str, Any], request: ChatRequest, tools: Tools, traits: Traits) -> bool:
    """Offer the tools; whether a call of one is forced."""
    if not tools.offered:
        return False
    entries: list[dict[str, Any]] = []
    for function in tools.offered:
        schema = function.parameters or EMPTY_SCHEMA
        entry: dict[str, Any] = {"name": function.name, "input_schema": {"type": "object", **schema}}
        if function.description:
            entry["description"] = function.description
        entries.append(entry)
    body["tools"] = entries
    forced = tools.mode == "required"
    if forced and traits.thinking == "always":
        raise unsupported("forced tool calls for this model", "tool_choice")
    single = {"disable_parallel_tool_use": True} if request.parallel_tool_calls is False else {}
    if tools.name is not None:
        body["tool_choice"] = {"type": "tool", "name": tools.name, **single}
    elif forced:
        body["tool_choice"] = {"type": "any", **single}
    elif tools.mode == "none":
        body["tool_choice"] = {"type": "none"}
    elif single:
        body["tool_choice"] = {"type": "auto", **single}
    return forced


def _add_thinking(body: dict[str, Any], request: ChatRequest, traits: Traits, *, forced: bool) -> bool:
    """Say how much to think; whether it will. A forced tool call and thinking exclude each other."""
    effort = request.reasoning_effort
    if traits.thinking == "manual":
        budget = min(BUDGETS.get(effort or "", 0), body["max_tokens"] // 2)
        if forced or budget < LEAST_BUDGET or _excludes_thinking(body["messages"][-1]):
            return False
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        return True
    if traits.thinking == "none":
        return False
    if traits.thinking == "adaptive" and (forced or effort == "none"):
        body["thinking"] = {"type": "disabled"}
        return False
    level = _level(effort, traits.efforts)
    if level is not None:
        body.setdefault("output_config", {})["effort"] = level
    if effort is None and traits.thinking == "adaptive":
        return False
    # Summaries stream while the model thinks; the newer models' default is silence until it has finished.
    body["thinking"] = {"type": "adaptive", "display": "summarized"}
    return True


def _level(effort: str | None, levels: frozenset[str]) -> str | None:
    if effort is None:
        return None
    wanted = {"none": "low", "minimal": "low"}.get(effort, effort)
    if wanted in levels:
        return wanted
    if wanted not in _LEVELS:
        return None
    lower = [level for level in _LEVELS[: _LEVELS.index(wanted)] if level in levels]
    return lower[-1] if lower else None


def _excludes_thinking(last: dict[str, Any]) -> bool:
    """Whether the conversation's end forbids a manual budget: a prefilled answer does, and so does a tool's result,
    whose call must then come with the signed thinking before it, which OpenAI's format does not carry."""
    return last["role"] == "assistant" or any(block["type"] == "tool_result" for block in last["content"])
