"""What a client may ask of us beside OpenAI's fields: the body's ``oblix`` object, and the ``x-oblix-*`` headers."""

from __future__ import annotations

from typing import Any

import msgspec

from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import Privacy
from oblix_actors.core.privacy import FIELD, asked_for
from oblix_actors.core.what_if import WhatIf
from oblix_actors.errors import OblixError
from oblix_actors.front.request import FrontRequest

KNOWN = ("privacy", "explain", "what_if", "max_cost", "continue")


def with_options(chat: ChatRequest, request: FrontRequest, key: Privacy) -> ChatRequest:
    """``chat`` with its fence, which its ``key`` may narrow, and its wish to be explained.

    Raises ``invalid_request`` for what cannot be meant.
    """
    options = chat.body.get(FIELD, {})
    if not isinstance(options, dict):
        raise OblixError("invalid_request", "oblix must be an object", param=FIELD)
    for name in options:
        if name not in KNOWN:
            raise OblixError(
                "invalid_request", f"oblix.{name[:60]} is not an option; there are {', '.join(KNOWN)}", param=FIELD
            )
    _check(options, "max_cost", float, "a number of US dollars")
    privacy = asked_for(chat, request.headers.get("x-oblix-privacy"))
    explain = _check(options, "explain", bool, "true or false")
    explain = explain or request.headers.get("x-oblix-explain", "").lower() in {"1", "true", "yes"}
    if privacy == key == "any" and not explain:
        return chat
    return msgspec.structs.replace(chat, privacy=privacy, key_privacy=key, explain=explain)


def what_if(chat: ChatRequest) -> WhatIf | None:
    """``oblix.what_if``, if there is one. Raises ``invalid_request``."""
    options = chat.body.get(FIELD)
    given: Any = options.get("what_if") if isinstance(options, dict) else None
    if given is None:
        return None
    try:
        return msgspec.convert(given, WhatIf)
    except msgspec.ValidationError as error:
        raise OblixError("invalid_request", f"oblix.what_if: {error}", param="oblix.what_if") from None


def _check(options: dict[str, Any], name: str, kind: type, words: str) -> Any:
    value = options.get(name)
    if value is None:
        return None
    fits = isinstance(value, bool) if kind is bool else isinstance(value, int | float) and not isinstance(value, bool)
    if not fits:
        raise OblixError("invalid_request", f"oblix.{name} must be {words}", param=f"oblix.{name}")
    return value
