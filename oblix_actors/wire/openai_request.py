"""Reads a client's Chat Completions request.

Format: https://platform.openai.com/docs/api-reference/chat/create. Pure. Whatever the bytes are, the only
exception is an :class:`~oblix_actors.errors.OblixError` that names the field. Fields we do not know stay in
``ChatRequest.body``; a field that is ``null`` counts as not given.
"""

from __future__ import annotations

from typing import Any, Final

from oblix_actors.core import chat
from oblix_actors.core.chat import ChatRequest, FunctionSpec, Tool
from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext
from oblix_actors.wire.fields import Fields, invalid, objects
from oblix_actors.wire.openai_messages import parse_messages

MAX_DEPTH: Final = 128
"""Of nested arrays and objects: deeper than any JSON schema, far less deep than what exhausts a stack."""
MAX_CONTAINERS: Final = 1_000_000
"""Arrays and objects in one body: counting more would hold up everybody else."""
MAX_TOOLS: Final = 1024
MAX_STOPS: Final = 4
MOST_TOKENS: Final = 1_000_000_000
_RESPONSE_FORMATS: Final = ("text", "json_object", "json_schema")
_TOOL_CHOICES: Final = ("none", "auto", "required")


def parse_chat_request(body: bytes) -> ChatRequest:
    """The request in ``body``. Raises ``invalid_json``, or ``invalid_request`` with ``param`` as the field's path."""
    fields = Fields(_object(body))
    model = fields.text("model")
    if not model:
        raise invalid("model", 'is required: name a model, or "auto" to let the server choose')
    if len(model) > 512:
        raise invalid("model", "is longer than 512 characters")
    messages, needs = parse_messages(fields.value("messages"))
    tools = _tools(fields)
    response_format = _response_format(fields)
    n = fields.integer("n", 1, 128) or 1
    logprobs = fields.flag("logprobs") or False
    top_logprobs = fields.integer("top_logprobs", 0, 20)
    if top_logprobs and not logprobs:
        raise invalid("top_logprobs", "needs logprobs to be true")
    stream = fields.flag("stream") or False
    max_tokens = fields.integer("max_tokens", 1, MOST_TOKENS)
    newer = fields.integer("max_completion_tokens", 1, MOST_TOKENS)
    wanted = {
        chat.TOOLS: bool(tools),
        chat.CHOICES: n > 1,
        chat.LOGPROBS: logprobs,
        chat.AUDIO: "audio" in (fields.texts("modalities", 8) or ()),
        chat.JSON_OBJECT: response_format is not None and response_format["type"] == "json_object",
        chat.JSON_SCHEMA: response_format is not None and response_format["type"] == "json_schema",
    }
    return ChatRequest(
        model=model,
        messages=messages,
        tools=tools,
        tool_choice=_tool_choice(fields),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        response_format=response_format,
        max_tokens=max_tokens if newer is None else newer,
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        presence_penalty=fields.number("presence_penalty", -2, 2),
        frequency_penalty=fields.number("frequency_penalty", -2, 2),
        stop=_stop(fields),
        seed=fields.integer("seed", -(2**63), 2**64 - 1),
        n=n,
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        reasoning_effort=fields.text("reasoning_effort"),
        user=fields.text("user"),
        stream=stream,
        include_usage=_include_usage(fields) and stream,
        needs=needs | {name for name, wants in wanted.items() if wants},
        body=fields.given,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = jsontext.loads(body)
    except jsontext.NotJSON as error:
        raise OblixError("invalid_json", f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise OblixError("invalid_request", "The body must be a JSON object.")
    _check_nesting(value)
    return value


def _check_nesting(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    seen = 0
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
        seen += len(level)
        if seen > MAX_CONTAINERS:
            raise OblixError("invalid_request", f"The body has more than {MAX_CONTAINERS} arrays and objects.")
    raise OblixError("invalid_request", f"The body is nested more than {MAX_DEPTH} levels deep.")


def _include_usage(fields: Fields) -> bool:
    options = fields.object("stream_options")
    return bool(options is not None and Fields(options, "stream_options").flag("include_usage"))


def _stop(fields: Fields) -> tuple[str, ...]:
    if isinstance(fields.value("stop"), str):
        return (fields.value("stop"),)
    return fields.texts("stop", MAX_STOPS, or_text=True) or ()


def _response_format(fields: Fields) -> dict[str, Any] | None:
    given = fields.object("response_format")
    if given is None:
        return None
    inner = Fields(given, "response_format")
    inner.required("type").choice("type", _RESPONSE_FORMATS)
    if given["type"] == "json_schema":
        schema = Fields(inner.required("json_schema").object("json_schema") or {}, "response_format.json_schema")
        schema.text("name")
        schema.object("schema")
    return given


def _tools(fields: Fields) -> tuple[Tool, ...]:
    """``tools``, or the legacy ``functions``, which say the same."""
    tools = []
    for path, given in objects(fields.value("tools"), "tools", MAX_TOOLS):
        tool = Fields(given, path)
        kind = tool.required("type").text("type") or "function"
        if kind == "function":
            tools.append(
                Tool(function=_function(tool.required("function").object("function") or {}, f"{path}.function"))
            )
        else:
            tools.append(Tool(type=kind, custom=tool.object("custom")))
    for path, given in objects(fields.value("functions"), "functions", MAX_TOOLS):
        tools.append(Tool(function=_function(given, path)))
    return tuple(tools)


def _function(given: dict[str, Any], path: str) -> FunctionSpec:
    function = Fields(given, path)
    name = function.text("name")
    if not name:
        raise invalid(f"{path}.name", "is required")
    return FunctionSpec(name, function.text("description"), function.object("parameters"), function.flag("strict"))


def _tool_choice(fields: Fields) -> str | dict[str, Any] | None:
    choice = fields.value("tool_choice")
    if choice is None:
        legacy = fields.value("function_call")
        if isinstance(legacy, dict):
            name = Fields(legacy, "function_call").required("name").text("name")
            return {"type": "function", "function": {"name": name}}
        return fields.choice("function_call", ("none", "auto"))
    if isinstance(choice, dict):
        Fields(choice, "tool_choice").required("type").text("type")
        return choice
    return fields.choice("tool_choice", _TOOL_CHOICES, or_object=True)
