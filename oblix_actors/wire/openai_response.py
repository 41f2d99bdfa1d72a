"""Writes a streamed answer as OpenAI's ``chat.completion.chunk`` events.

Format: https://platform.openai.com/docs/api-reference/chat/streaming. Pure. What is the same in every chunk of
a stream is encoded once.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oblix_actors.core.events import Batch, Delta, Served, ToolCallDelta, Usage
from oblix_actors.core.transcript import usage_object
from oblix_actors.errors import OblixError
from oblix_actors.wire.sse import DONE, encode_comment

_encode = msgspec.json.Encoder().encode


class ChunkEncoder:
    """Turns the batches of one job into the bytes of its SSE stream.

    ``job_id`` and ``created`` (Unix seconds) are the same in every chunk; so is ``model``, which is what the client
    asked for until the first :class:`Served` event says who answers. A later :class:`Served` (the answer is
    continued by somebody else) becomes a comment. With ``include_usage`` the stream ends with a chunk that has
    the usage and no choices, and every other chunk says ``"usage": null``, as OpenAI does.

    Call :meth:`encode` for each batch, then either :meth:`finish` or :meth:`error`, once.
    """

    def __init__(self, job_id: str, created: int, model: str, *, include_usage: bool = False) -> None:
        self._id = job_id
        self._created = created
        self._model = model
        self._include_usage = include_usage
        self._served = False
        self._usage: Usage | None = None
        self._begun: set[int] = set()
        self._frame()

    def _frame(self) -> None:
        """The bytes around the only thing that changes from token to token."""
        head = _encode(
            {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}
        )
        self._head = b"data: " + head[:-1] + b',"choices":'
        self._tail = (b',"usage":null}' if self._include_usage else b"}") + b"\n\n"
        self._text_head = self._head + b'[{"index":0,"delta":{"content":'
        self._text_tail = b'},"logprobs":null,"finish_reason":null}]' + self._tail

    def encode(self, batch: Batch) -> bytes:
        """The bytes of one batch: one write. Empty where nothing in it is for the client to see."""
        pieces: list[bytes] = []
        for event in batch:
            if isinstance(event, Delta):
                if event.text and 0 in self._begun and _only_text(event):
                    pieces += (self._text_head, _encode(event.text), self._text_tail)
                else:
                    pieces += (self._head, _encode([self._choice(event)]), self._tail)
            elif isinstance(event, Usage):
                self._usage = event
            else:
                pieces.append(self._serve(event))
        return b"".join(pieces)

    def finish(self, usage: Usage | None = None, *, oblix: dict[str, Any] | None = None) -> bytes:
        """The end of a whole answer: a chunk without choices if the client wants the usage, or is owed ``oblix`` (an
        explanation), and ``[DONE]``.

        ``usage`` stands in where the upstream gave none (see :meth:`oblix_actors.core.transcript.Transcript.usage`).
        """
        known = self._usage or usage
        shown = known if self._include_usage else None
        if shown is None and oblix is None:
            return DONE
        last = self._head + b"[]"
        if shown is not None:
            last += b',"usage":' + _encode(usage_object(shown))
        if oblix is not None:
            last += b',"oblix":' + _encode(oblix)
        return last + b"}\n\n" + DONE

    def error(self, error: OblixError) -> bytes:
        """The end of an answer that broke: one event for clients that look for ``error`` and for those that wait
        for a ``finish_reason``. No ``[DONE]``: it is not done."""
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "error"}
        return self._head + _encode([choice]) + b"," + _encode(error.body())[1:] + b"\n\n"

    def _serve(self, served: Served) -> bytes:
        if self._served:
            return encode_comment(f"continued by {served.name}")
        self._served = True
        if not self._begun:
            self._model = served.name
            self._frame()
        return b""

    def _choice(self, delta: Delta) -> dict[str, Any]:
        fields: dict[str, Any] = dict(delta.extra) if delta.extra else {}
        if delta.index not in self._begun:
            self._begun.add(delta.index)
            fields["role"] = "assistant"
            fields["content"] = None if delta.tool_calls or delta.reasoning or delta.refusal else ""
        if delta.text:
            fields["content"] = delta.text
        if delta.reasoning:
            fields["reasoning_content"] = delta.reasoning
        if delta.refusal:
            fields["refusal"] = delta.refusal
        if delta.tool_calls:
            fields["tool_calls"] = [_tool_call(piece) for piece in delta.tool_calls]
        return {"index": delta.index, "delta": fields, "logprobs": delta.logprobs, "finish_reason": delta.finish}


def _only_text(delta: Delta) -> bool:
    return not (
        delta.index
        or delta.finish
        or delta.tool_calls
        or delta.reasoning
        or delta.refusal
        or delta.extra
        or delta.logprobs is not None
    )


def _tool_call(piece: ToolCallDelta) -> dict[str, Any]:
    """OpenAI names id, type and name in a call's first piece only."""
    body: dict[str, Any] = {"index": piece.index}
    if piece.id is not None:
        body["id"] = piece.id
        body["type"] = piece.type
    custom = piece.type == "custom"
    inner: dict[str, Any] = {} if piece.name is None else {"name": piece.name}
    inner["input" if custom else "arguments"] = piece.arguments
    body["custom" if custom else "function"] = inner
    return body
