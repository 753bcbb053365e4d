from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aegis_gateway.domain.price import Usage
from aegis_gateway.entrypoints.data_plane.chat import ChatStream
from aegis_gateway.entrypoints.data_plane.events import EVENT_BYTES_MAX, EventReader, event_data

# Few different signs, so that ends of lines meet in every way.
STREAMS = st.one_of(
    [
        st.lists(st.sampled_from(signs), max_size=40).map(b"".join)
        for signs in ([b"\r", b"\n", b"a", b"data: "], [b"\n", b"\n\n", b"a"], [b"\r\n", b"\n", b"a"])
    ]
)

WORD = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3}}\n\n'
LAST_WITH_USAGE = b'data: {"choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"


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


def passed(events: list[bytes], *, hide_usage: bool) -> tuple[bytes, ChatStream]:
    """What a caller gets of a stream before its end is released, and the stream."""
    stream = ChatStream(hide_usage=hide_usage)
    given = b"".join(stream.feed(event) for event in events)
    stream.end()
    return given, stream


@pytest.mark.parametrize(
    ("events", "hide_usage", "expected"),
    [
        ([WORD, USAGE, DONE], False, WORD + USAGE),
        ([WORD, USAGE, DONE], True, WORD),
        ([WORD, LAST_WITH_USAGE, DONE], True, WORD + LAST_WITH_USAGE),
        ([WORD, DONE], True, WORD),
    ],
)
def test_the_usage_is_hidden_from_who_did_not_ask(
    events: list[bytes], hide_usage: bool, expected: bytes
) -> None:
    """A chunk that carries nothing but the usage is taken out for callers who did not ask for it, no other."""
    given, stream = passed(events, hide_usage=hide_usage)
    assert expected == given
    assert stream.is_done
    assert DONE == stream.last


def test_the_last_usage_counts() -> None:
    """Where several chunks tell the usage, as cumulative ones do, the last one is it."""
    earlier = USAGE.replace(b"5", b"1")
    assert Usage(input=5, output=3) == passed([earlier, WORD, USAGE, DONE], hide_usage=True)[1].usage


@pytest.mark.parametrize("end", [DONE, b"data: [DONE]\n", b"data: [DONE]", b"data:[DONE]\r\n\r\n"])
def test_the_end_is_held_back(end: bytes) -> None:
    """The terminal event is not passed on by itself, with or without its blank line."""
    given, stream = passed([WORD, end], hide_usage=True)
    assert WORD == given
    assert stream.is_done
    assert stream.last.startswith(b"data:")
    assert b"" != stream.last[stream.last.index(b"]") + 1 :]


@pytest.mark.parametrize("events", [[], [WORD], [WORD, b"data: [DO"], [WORD, b'data: {"choices"']])
def test_a_stream_that_breaks_off(events: list[bytes]) -> None:
    """Without its terminal event a stream is not done, and half an event is not passed on."""
    given, stream = passed(events, hide_usage=True)
    assert WORD * (len(events) > 0) == given
    assert not stream.is_done


def test_text_that_talks_of_the_end() -> None:
    """An answer whose words are `[DONE]` is passed on like any other."""
    event = b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n'
    given, stream = passed([event], hide_usage=True)
    assert event == given
    assert not stream.is_done
