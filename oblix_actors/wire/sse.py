"""Server-sent events: bytes in any split to events, and events to bytes.

The format is WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream):
lines end in LF, CRLF or CR; ``data`` lines of one event are joined by LF; a line that begins with a colon is
a comment; a blank line ends the event. Pure. Everything stays bytes, so a character that is split
between two reads needs no care.

Two liberties, because upstreams take them: a field ``error`` (old llama.cpp servers) is read as ``data`` of an
event named ``error``, and :meth:`SSEDecoder.close` hands out an event whose blank line is missing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from oblix_actors.errors import OblixError

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""Models that draw send an image as base64 in one event; nothing sane is larger."""

DONE: Final = b"data: [DONE]\n\n"
_BOM: Final = b"\xef\xbb\xbf"


class SSEEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: ``data`` with its lines joined by LF; ``event`` is its name, "" where it has none."""

    data: bytes
    event: str = ""


class SSEDecoder:
    """Feed it what arrives; it gives back the events that are complete. ``limit`` bounds one event, in bytes."""

    __slots__ = ("_event", "_limit", "_lines", "_partial", "_partial_size", "_size", "_skip_lf", "_start")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._start: bytes | None = b""
        """The first bytes, held until they can be told from a byte order mark; ``None`` afterwards."""
        self._skip_lf = False
        self._partial: list[bytes] = []
        self._partial_size = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._event = ""

    def feed(self, data: bytes) -> list[SSEEvent]:
        """The events that ``data`` completes. Raises ``upstream_malformed`` when an event grows beyond the limit."""
        if self._start is not None:
            data = self._strip_mark(data)
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._skip_lf = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._partial:
            data = b"".join(self._partial) + data
            self._partial.clear()
        self._partial_size = 0
        events: list[SSEEvent] = []
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        for block in blocks:
            if block[:6] == b"data: " and b"\n" not in block and not self._lines and not self._event:
                events.append(SSEEvent(block[6:]))  # what nearly every event is
            else:
                for line in block.split(b"\n"):
                    self._line(line, events)
                self._end_event(events)
        *lines, rest = rest.split(b"\n")
        for line in lines:
            self._line(line, events)
        self._hold(rest)
        return events

    def close(self) -> list[SSEEvent]:
        """The stream is over: what was still pending, were it cut in the middle or not (the caller can tell)."""
        events: list[SSEEvent] = []
        if self._start:
            self._hold(self._start)
        self._start = None
        if self._partial:
            line = b"".join(self._partial)
            self._partial.clear()
            self._line(line, events)
        self._end_event(events)
        return events

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._partial.append(rest)
            self._partial_size += len(rest)
        if self._size + self._partial_size > self._limit:
            raise OblixError("upstream_malformed", f"an event of the stream is larger than {self._limit} bytes")

    def _end_event(self, events: list[SSEEvent]) -> None:
        lines = self._lines
        if lines:
            events.append(SSEEvent(lines[0] if len(lines) == 1 else b"\n".join(lines), self._event))
            self._lines = []
            self._size = 0
        self._event = ""

    def _line(self, line: bytes, events: list[SSEEvent]) -> None:
        if not line:
            self._end_event(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._lines.append(value)
            self._size += len(line)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"error":
            self._event = "error"
            self._lines.append(value)
            self._size += len(line)
        # Comments, id, retry and unknown fields mean nothing to us.

    def _strip_mark(self, data: bytes) -> bytes:
        held = (self._start or b"") + data
        if len(held) < len(_BOM) and _BOM.startswith(held):
            self._start = held
            return b""
        self._start = None
        return held.removeprefix(_BOM)


def encode_event(data: bytes, event: str | None = None) -> bytes:
    """One event's bytes. ``data`` may have lines; ``event`` is its name."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    if b"\n" in data or b"\r" in data:
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        return name + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
    return name + b"data: " + data + b"\n\n"


def encode_comment(text: str = "") -> bytes:
    """A comment: clients ignore it, proxies and idle connections are kept alive by it."""
    return b": " + " ".join(text.split()).encode() + b"\n\n" if text else b":\n\n"
