"""Reads the ``messages`` of a Chat Completions request, and which capabilities they need. Pure.

Format: https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

from oblix_actors.core import chat
from oblix_actors.core.chat import (
    AudioPart,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageURL,
    InputAudio,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ToolCall,
)
from oblix_actors.wire.fields import Fields, invalid, objects, quote, wrong_type

MAX_MESSAGES: Final = 20_000
MAX_PARTS: Final = 10_000
MAX_CALLS: Final = 1024
"""Per message."""
_ROLES: Final = frozenset(get_args(Role))
_MAY_BE_SILENT: Final = frozenset({"assistant", "function"})
"""Roles whose content may be null."""


def parse_messages(value: Any) -> tuple[tuple[Message, ...], frozenset[str]]:
    """The messages, and the capabilities a model must have to read them."""
    entries = objects(value, "messages", MAX_MESSAGES)
    if not entries:
        raise invalid("messages", "is required, and must have at least one message")
    needs: set[str] = set()
    messages = tuple([_message(Fields(entry, path), path, needs) for path, entry in entries])
    return messages, frozenset(needs)


def _message(fields: Fields, path: str, needs: set[str]) -> Message:
    role = fields.required("role").text("role")
    if role not in _ROLES:
        raise invalid(f"{path}.role", f"must be one of {', '.join(get_args(Role))}, not {quote(str(role))}")
    content = _content(fields, path, needs)
    if content is None and role not in _MAY_BE_SILENT:
        raise invalid(f"{path}.content", "is required: a string, or an array of parts")
    calls = _tool_calls(fields, path) if role == "assistant" else None
    call_id = fields.text("tool_call_id")
    if role == "tool" and not call_id:
        raise invalid(f"{path}.tool_call_id", "is required: the id of the tool call that this message answers")
    reasoning = fields.value("reasoning_content")
    return Message(
        role=role,  # type: ignore[arg-type] # it is one of Role's, as checked above
        content=content,
        name=fields.text("name"),
        tool_calls=calls,
        tool_call_id=call_id,
        refusal=fields.text("refusal"),
        reasoning_content=reasoning if isinstance(reasoning, str) else None,
    )


def _content(fields: Fields, path: str, needs: set[str]) -> str | tuple[Part, ...] | None:
    content = fields.value("content")
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(f"{path}.content", "a string or an array of parts", content)
    return tuple([_part(Fields(entry, at), at, needs) for at, entry in objects(content, f"{path}.content", MAX_PARTS)])


def _part(fields: Fields, path: str, needs: set[str]) -> Part:
    kind = fields.required("type").text("type") or ""
    read = _PARTS.get(kind)
    if read is None:
        raise invalid(f"{path}.type", f"must be one of {', '.join(_PARTS)}, not {quote(kind)}")
    part = read(fields, path)
    need = _NEEDS.get(kind)
    if need is not None:
        needs.add(need)
    return part


def _needed(fields: Fields, name: str, path: str) -> str:
    text = fields.text(name)
    if text is None:
        raise invalid(f"{path}.{name}", "is required")
    return text


def _text(fields: Fields, path: str) -> Part:
    return TextPart(_needed(fields, "text", path))


def _refusal(fields: Fields, path: str) -> Part:
    return RefusalPart(_needed(fields, "refusal", path))


def _image(fields: Fields, path: str) -> Part:
    given = fields.required("image_url").value("image_url")
    if isinstance(given, str):  # several clients leave the object out
        return ImagePart(ImageURL(_url(given, f"{path}.image_url")))
    inner = Fields(fields.object("image_url") or {}, f"{path}.image_url")
    url = _needed(inner, "url", f"{path}.image_url")
    return ImagePart(ImageURL(_url(url, f"{path}.image_url.url"), inner.text("detail")))


def _url(url: str, path: str) -> str:
    if not url[:8].lower().startswith(("https://", "http://", "data:")):
        raise invalid(path, "must be an http, https or data URL")
    return url


def _audio(fields: Fields, path: str) -> Part:
    inner = Fields(fields.required("input_audio").object("input_audio") or {}, f"{path}.input_audio")
    at = f"{path}.input_audio"
    return AudioPart(InputAudio(_needed(inner, "data", at), _needed(inner, "format", at)))


def _file(fields: Fields, _path: str) -> Part:
    return FilePart(fields.required("file").object("file") or {})


_PARTS: Final[dict[str, Callable[[Fields, str], Part]]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
    "refusal": _refusal,
}
_NEEDS: Final = {"image_url": chat.IMAGES, "input_audio": chat.AUDIO, "file": chat.FILES}


def _tool_calls(fields: Fields, path: str) -> tuple[ToolCall, ...] | None:
    """``tool_calls``, or the one legacy ``function_call``, which has no id of its own."""
    calls = [
        _tool_call(Fields(entry, at), at)
        for at, entry in objects(fields.value("tool_calls"), f"{path}.tool_calls", MAX_CALLS)
    ]
    legacy = fields.object("function_call")
    if legacy is not None:
        at = f"{path}.function_call"
        inner = Fields(legacy, at)
        name = _needed(inner, "name", at)
        calls.append(ToolCall(id=f"call_{name}", function=FunctionCall(name, inner.text("arguments") or "{}")))
    return tuple(calls) or None


def _tool_call(fields: Fields, path: str) -> ToolCall:
    call_id = _needed(fields, "id", path)
    kind = fields.text("type") or "function"
    if kind == "custom":
        return ToolCall(id=call_id, type=kind, custom=fields.required("custom").object("custom"))
    if kind != "function":
        raise invalid(f"{path}.type", f"must be function or custom, not {quote(kind)}")
    at = f"{path}.function"
    inner = Fields(fields.required("function").object("function") or {}, at)
    return ToolCall(id=call_id, function=FunctionCall(_needed(inner, "name", at), _arguments(inner, at)))


def _arguments(fields: Fields, path: str) -> str:
    arguments = fields.value("arguments")
    if arguments is None:
        return "{}"
    if not isinstance(arguments, str):
        raise wrong_type(f"{path}.arguments", "a string of JSON", arguments)
    return arguments
