"""The neutral chat request: what every dialect is read into and every upstream's request is made from.

The shapes are those of OpenAI's Chat Completions (https://platform.openai.com/docs/api-reference/chat/create),
because they are the widest. ``ChatRequest.body`` keeps the client's JSON object as it came, so that an
OpenAI-compatible upstream gets the fields we do not know untouched.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]

TOOLS: Final = "tools"
IMAGES: Final = "images"
AUDIO: Final = "audio"
FILES: Final = "files"
JSON_OBJECT: Final = "json_object"
JSON_SCHEMA: Final = "json_schema"
LOGPROBS: Final = "logprobs"
CHOICES: Final = "n"
ALL_CAPABILITIES: Final = frozenset({TOOLS, IMAGES, AUDIO, FILES, JSON_OBJECT, JSON_SCHEMA, LOGPROBS, CHOICES})


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class ImageURL(msgspec.Struct, frozen=True):
    """``url`` is http(s) or a ``data:`` URL with base64."""

    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    image_url: ImageURL


class InputAudio(msgspec.Struct, frozen=True):
    """``data`` is base64; ``format`` is ``wav`` or ``mp3``."""

    data: str
    format: str


class AudioPart(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    input_audio: InputAudio


class FilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    file: dict[str, Any]


class RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    refusal: str


Part = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


class FunctionCall(msgspec.Struct, frozen=True):
    """``arguments`` is JSON text, as the model wrote it: it may not parse."""

    name: str
    arguments: str = "{}"


class ToolCall(msgspec.Struct, frozen=True):
    id: str
    function: FunctionCall | None = None
    type: str = "function"
    custom: dict[str, Any] | None = None


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    role: Role
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None

    def text(self) -> str:
        """The message's text parts, joined; "" where it has none."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class FunctionSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """``parameters`` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str = "function"
    function: FunctionSpec | None = None
    custom: dict[str, Any] | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat completion that a client wants. ``None`` means "the client did not say".

    ``max_tokens`` counts answer tokens (both of OpenAI's names end here); ``temperature`` is 0…2;
    ``needs`` holds the capabilities that a model must have to serve it; ``privacy`` is how far it wants to
    travel at the most, and ``key_privacy`` how far its API key lets it; ``explain`` asks for the decision, too.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    stream: bool = False
    include_usage: bool = False
    needs: frozenset[str] = frozenset()
    privacy: Literal["local", "lan", "any"] = "any"
    key_privacy: Literal["local", "lan", "any"] = "any"
    explain: bool = False
    body: dict[str, Any] = {}
