"""What a GGUF file says of its model before anything is loaded: the few facts that decide what it can be asked.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Reads the file's first part through a memory map,
and skips what it does not want. Bounded: a damaged file ends in :class:`NotGGUF`, never in a long walk.
"""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path
from typing import Final

import msgspec

MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_MAX_PAIRS: Final = 65_536
_MAX_TEXT: Final = 1024 * 1024
_STRING: Final = 8
_ARRAY: Final = 9
_FORMATS: Final = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_HEADER: Final = struct.Struct("<4sIQQ")
_LENGTH: Final = struct.Struct("<Q")
_TYPE: Final = struct.Struct("<I")
_ARRAY_HEAD: Final = struct.Struct("<IQ")
_TOOLS: Final = re.compile(r"\btools\b")


class NotGGUF(ValueError):
    """The file is no GGUF model, or a damaged one."""


class ModelFacts(msgspec.Struct, frozen=True):
    """``context`` is the tokens it was trained on; ``tools``: its chat template writes tool definitions;
    ``chat``: it generates text, rather than embeddings."""

    context: int | None = None
    tools: bool = False
    chat: bool = True


def read_facts(path: Path) -> ModelFacts:
    """The facts of the model in ``path``. Raises :class:`NotGGUF`, and ``OSError`` where it cannot be read."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise NotGGUF("the file is empty") from None
        with data:
            return facts(data)


def facts(data: mmap.mmap | bytes) -> ModelFacts:
    """As :func:`read_facts`, of bytes."""
    try:
        values = _metadata(data)
    except struct.error:
        raise NotGGUF("the file ends inside its header") from None
    architecture = values.get("general.architecture")
    template = values.get("tokenizer.chat_template")
    context = values.get(f"{architecture}.context_length")
    return ModelFacts(
        context=context if isinstance(context, int) and context > 0 else None,
        tools=isinstance(template, str) and _TOOLS.search(template) is not None,
        chat=f"{architecture}.pooling_type" not in values,
    )


def _metadata(data: mmap.mmap | bytes) -> dict[str, str | int | float]:
    """The scalar pairs and the shorter texts; arrays are skipped."""
    magic, version, _, pairs = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise NotGGUF("the file does not begin as one")
    if version not in _VERSIONS:
        raise NotGGUF(f"version {version} of the format is not known")
    if pairs > _MAX_PAIRS:
        raise NotGGUF(f"{pairs} entries cannot be")
    place = _HEADER.size
    values: dict[str, str | int | float] = {}
    for _ in range(pairs):
        key, place = _text(data, place)
        (kind,) = _TYPE.unpack_from(data, place)
        place += _TYPE.size
        if kind == _STRING:
            values[key], place = _text(data, place)
        elif kind == _ARRAY:
            place = _skip_array(data, place)
        else:
            form = _format(kind)
            (values[key],) = struct.unpack_from(form, data, place)
            place += struct.calcsize(form)
    return values


def _text(data: mmap.mmap | bytes, place: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(data, place)
    start = place + _LENGTH.size
    end = start + length
    if end > len(data):
        raise NotGGUF("a text is longer than the file")
    return data[start : min(end, start + _MAX_TEXT)].decode("utf-8", "replace"), end


def _skip_array(data: mmap.mmap | bytes, place: int) -> int:
    kind, count = _ARRAY_HEAD.unpack_from(data, place)
    place += _ARRAY_HEAD.size
    if kind == _ARRAY:
        raise NotGGUF("it has lists inside lists")
    if kind != _STRING:
        return _within(data, place + count * struct.calcsize(_format(kind)))
    unpack = _LENGTH.unpack_from
    size = _LENGTH.size
    for _ in range(count):  # each step moves on by 8 bytes at least: the file's length bounds it
        place += size + unpack(data, place)[0]
    return _within(data, place)


def _within(data: mmap.mmap | bytes, place: int) -> int:
    if place > len(data):
        raise NotGGUF("a list is longer than the file")
    return place


def _format(kind: int) -> str:
    form = _FORMATS.get(kind)
    if form is None:
        raise NotGGUF(f"type {kind} of the format is not known")
    return form
