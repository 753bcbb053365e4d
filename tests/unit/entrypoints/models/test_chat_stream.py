from __future__ import annotations

import pytest

from aegis_gateway.domain.price import Usage
from aegis_gateway.entrypoints.data_plane.models.chat import ChatWatch

WORD = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3}}\n\n'
LAST_WITH_USAGE = b'data: {"choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
PLAIN = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
"""The same chunk for who did not ask for usage."""


def passed(events: list[bytes], *, hide_usage: bool) -> tuple[bytes, ChatWatch]:
    """What a caller gets of a stream before its end is released, and the stream."""
    stream = ChatWatch(hides_usage=hide_usage)
    given = b"".join(stream.feed(event) for event in events)
    stream.end()
    return given, stream


@pytest.mark.parametrize(
    ("events", "hide_usage", "expected"),
    [
        ([WORD, USAGE, DONE], False, WORD + USAGE),
        ([WORD, USAGE, DONE], True, PLAIN),
        ([WORD, LAST_WITH_USAGE, DONE], True, PLAIN + LAST_WITH_USAGE),
        ([WORD, DONE], True, PLAIN),
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
    assert (
        Usage(units={"input": 5, "output": 3})
        == passed([earlier, WORD, USAGE, DONE], hide_usage=True)[1].usage
    )


@pytest.mark.parametrize("end", [DONE, b"data: [DONE]\n", b"data: [DONE]", b"data:[DONE]\r\n\r\n"])
def test_the_end_is_held_back(end: bytes) -> None:
    """The terminal event is not passed on by itself, with or without its blank line."""
    given, stream = passed([WORD, end], hide_usage=True)
    assert PLAIN == given
    assert stream.is_done
    assert stream.last.startswith(b"data:")
    assert b"" != stream.last[stream.last.index(b"]") + 1 :]


@pytest.mark.parametrize("events", [[], [WORD], [WORD, b"data: [DO"], [WORD, b'data: {"choices"']])
def test_a_stream_that_breaks_off(events: list[bytes]) -> None:
    """Without its terminal event a stream is not done, and half an event is not passed on."""
    given, stream = passed(events, hide_usage=True)
    assert PLAIN * (len(events) > 0) == given
    assert not stream.is_done


def test_text_that_talks_of_the_end() -> None:
    """An answer whose words are `[DONE]` is passed on like any other."""
    event = b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n'
    given, stream = passed([event], hide_usage=True)
    assert event == given
    assert not stream.is_done
