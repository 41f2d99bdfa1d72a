"""What an upstream says, in neutral form: the events a worker writes and a front end reads.

A batch is all that one upstream read gave. The end of a job is not an event in the stream: it is its
:data:`Outcome`, of which there is exactly one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from oblix_actors.errors import OblixError


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a tool call: ``id`` and ``name`` come with its first, ``arguments`` in fragments of JSON text."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    type: str = "function"


class Delta(msgspec.Struct, frozen=True):
    """A piece of choice ``index``.

    ``finish`` is OpenAI's finish reason, on the choice's last piece. ``logprobs`` and ``extra`` (unknown
    fields of the delta) are passed on as they came.
    """

    index: int = 0
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: Any = None
    extra: dict[str, Any] | None = None
    finish: str | None = None

    def has_content(self) -> bool:
        """Whether this is something a client would see: a role alone, or an empty piece, is not a first token."""
        return bool(self.text or self.reasoning or self.tool_calls or self.refusal or self.extra)


class Usage(msgspec.Struct, frozen=True):
    """Tokens. ``raw`` is the upstream's own object where it is OpenAI-shaped; ``estimated``: the upstream gave none."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    raw: dict[str, Any] | None = None
    estimated: bool = False


class Served(msgspec.Struct, frozen=True):
    """Who answers: the first event of the first batch of a job. ``reason`` is short and for people."""

    provider: str
    model: str
    reason: str

    @property
    def name(self) -> str:
        """``provider:model``."""
        return f"{self.provider}:{self.model}"


Event = Served | Delta | Usage
Batch = list[Event]


class Completed(msgspec.Struct, frozen=True):
    """The upstream finished its answer."""


class Failed(msgspec.Struct, frozen=True):
    """No answer, or only a part of one. ``error`` is what the client is told."""

    error: OblixError


class Aborted(msgspec.Struct, frozen=True):
    """The client went away, or stopped reading: nobody is there to be told. ``reason`` is for the log."""

    reason: str


Outcome = Completed | Failed | Aborted
