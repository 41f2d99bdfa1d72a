"""``data:`` URLs (RFC 2397): what clients put images and files into. Pure."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

import msgspec


class Media(msgspec.Struct, frozen=True):
    """``kind`` is the media type in lower case, without parameters; ``data`` is base64."""

    kind: str
    data: str


def read_data_url(url: str) -> Media | None:
    """The content of a ``data:`` URL, or ``None`` for any other URL, and for one without a comma."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    if not comma:
        return None
    kind, *parameters = [word.strip().lower() for word in head.split(";")]
    data = "".join(data.split()) if "base64" in parameters else base64.b64encode(unquote_to_bytes(data)).decode()
    return Media(kind or "text/plain", data)
