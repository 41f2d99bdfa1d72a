"""Decompresses answers in bounded pieces, so that no "bomb" of a few kilobytes becomes gigabytes of memory."""

from __future__ import annotations

import zlib
from typing import Final

from oblix_actors.errors import OblixError

PIECE: Final = 256 * 1024
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
"""zlib tells the two formats apart by itself."""


class Inflater:
    """:meth:`feed` it compressed bytes, then :meth:`take` until it gives b""."""

    __slots__ = ("_pending", "_zlib")

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._pending = b""

    @classmethod
    def for_encoding(cls, encoding: str) -> Inflater | None:
        """The one for a ``content-encoding``, ``None`` for none. Raises ``upstream_malformed`` for an unknown one."""
        name = encoding.strip().lower()
        if name in ("", "identity"):
            return None
        if name in ("gzip", "x-gzip", "deflate"):
            return cls()
        raise OblixError("upstream_malformed", "the upstream compresses its answer in a way that was not asked for")

    def feed(self, data: bytes) -> None:
        """Take in what arrived."""
        self._pending = self._pending + data if self._pending else data

    def take(self) -> bytes:
        """The next piece, at most :data:`PIECE` bytes; b"" when more must be fed first."""
        try:
            while self._pending:
                piece = self._zlib.decompress(self._pending, PIECE)
                if self._zlib.eof:
                    self._pending = self._zlib.unused_data  # gzip files may be chained
                    self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
                else:
                    self._pending = self._zlib.unconsumed_tail
                if piece:
                    return piece
        except zlib.error:
            raise OblixError("upstream_malformed", "the upstream's compressed answer does not decompress") from None
        return b""
