"""Says in words what a key may hold, with its unit, and guesses what a wrong value was meant to be. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

UNITS: Final = {
    "check_interval": "seconds",
    "max_body_bytes": "bytes",
    "context": "tokens",
    "latency_threshold": "milliseconds",
    "packet_loss_threshold": "percent",
    "bandwidth_threshold": "Mbps",
    "load_threshold": "waiting processes per core",
    "threads": "threads",
    "cpu_threshold": "percent",
    "memory_threshold": "percent",
    "gpu_threshold": "percent",
    "critical_cpu": "percent",
    "critical_memory": "percent",
    "critical_gpu": "percent",
}
"""The unit of a key whose name does not end with it."""

_FACTORS: Final[dict[str, dict[str, float]]] = {
    "seconds": {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400},
    "milliseconds": {"ms": 1, "s": 1000, "sec": 1000},
    "bytes": {
        "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "k": 1024, "m": 1024**2, "g": 1024**3,
        "kib": 1024, "mib": 1024**2, "gib": 1024**3,
    },
    "percent": {"%": 1, "percent": 1},
    "Mbps": {"mbps": 1, "mbit/s": 1, "gbps": 1000, "kbps": 0.001},
    "tokens": {"k": 1024, "tokens": 1},
}  # fmt: skip
_QUANTITY: Final = re.compile(r"\s*(\d{1,12}(?:[._]\d+)?)\s*([A-Za-z%/]*)\s*")


def unit(key: str) -> str:
    """The unit of ``key``, or "" where it has none."""
    return UNITS.get(key, "") or ("seconds" if key.endswith("_seconds") else "")


def describe(key: str, kind: Any) -> str:
    """What ``key`` may hold: ``a number (seconds) above 0``, ``true or false``, ``one of …``; "" for what has parts."""
    from msgspec import inspect  # only somebody who made a mistake waits for it

    node = inspect.type_info(kind)
    if isinstance(node, inspect.UnionType):
        node = next(each for each in node.types if not isinstance(each, inspect.NoneType))
    of = f" ({unit(key)})" if unit(key) else ""
    match node:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{of}{_range(node)}"
        case inspect.FloatType():
            return f"a number{of}{_range(node)}"
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(repr(value) for value in values)}"
        case inspect.VarTupleType(item_type=inspect.StrType()):
            return 'a list of texts, such as ["a", "b"]'
        case inspect.DictType(value_type=inspect.StrType()):
            return 'a table of texts, such as { "X-Title" = "Oblix" }'
        case inspect.StrType():
            return "a text in quotes"
        case _:
            return ""


def choices(kind: Any) -> tuple[str, ...]:
    """The words that a key may hold, where it may hold only some."""
    from msgspec import inspect

    node = inspect.type_info(kind)
    return tuple(str(value) for value in node.values) if isinstance(node, inspect.LiteralType) else ()


def hint(key: str, value: Any, kind: Any) -> str:
    """``; write 30`` where the number that was meant can be told, else ""."""
    from msgspec import inspect

    node = inspect.type_info(kind)
    if isinstance(node, inspect.IntType | inspect.FloatType) and isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        if match is None:
            return ""
        number, suffix = float(match[1].replace("_", "")), match[2].lower()
        factor = 1.0 if not suffix else _FACTORS.get(unit(key), {}).get(suffix, 0.0)
        number = round(number * factor, 9)
        if not factor or (isinstance(node, inspect.IntType) and not number.is_integer()):
            return ""
        try:
            msgspec.convert(int(number) if number.is_integer() else number, kind)
        except msgspec.ValidationError:
            return ""
        return f"; write {int(number) if number.is_integer() else number}, without quotes"
    if isinstance(node, inspect.BoolType):
        meant = {"true": "true", "yes": "true", "on": "true", "1": "true"} | {
            "false": "false", "no": "false", "off": "false", "0": "false",
        }  # fmt: skip
        word = meant.get(str(value).strip().lower())
        return f"; write {word}, without quotes" if word else ""
    if isinstance(node, inspect.VarTupleType) and isinstance(value, str):
        return "; put it into brackets: [ ]"
    return ""


def _range(node: Any) -> str:
    low, over, high = node.ge, node.gt, node.le
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}" if high < 10_000 else f" from {low} to {high}"
    if over is not None and high is not None:
        return f" above {over:g}, up to {high:g}"
    if over is not None:
        return f" above {over:g}"
    return "" if low is None else f", at least {low:g}"
