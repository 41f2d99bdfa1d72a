"""What was said: folds the events of a job into the whole answer, and counts its tokens.

The answer's shape is OpenAI's ``chat.completion`` object
(https://platform.openai.com/docs/api-reference/chat/object). Pure.
"""

from __future__ import annotations

from typing import Any, Final

from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Batch, Delta, Served, ToolCallDelta, Usage
from oblix_actors.core.tokens import Costs, estimate_prompt_tokens
from oblix_actors.errors import OblixError

MAX_CHARACTERS: Final = 64 * 1024 * 1024
"""Of one answer, all its choices: an upstream that never stops must not take the memory."""

IMAGE_TOKENS: Final = 765
"""What OpenAI counts for an image of 1024 × 1024 at high detail; others are in the same range."""
AUDIO_TOKENS: Final = 500
FILE_TOKENS: Final = 2000
MESSAGE_TOKENS: Final = 4
"""What a chat template adds around a message."""


def estimate_tokens(text: str) -> int:
    """Tokens of ``text``, roughly: four UTF-8 bytes each, which is near for English, code and CJK alike."""
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4


ROUGH: Final = Costs(estimate_tokens, MESSAGE_TOKENS, 0, IMAGE_TOKENS, AUDIO_TOKENS, FILE_TOKENS)


def estimate_prompt(request: ChatRequest) -> int:
    """Tokens of the whole prompt, roughly: messages, attachments and tool definitions."""
    return estimate_prompt_tokens(request, ROUGH)


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's ``usage`` object. The upstream's own goes on as it came; an estimate says ``"estimated": true``."""
    body: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    if usage.raw is not None:
        body.update({name: value for name, value in usage.raw.items() if value is not None})
    if usage.estimated:
        body["estimated"] = True
    return body


class _Call:
    __slots__ = ("arguments", "id", "name", "type")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.type = "function"
        self.arguments: list[str] = []

    def body(self) -> dict[str, Any]:
        arguments = "".join(self.arguments)
        if self.type == "custom":
            return {"id": self.id, "type": "custom", "custom": {"name": self.name, "input": arguments}}
        return {"id": self.id, "type": self.type, "function": {"name": self.name, "arguments": arguments}}


class _Choice:
    __slots__ = ("calls", "extra", "finish", "logprobs", "reasoning", "refusal", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, _Call] = {}
        self.logprobs: list[Any] = []
        self.extra: list[dict[str, Any]] = []
        self.finish: str | None = None

    def add(self, delta: Delta) -> None:
        if delta.text:
            self.text.append(delta.text)
        if delta.reasoning:
            self.reasoning.append(delta.reasoning)
        if delta.refusal:
            self.refusal.append(delta.refusal)
        for piece in delta.tool_calls:
            self._add_call(piece)
        if delta.logprobs is not None:
            self.logprobs.append(delta.logprobs)
        if delta.extra:
            self.extra.append(delta.extra)
        if delta.finish is not None:
            self.finish = delta.finish

    def _add_call(self, piece: ToolCallDelta) -> None:
        call = self.calls.get(piece.index)
        if call is None:
            call = self.calls[piece.index] = _Call()
            call.type = piece.type
        call.id = call.id or piece.id or ""
        call.name = call.name or piece.name or ""
        if piece.arguments:
            call.arguments.append(piece.arguments)

    def body(self, index: int) -> dict[str, Any]:
        text = "".join(self.text)
        message: dict[str, Any] = {
            **(merge(self.extra) or {}),
            "role": "assistant",
            "content": text if text or not (self.calls or self.refusal) else None,
            "refusal": "".join(self.refusal) or None,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = [call.body() for _, call in sorted(self.calls.items())]
        finish = self.finish or ("tool_calls" if self.calls else "stop")
        return {"index": index, "message": message, "logprobs": merge(self.logprobs), "finish_reason": finish}


class Transcript:
    """One job's answer as it grows.

    :meth:`add` each batch that the job gives; :meth:`completion` is the whole answer as an OpenAI object.
    ``served`` is who answered last; ``deltas`` counts the pieces with content.
    """

    def __init__(self, *, limit: int = MAX_CHARACTERS) -> None:
        self.served: Served | None = None
        self.deltas = 0
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._room = limit
        self._limit = limit

    def add(self, batch: Batch) -> None:
        """Take in one batch. Raises ``upstream_malformed`` when the answer grows beyond the limit."""
        for event in batch:
            if isinstance(event, Delta):
                choice = self._choices.get(event.index)
                if choice is None:
                    choice = self._choices[event.index] = _Choice()
                choice.add(event)
                if event.has_content():
                    self.deltas += 1
                    self._room -= len(event.text) + len(event.reasoning) + 64
                    for piece in event.tool_calls:
                        self._room -= len(piece.arguments)
            elif isinstance(event, Usage):
                self._usage = event
            else:
                self.served = event
        if self._room < 0:
            raise OblixError("upstream_malformed", f"the answer is longer than {self._limit} characters")

    def text(self, index: int = 0) -> str:
        """The text of choice ``index`` so far."""
        choice = self._choices.get(index)
        return "" if choice is None else "".join(choice.text)

    def finish(self, index: int = 0) -> str | None:
        """The finish reason of choice ``index``, once it has one."""
        choice = self._choices.get(index)
        return None if choice is None else choice.finish

    def usage(self, request: ChatRequest) -> Usage:
        """The tokens: what the upstream said, else an estimate that is marked as one."""
        if self._usage is not None:
            return self._usage
        reasoning = sum(estimate_tokens("".join(choice.reasoning)) for choice in self._choices.values())
        output = reasoning
        for choice in self._choices.values():
            output += estimate_tokens("".join(choice.text)) + estimate_tokens("".join(choice.refusal))
            for call in choice.calls.values():
                output += estimate_tokens(call.name) + estimate_tokens("".join(call.arguments))
        return Usage(estimate_prompt(request), output, reasoning_tokens=reasoning, estimated=True)

    def completion(
        self, request: ChatRequest, *, job_id: str, created: int, model: str | None = None
    ) -> dict[str, Any]:
        """The ``chat.completion`` object. ``model`` defaults to who served it, else to what was asked for."""
        name = model or (self.served.name if self.served is not None else request.model)
        choices = [choice.body(index) for index, choice in sorted(self._choices.items())] or [_Choice().body(0)]
        return {
            "id": job_id,
            "object": "chat.completion",
            "created": created,
            "model": name,
            "choices": choices,
            "usage": usage_object(self.usage(request)),
        }


_NAMED_AGAIN: Final = frozenset({"id", "index", "type", "format", "signature", "expires_at"})
"""Fields that later pieces name again, and do not continue."""


def merge(pieces: list[Any]) -> Any:
    """Fold the pieces of an unknown field into one value.

    Text is joined, lists are chained (their entries with the same ``index`` are one), objects are merged by field;
    of anything else the last piece counts. The pieces are not changed.
    """
    given = [piece for piece in pieces if piece is not None]
    if len(given) < 2:
        return given[0] if given else None
    if all(isinstance(piece, str) for piece in given):
        return "".join(given)
    if all(isinstance(piece, list) for piece in given):
        return _merge_entries([entry for piece in given for entry in piece])
    if all(isinstance(piece, dict) for piece in given):
        fields: dict[str, list[Any]] = {}
        for piece in given:
            for name, value in piece.items():
                fields.setdefault(name, []).append(value)
        return {name: values[-1] if name in _NAMED_AGAIN else merge(values) for name, values in fields.items()}
    return given[-1]


def _merge_entries(entries: list[Any]) -> list[Any]:
    slots: list[list[Any]] = []
    by_index: dict[int, list[Any]] = {}
    for entry in entries:
        index = entry.get("index") if isinstance(entry, dict) else None
        if isinstance(index, int) and index in by_index:
            by_index[index].append(entry)
            continue
        slot = [entry]
        slots.append(slot)
        if isinstance(index, int):
            by_index[index] = slot
    return [merge(slot) for slot in slots]
