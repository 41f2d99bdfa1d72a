"""Newline-delimited JSON (https://github.com/ndjson/ndjson-spec): bytes in any split to complete lines. Pure."""

from __future__ import annotations

from typing import Final

from oblix_actors.errors import OblixError

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""As for an event of a stream: an image as base64 fits, nothing sane is larger."""


class LineDecoder:
    """Feed it what arrives; it gives back complete lines without their ends, blank ones left out."""

    __slots__ = ("_limit", "_partial", "_size")

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._partial: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes. Raises ``upstream_malformed`` when a line grows beyond the limit."""
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._partial:
            data = b"".join(self._partial) + data
            self._partial.clear()
            self._size = 0
        lines = data.split(b"\n")
        self._hold(lines.pop())
        return [text for line in lines if (text := line.strip())]

    def close(self) -> list[bytes]:
        """The stream is over: the last line, where its newline is missing (cut or not, its JSON tells)."""
        line = b"".join(self._partial).strip()
        self._partial.clear()
        self._size = 0
        return [line] if line else []

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._partial.append(rest)
            self._size += len(rest)
        if self._size > self._limit:
            raise OblixError("upstream_malformed", f"a line of the stream is longer than {self._limit} bytes")
