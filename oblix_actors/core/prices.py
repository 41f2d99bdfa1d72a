"""Default prices: a small dated table. Pure.

US dollars per million tokens as the providers published them by the end of 2025; `prices` in the config
replaces them, model by model. A local model costs nothing.
"""

from __future__ import annotations

from typing import Final

from oblix_actors.core.catalogue import Kind, Locality
from oblix_actors.core.decision import Price

OPENAI: Final = {
    "gpt-5-nano": Price(0.05, 0.4),
    "gpt-5-mini": Price(0.25, 2.0),
    "gpt-5": Price(1.25, 10.0),
    "gpt-4.1-nano": Price(0.1, 0.4),
    "gpt-4.1-mini": Price(0.4, 1.6),
    "gpt-4.1": Price(2.0, 8.0),
    "gpt-4o-mini": Price(0.15, 0.6),
    "gpt-4o": Price(2.5, 10.0),
}
ANTHROPIC: Final = {
    "claude-haiku-4-5": Price(1.0, 5.0),
    "claude-sonnet-4-5": Price(3.0, 15.0),
    "claude-sonnet-4": Price(3.0, 15.0),
    "claude-opus-4-5": Price(5.0, 25.0),
    "claude-opus-4": Price(15.0, 75.0),
    "claude-3-5-haiku": Price(0.8, 4.0),
}
UNKNOWN_CLOUD: Final = Price(3.0, 15.0)
"""What a cloud's model is taken to cost when nobody says: dear enough that `auto:cheap` does not fall for it."""


def default_price(kind: Kind, locality: Locality, model: str) -> Price:
    """What ``model`` costs as far as the table knows: the entry with the longest name that its name begins with."""
    if locality != "cloud":
        return Price()
    table = {"openai": OPENAI, "anthropic": ANTHROPIC}.get(kind, {})
    known = [name for name in table if model == name or model.startswith(name + "-")]
    return table[max(known, key=len)] if known else UNKNOWN_CLOUD
