"""The SSE codec: any bytes in any split give the same events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.errors import OblixError
from oblix_actors.wire.sse import SSEDecoder, SSEEvent, encode_comment, encode_event


def decode(*pieces: bytes) -> list[SSEEvent]:
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [SSEEvent(b"a")]),
        (b"data:a\n\ndata:  b\n\n", [SSEEvent(b"a"), SSEEvent(b" b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [SSEEvent(b"a"), SSEEvent(b"b")]),
        (b"data: a\r\rdata: b\r\r", [SSEEvent(b"a"), SSEEvent(b"b")]),
        (b"data: a\ndata: b\ndata:\n\n", [SSEEvent(b"a\nb\n")]),
        (b"event: ping\ndata: {}\n\n", [SSEEvent(b"{}", "ping")]),
        (b"event: lost\n\ndata: a\n\n", [SSEEvent(b"a")]),
        (b": comment\n\n:\n\ndata: a\n: in between\n\n", [SSEEvent(b"a")]),
        (b"id: 1\nretry: 5\nunknown\ndata: a\n\n", [SSEEvent(b"a")]),
        (b"data\n\n", [SSEEvent(b"")]),
        (b"\n\n\n\ndata: a\n\n\n\n", [SSEEvent(b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SSEEvent(b"a")]),
        (b"error: {}\n\n", [SSEEvent(b"{}", "error")]),
        (b"data: no blank line\n", [SSEEvent(b"no blank line")]),
        (b"data: no line end", [SSEEvent(b"no line end")]),
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_a_stream_gives_its_events_whole_or_byte_by_byte(stream: bytes, events: list[SSEEvent]) -> None:
    assert decode(stream) == events
    assert decode(*[stream[at : at + 1] for at in range(len(stream))]) == events


LINES = st.sampled_from(
    [b"data: ", b"data:", b"event: e", b": c", b"", b"x: y", b"\xc3\xa9", b"data: \xf0\x9f\xa6\x89", b"\xef\xbb\xbf"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(LINES, ENDS)), st.lists(st.integers(0, 200)))
def test_the_split_does_not_matter(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in lines)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert decode(*pieces) == decode(stream)


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]))))
def test_what_is_encoded_is_decoded(texts: list[str]) -> None:
    expected = [text.encode().replace(b"\r\n", b"\n").replace(b"\r", b"\n") for text in texts]
    stream = b"".join(encode_event(text.encode()) + encode_comment(text) for text in texts)
    assert [event.data for event in decode(stream)] == expected


def test_an_event_has_its_name() -> None:
    assert encode_event(b"{}", "ping") == b"event: ping\ndata: {}\n\n"
    assert encode_comment() == b":\n\n"
    assert encode_comment("two\nlines") == b": two lines\n\n"


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 2000, b"data: y\n" * 300, b"x" * 2000])
@pytest.mark.parametrize("size", [1, 7, 4000])
def test_an_event_is_bounded(stream: bytes, size: int) -> None:
    decoder = SSEDecoder(limit=1000)
    with pytest.raises(OblixError) as caught:
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
    assert caught.value.code == "upstream_malformed"


def test_many_small_events_and_comments_are_not_one_large_one() -> None:
    decoder = SSEDecoder(limit=100)
    for _ in range(50):
        assert decoder.feed(b": keep-alive\n\n") == []
        assert decoder.feed(b": and no blank line\n") == []
        assert decoder.feed(b"data: twenty bytes or so\n\n") == [SSEEvent(b"twenty bytes or so")]
