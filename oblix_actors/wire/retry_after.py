"""How long an upstream asks to be left alone: from the headers that vendors use, or from its own words. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

LONGEST: Final = 86_400.0
"""Seconds: who asks for more is believed for a day."""

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_IN_WORDS: Final = re.compile(r"(?i)(?:try again|retry) in ((?:\d+(?:\.\d+)?(?:d|h|ms|m|s))+)")
_LIMITS: Final = ("requests", "tokens")


def retry_after(headers: Mapping[str, str], text: str = "", now: float | None = None) -> float | None:
    """Seconds, or ``None`` where nothing tells. ``headers`` have lower-case names; ``now`` is Unix seconds.

    In this order: ``retry-after-ms``, ``retry-after`` (seconds or an HTTP date), the resets of the limits that are
    used up (``x-ratelimit-reset-*`` of OpenAI and Groq, ``x-ratelimit-reset`` of others), and "try again in 1.2s" in
    ``text``.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _clamp(milliseconds / 1000)
    given = headers.get("retry-after")
    if given is not None:
        seconds = _number(given)
        seconds = _date(given, now) if seconds is None else seconds
        if seconds is not None:
            return _clamp(seconds)
    reset = _reset(headers, now)
    if reset is not None:
        return _clamp(reset)
    words = _IN_WORDS.search(text)
    seconds = _duration(words.group(1)) if words else None
    return None if seconds is None else _clamp(seconds)


def _reset(headers: Mapping[str, str], now: float | None) -> float | None:
    """When the limit that is used up comes back; where no header says which it is, the one that comes back first."""
    used_up: list[float] = []
    others: list[float] = []
    for limit in _LIMITS:
        seconds = _when(headers.get(f"x-ratelimit-reset-{limit}"), now)
        if seconds is not None:
            gone = _number(headers.get(f"x-ratelimit-remaining-{limit}")) == 0
            (used_up if gone else others).append(seconds)
    if used_up:
        return max(used_up)
    if others:
        return min(others)
    return _when(headers.get("x-ratelimit-reset"), now)


def _when(value: str | None, now: float | None) -> float | None:
    """A duration such as ``6m0s``, or a number: seconds, Unix seconds or Unix milliseconds, by its size."""
    if value is None:
        return None
    number = _number(value)
    if number is None:
        return _duration(value)
    if number < 1e9:
        return number
    if now is None:
        return None
    return (number / 1000 if number >= 1e12 else number) - now


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + milliseconds / 1000


def _date(text: str, now: float | None) -> float | None:
    if now is None:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST)
