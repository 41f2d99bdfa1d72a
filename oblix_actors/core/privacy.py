"""The privacy fence: how far a request may travel, from everything that has a say in it. Pure.

A fence only ever gets narrower. It is decided once per request, and it is asserted again on every single
attempt (:func:`assert_inside`), so that no failover, hedge or retry can leave it by any mistake elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from oblix_actors.core.catalogue import Locality
from oblix_actors.core.chat import ChatRequest, FilePart, ImagePart, Message
from oblix_actors.core.decision import Privacy, may_go, stricter
from oblix_actors.errors import OblixError

FIELD: Final = "oblix"
_LEVELS: Final[dict[str, Privacy]] = {"local": "local", "lan": "lan", "any": "any"}


class Rule(NamedTuple):
    """Text that matches ``pattern`` stays within ``privacy``; ``name`` is what a person calls the rule."""

    name: str
    pattern: re.Pattern[str]
    privacy: Privacy


class Fence(msgspec.Struct, frozen=True):
    """How far, and who says so. ``marks``: the conversation's digests to remember as ``mark``, where a rule matched."""

    privacy: Privacy = "any"
    reason: str = "no rule restricts it"
    marks: tuple[bytes, ...] = ()
    mark: Privacy = "any"


def digests(messages: Iterable[Message]) -> tuple[bytes, ...]:
    """A digest of every prefix of a conversation, shortest first: 16 bytes each."""
    running = blake2b(digest_size=16)
    found = []
    for message in messages:
        running.update(msgspec.json.encode((message.role, message.content, message.tool_calls, message.tool_call_id)))
        running.update(b"\x1e")
        found.append(running.digest())
    return tuple(found)


def asked_for(request: ChatRequest, header: str | None) -> Privacy:
    """What the request itself asks for: ``oblix.privacy`` in the body, or the header; the narrower of the two.

    Raises ``invalid_request`` for a word that is no level: a fence that is misspelt must not be an open door.
    """
    options = request.body.get(FIELD)
    field = options.get("privacy") if isinstance(options, dict) else None
    found: Privacy = "any"
    for value, param in ((field, "oblix.privacy"), (header, "x-oblix-privacy")):
        if value is None:
            continue
        level = _LEVELS.get(value) if isinstance(value, str) else None
        if level is None:
            raise OblixError("invalid_request", f"{param} must be 'local', 'lan' or 'any'", param=param)
        found = stricter(found, level)
    return found


def fence(
    messages: tuple[Message, ...],
    *,
    asked: Privacy,
    key: Privacy,
    wish: Privacy,
    rules: tuple[Rule, ...],
    marked: Privacy | None,
) -> Fence:
    """The narrowest of: what the request asks for, its API key's level, its virtual model's, what rules find in any
    message, and what this conversation was ``marked`` with before."""
    privacy: Privacy = "any"
    reason = "no rule restricts it"
    marks: tuple[bytes, ...] = ()
    for level, why in (
        (asked, "the request asks for it"),
        (key, "its API key is bound to it"),
        (wish, "its virtual model is bound to it"),
        (marked or "any", "this conversation was marked before"),
    ):
        if stricter(privacy, level) != privacy:
            privacy, reason = level, why
    mark: Privacy = "any"
    for index, message in enumerate(messages if rules else ()):
        for rule in rules:
            if any(rule.pattern.search(text) for text in texts(message)):
                # Short beginnings are shared by strangers' conversations: marked is what holds the first match itself.
                marks = marks or digests(messages)[index:]
                mark = stricter(mark, rule.privacy)
                if stricter(privacy, rule.privacy) != privacy:
                    privacy, reason = rule.privacy, f"rule {rule.name!r} matches message {index}"
    return Fence(privacy, reason, marks, mark)


def texts(message: Message) -> Iterable[str]:
    """Everything in a message that a pattern can match: text, tool arguments, names, links and files."""
    if isinstance(message.content, str):
        yield message.content
    elif message.content is not None:
        yield message.text()
        for part in message.content:
            if isinstance(part, ImagePart):
                yield part.image_url.url[:2048]
            elif isinstance(part, FilePart):
                yield str(part.file.get("filename", ""))
    for call in message.tool_calls or ():
        if call.function is not None:
            yield call.function.arguments
    for text in (message.reasoning_content, message.refusal, message.name):
        if text:
            yield text


def assert_inside(privacy: Privacy, locality: Locality) -> None:
    """The last word before an attempt: raises when it would leave the fence."""
    if not may_go(privacy, locality):
        raise OblixError(
            "internal", f"an attempt on a {locality} provider would leave the privacy fence {privacy!r}; it was stopped"
        )
