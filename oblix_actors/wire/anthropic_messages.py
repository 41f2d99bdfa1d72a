"""Writes a conversation as Anthropic's ``system`` blocks and ``messages``. Pure.

API: https://docs.anthropic.com/en/api/messages; tool calls and results:
https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use. Its rules that OpenAI's format does not
have: turns alternate, the first is the user's, a text is not empty, results of tools come first in the turn after the
call, ids have letters, digits, ``_`` and ``-`` only.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import Any, Final

from oblix_actors.core.chat import FilePart, ImagePart, Message, Part, RefusalPart, TextPart
from oblix_actors.wire.media import read_data_url
from oblix_actors.wire.tools import read_arguments, unsupported

Block = dict[str, Any]

OPENING: Final = "Begin."
"""The user's turn of a conversation that has none at its beginning."""
CONTINUE: Final = (
    "Continue your last message from exactly where it stopped. "
    "Repeat none of it, and write nothing but the continuation."
)
"""What stands in for a prefilled answer where the model refuses one, as the vendor advises."""
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_BAD_IN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")


def tool_id(call_id: str) -> str:
    """``call_id`` as Anthropic accepts it: the same for the same, different for different ones."""
    if call_id and not _BAD_IN_ID.search(call_id):
        return call_id
    return f"{_BAD_IN_ID.sub('_', call_id)}_{zlib.crc32(call_id.encode('utf-8', 'surrogatepass')):08x}"


def write_messages(messages: tuple[Message, ...], *, prefill: bool) -> tuple[list[Block], list[Block]]:
    """The system blocks and the messages.

    ``prefill``: a conversation that ends with the assistant's words is sent so, and the model goes on from there;
    where it cannot, a request to continue is added. Raises ``upstream_unsupported`` for audio, for files that are
    neither PDF nor text, and for images in other formats than JPEG, PNG, GIF and WebP.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if message.role in ("system", "developer"):
            system += _blocks(message.content, path)
        elif message.role == "assistant":
            _add(turns, "assistant", _assistant(message, path))
        elif message.role in ("tool", "function"):
            _add(turns, "user", [_result(message, path)])
        else:
            _add(turns, "user", _blocks(message.content, path))
    if not turns and system:
        _add(turns, "user", [system.pop()])  # some clients put the whole request there
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
    for turn in turns:
        if turn["role"] == "user":
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    _end(turns, prefill=prefill)
    return system, turns


def _add(turns: list[Block], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _end(turns: list[Block], *, prefill: bool) -> None:
    last = turns[-1]
    if last["role"] != "assistant" or last["content"][-1]["type"] != "text":
        return
    if not prefill:
        turns.append({"role": "user", "content": [{"type": "text", "text": CONTINUE}]})
        return
    # White space at the end of a prefilled answer is refused.
    last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


def _assistant(message: Message, path: str) -> list[Block]:
    blocks = _blocks(message.content, path)
    if not blocks and message.refusal:
        blocks = _text(message.refusal)
    for call in message.tool_calls or ():
        if call.function is None:
            raise unsupported("tool calls that are not functions", f"{path}.tool_calls")
        arguments = read_arguments(call.function.arguments)
        blocks.append({"type": "tool_use", "id": tool_id(call.id), "name": call.function.name, "input": arguments})
    return blocks


def _result(message: Message, path: str) -> Block:
    call_id = message.tool_call_id or f"call_{message.name}"  # a legacy function's result names the function only
    block: Block = {"type": "tool_result", "tool_use_id": tool_id(call_id)}
    content = _blocks(message.content, path)
    if content:
        block["content"] = content
    return block


def _blocks(content: str | tuple[Part, ...] | None, path: str) -> list[Block]:
    if content is None or isinstance(content, str):
        return _text(content or "")
    blocks: list[Block] = []
    for index, part in enumerate(content):
        at = f"{path}.content[{index}]"
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                blocks += _text(text)
            case ImagePart():
                blocks.append(_image(part.image_url.url, at))
            case FilePart():
                blocks.append(_file(part.file, at))
            case _:
                raise unsupported("audio", at)
    return blocks


def _text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _image(url: str, path: str) -> Block:
    media = read_data_url(url)
    if media is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind = "image/jpeg" if media.kind == "image/jpg" else media.kind
    if kind not in _IMAGES:
        raise unsupported(f"images of type {media.kind[:40]!r}", path)
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": media.data}}


def _file(file: dict[str, Any], path: str) -> Block:
    data = file.get("file_data")
    media = read_data_url(data) if isinstance(data, str) else None
    if media is None:
        raise unsupported("files of another provider: send the file's content as a data: URL in file_data", path)
    if media.kind == "application/pdf":
        source: Block = {"type": "base64", "media_type": "application/pdf", "data": media.data}
    elif media.kind.startswith("text/"):
        try:
            text = base64.b64decode(media.data).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise unsupported("text files that are not UTF-8", path) from None
        source = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        raise unsupported(f"files of type {media.kind[:40]!r}", path)
    name = file.get("filename")
    title = {"title": name[:500]} if isinstance(name, str) and name else {}
    return {"type": "document", "source": source, **title}
