"""What a client may ask of us beside OpenAI's fields: the body's ``oblix`` object, and the ``x-oblix-*`` headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import Privacy
from oblix_actors.core.privacy import FIELD, asked_for
from oblix_actors.core.what_if import WhatIf
from oblix_actors.errors import OblixError

KNOWN: Final = ("privacy", "explain", "what_if", "max_cost")
MOST_COST: Final = 1_000_000.0
"""US dollars: whoever allows more for one answer means no limit at all."""
_YES: Final = ("1", "true", "yes")
_NO: Final = ("", "0", "false", "no")


def with_options(chat: ChatRequest, header: Callable[[str], str | None], key: Privacy) -> ChatRequest:
    """``chat`` with its fence, which its ``key`` may narrow, and its wish to be explained.

    ``header`` gives the value of a request header. Raises ``invalid_request`` for what cannot be meant.
    """
    options = _options(chat)
    for name in options:
        if name not in KNOWN:
            raise _invalid(FIELD, f"has no option {name[:60]!r}; there are {', '.join(KNOWN)}")
    cost = options.get("max_cost")
    if cost is not None and (isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= MOST_COST):
        raise _invalid("oblix.max_cost", f"must be a number of US dollars from 0 to {MOST_COST:.0f}")
    privacy = asked_for(chat, header("x-oblix-privacy"))
    explain = _flag(options, "explain") or _explain(header("x-oblix-explain"))
    if privacy == key == "any" and not explain:
        return chat
    return msgspec.structs.replace(chat, privacy=privacy, key_privacy=key, explain=explain)


def what_if(chat: ChatRequest) -> WhatIf | None:
    """``oblix.what_if``, if there is one. Raises ``invalid_request`` with the field at fault as ``param``."""
    given = _options(chat).get("what_if")
    if given is None:
        return None
    try:
        return msgspec.convert(given, WhatIf)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise _invalid("oblix.what_if" + place.rstrip("`"), f"cannot be supposed: {reason}") from None


def refuse_what_if(chat: ChatRequest) -> None:
    """A model answers in the world as it is: raises ``invalid_request`` for ``oblix.what_if``."""
    if _options(chat).get("what_if") is not None:
        raise _invalid("oblix.what_if", "is for POST /v1/route, where nothing is generated")


def _options(chat: ChatRequest) -> dict[str, Any]:
    options = chat.body.get(FIELD)
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise _invalid(FIELD, "must be an object")
    return options


def _flag(options: dict[str, Any], name: str) -> bool:
    value = options.get(name)
    if value is not None and not isinstance(value, bool):
        raise _invalid(f"oblix.{name}", "must be true or false")
    return value is True


def _explain(value: str | None) -> bool:
    word = (value or "").strip().lower()
    if word not in (*_YES, *_NO):
        raise _invalid("x-oblix-explain", "must be 1 or 0")
    return word in _YES


def _invalid(param: str, reason: str) -> OblixError:
    return OblixError("invalid_request", f"{param} {reason}", param=param)
