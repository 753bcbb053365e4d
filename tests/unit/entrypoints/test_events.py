from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aegis_gateway.entrypoints.data_plane.events import EVENT_BYTES_MAX, EventReader, event_data

# Few different signs, so that ends of lines meet in every way.
STREAMS = st.one_of(
    [
        st.lists(st.sampled_from(signs), max_size=40).map(b"".join)
        for signs in ([b"\r", b"\n", b"a", b"data: "], [b"\n", b"\n\n", b"a"], [b"\r\n", b"\n", b"a"])
    ]
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """A stream in pieces."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(STREAMS, st.lists(st.integers(0, 100), max_size=12))
@example(b"a\n\n\n", [])
def test_events_do_not_depend_on_the_pieces_they_come_in(stream: bytes, places: list[int]) -> None:
    """However a stream is cut, the same events come out, and together with the rest they are the stream."""
    whole, pieces = EventReader(), EventReader()
    expected = list(whole.feed(stream))
    actual = [event for piece in cut(stream, places) for event in pieces.feed(piece)]
    assert expected == actual
    assert stream == b"".join(actual) + pieces.rest()
    assert b"" == pieces.rest()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r\n", b"data: b\r\n\r\n"]),
        (b"data: a\r\rdata: b\r\r", [b"data: a\r\r", b"data: b\r\r"]),
        (b"data: a\n", []),
        (b"", []),
    ],
)
def test_an_event_ends_with_a_blank_line(stream: bytes, expected: list[bytes]) -> None:
    """Each of the three ends of line may end an event."""
    assert expected == list(EventReader().feed(stream))


def test_an_event_without_an_end() -> None:
    """What never ends is refused before it fills the memory."""
    reader = EventReader()
    piece = b"x" * (1024 * 1024)
    for _ in range(EVENT_BYTES_MAX // len(piece)):
        assert [] == list(reader.feed(piece))
    with pytest.raises(ValueError, match="too long"):
        list(reader.feed(piece))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"event: x\nid: 7\ndata: a\ndata: b\n: c\n\n", b"a\nb"),
        (b"data:  a\r\n\r\n", b" a"),
        (b": comment\n\n", b""),
        (b"data\n\n", b""),
    ],
)
def test_the_data_of_an_event(event: bytes, expected: bytes) -> None:
    """The lines that begin with `data:`, joined."""
    assert expected == event_data(event)
