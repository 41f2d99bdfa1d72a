"""Lines out of bytes in any split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.errors import OblixError
from oblix_actors.wire.ndjson import LineDecoder


def decode(*pieces: bytes) -> list[bytes]:
    decoder = LineDecoder()
    return [line for piece in pieces for line in decoder.feed(piece)] + decoder.close()


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n\r\n\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        ('{"é":"🦉"}\n'.encode(), ['{"é":"🦉"}'.encode()]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_lines(stream: bytes, lines: list[bytes]) -> None:
    assert decode(stream) == lines
    assert decode(*[stream[at : at + 1] for at in range(len(stream))]) == lines


@given(st.lists(st.sampled_from([b"{}", b"\n", b"\r\n", b" ", b"[1]", b"\xc3"])), st.integers(1, 5))
def test_the_split_does_not_matter(tokens: list[bytes], size: int) -> None:
    stream = b"".join(tokens)
    assert decode(*[stream[at : at + size] for at in range(0, len(stream), size)]) == decode(stream)


def test_close_forgets() -> None:
    decoder = LineDecoder()
    decoder.feed(b"half")
    assert decoder.close() == [b"half"]
    assert decoder.close() == []


@pytest.mark.parametrize("size", [1, 7, 4000])
def test_a_line_is_bounded(size: int) -> None:
    decoder = LineDecoder(limit=1000)
    stream = b"[]\n" + b"x" * 2000
    with pytest.raises(OblixError, match="longer than 1000") as caught:
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
    assert caught.value.code == "upstream_malformed"
