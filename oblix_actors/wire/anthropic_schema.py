"""Fits a JSON schema to what Anthropic's structured outputs take. Pure.

Rules: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations. Objects must be
closed; constraints on numbers, lengths and patterns are refused. As the vendor's own libraries do, those move into the
description, where the model can still read them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_KEPT: Final = frozenset({"type", "title", "description", "enum", "const", "$ref", "required", "default"})
_NESTED: Final = ("properties", "$defs", "definitions")
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_DROPPED: Final = frozenset({"$schema", "$id", "additionalProperties", "strict"})


def fit_schema(schema: Any) -> Any:
    """``schema`` without what would be refused; the original is not changed."""
    if not isinstance(schema, dict):
        return schema
    fitted: dict[str, Any] = {}
    constraints: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            fitted[name] = value
        elif name in _NESTED and isinstance(value, dict):
            fitted[name] = {key: fit_schema(inner) for key, inner in value.items()}
        elif name == "items":
            fitted[name] = fit_schema(value)
        elif name in ("anyOf", "allOf", "oneOf") and isinstance(value, list):
            fitted["anyOf" if name == "oneOf" else name] = [fit_schema(inner) for inner in value]
        elif name not in _DROPPED:
            constraints[name] = value
    if fitted.get("type") == "object" or "properties" in fitted:
        fitted["additionalProperties"] = False
    if constraints:
        text = msgspec.json.encode(constraints).decode()
        given = fitted.get("description")
        fitted["description"] = f"{given}\n\n{text}" if isinstance(given, str) and given else text
    return fitted
