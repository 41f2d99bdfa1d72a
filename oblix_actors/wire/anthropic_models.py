"""Anthropic's list of models, and what each generation of them accepts in a request. Pure.

API: https://docs.anthropic.com/en/api/models-list. What was true of one Claude is an error for the next: manual
thinking budgets, temperature, a prefilled answer, forced tool calls
(https://platform.claude.com/docs/en/about-claude/models/migration-guide). The list tells most of it; for a server that
does not (and for models that are only named in the configuration) the name has to.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec

from oblix_actors.core import chat
from oblix_actors.core.catalogue import Model
from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext

MAX_ID: Final = 512
_MOST_TOKENS: Final = 1_000_000_000
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")

Thinking = Literal["none", "manual", "adaptive", "always"]
"""``none``: the model cannot. ``manual``: with a budget of tokens. ``adaptive``: as it sees fit, can be turned off.
``always``: adaptive, and cannot be turned off; such a model refuses forced tool calls, too."""


class Traits(msgspec.Struct, frozen=True):
    """What a model accepts. ``max_output`` is the most tokens an answer may have; ``sampling``: temperature and top_p;
    ``structured``: a JSON schema for the answer; ``efforts``: the levels of ``output_config.effort``."""

    thinking: Thinking
    max_output: int
    sampling: bool
    structured: bool
    efforts: frozenset[str] = frozenset()
    images: bool = True
    files: bool = True

    @property
    def prefill(self) -> bool:
        """Whether the last message may be the beginning of the answer: no adaptive model takes it."""
        return self.thinking in ("none", "manual")


class Listing(msgspec.Struct, frozen=True):
    """One page of the list. ``next_after`` is the ``after_id`` of the next page, ``None`` at the end."""

    models: tuple[Model, ...]
    traits: dict[str, Traits]
    next_after: str | None = None


_LEVELS: Final = frozenset({"low", "medium", "high"})
_BY_NAME: Final[tuple[tuple[re.Pattern[str], Traits], ...]] = tuple(
    (re.compile(pattern), traits)
    for pattern, traits in (
        (r"claude-3-7-", Traits("manual", 64_000, True, False)),
        (r"claude-3-5-", Traits("none", 8192, True, False)),
        (r"claude-(instant|2|3)", Traits("none", 4096, True, False, files=False)),
        (r"claude-(opus|sonnet|haiku)-4-5", Traits("manual", 64_000, True, True)),
        (r"claude-(opus|sonnet)-4(-[01])?(-20\d{6})?(-latest)?$", Traits("manual", 32_000, True, False)),
        (r"claude-(opus|sonnet)-4-6", Traits("adaptive", 64_000, True, True, _LEVELS)),
        (r"claude-(fable|mythos)|claude-opus-5-5", Traits("always", 128_000, False, True, _LEVELS)),
        (r"claude-", Traits("adaptive", 64_000, False, True, _LEVELS)),
    )
)
_COMPATIBLE: Final = Traits("manual", 8192, True, False, files=False)
"""Other vendors' models behind the same API: what the oldest form of it has."""


def guess_traits(model: str) -> Traits:
    """What ``model`` accepts, by its name."""
    return next((traits for pattern, traits in _BY_NAME if pattern.match(model)), _COMPATIBLE)


def capabilities(traits: Traits) -> frozenset[str]:
    """What a model can do, in our words. Never log-probabilities, several choices or audio: the API has none."""
    able = {chat.TOOLS}
    if traits.images:
        able.add(chat.IMAGES)
    if traits.files:
        able.add(chat.FILES)
    if traits.structured or traits.thinking != "always":
        able.add(chat.JSON_SCHEMA)
    if traits.thinking != "always":
        able.add(chat.JSON_OBJECT)  # by a forced tool call
    return frozenset(able)


def parse_models(body: bytes) -> Listing:
    """One page of ``GET /v1/models``. Raises ``upstream_malformed`` when it is not such a list."""
    try:
        value = jsontext.loads(body)
    except jsontext.NotJSON:
        raise OblixError("upstream_malformed", "the list of models is not JSON") from None
    entries = value.get("data") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise OblixError(
            "upstream_malformed", "the list of models does not look like Anthropic's: it has no data array"
        )
    models: dict[str, Model] = {}
    traits: dict[str, Traits] = {}
    for entry in entries:
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID or entry.get("lifecycle") == "retired":
            continue
        traits[name] = known = _traits(name, entry)
        models[name] = Model(name, capabilities=capabilities(known), context=_tokens(entry.get("max_input_tokens")))
    last = value.get("last_id")
    more = value.get("has_more") is True and isinstance(last, str) and last
    return Listing(tuple(models.values()), traits, last if more else None)


def _traits(name: str, entry: dict[str, Any]) -> Traits:
    guess = guess_traits(name)
    most = _tokens(entry.get("max_tokens")) or guess.max_output
    given = entry.get("capabilities")
    thinking = given.get("thinking") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(thinking, dict):
        return msgspec.structs.replace(guess, max_output=most)
    types = thinking.get("types")
    types = types if isinstance(types, dict) else {}
    manual = _supported(types, "enabled")
    mode: Thinking = "manual" if manual else "none"
    if _supported(types, "adaptive"):
        mode = "adaptive" if _supported(types, "disabled", unless_given=True) else "always"
    efforts = given.get("effort")
    efforts = efforts if isinstance(efforts, dict) and _supported(given, "effort") else {}
    return Traits(
        mode,
        most,
        # The generation that lost manual budgets lost temperature and top_p with them.
        sampling=manual or mode == "none",
        structured=_supported(given, "structured_outputs"),
        efforts=frozenset(level for level in _EFFORTS if _supported(efforts, level)),
        images=_supported(given, "image_input", unless_given=True),
        files=_supported(given, "pdf_input", unless_given=True),
    )


def _supported(source: dict[str, Any], name: str, *, unless_given: bool = False) -> bool:
    value = source.get(name)
    if not isinstance(value, dict) or "supported" not in value:
        return unless_given
    return value["supported"] is True


def _tokens(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS else None
