"""Writes the first part of a GGUF file: enough for everything that reads its metadata, too little to load."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def gguf(values: Mapping[str, object], *, version: int = 3) -> bytes:
    """A header with ``values``: texts, whole numbers (as uint32), and lists of texts or of whole numbers."""
    pairs = b"".join(_text(key) + _value(value) for key, value in values.items())
    return struct.pack("<4sIQQ", b"GGUF", version, 0, len(values)) + pairs


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    assert isinstance(value, list)
    if all(isinstance(item, str) for item in value):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
