"""How an answer leaves: at once, late, byte by byte, cut short, as nonsense or never.

Rule: whatever is billed was billed before anything here is called, except ``interrupted``.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # public, but not marked as re-exported

from aegis_gateway.demo.upstream.directives import Directives
from aegis_gateway.demo.upstream.wire import JSON, Headers, Http, Stream, encode, pause

EVENTS_PER_WRITE = 16
"""Events sent together where no delay between them was ordered: one system call for each word would make
the fake upstream, not the gateway, what a benchmark measures."""

EVENT_STREAM: Headers = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
]

GARBAGE = b"<!doctype html>\n<title>502</title>\n<p>This is neither JSON nor an event.</p>\n\n"

_UNREACHED_BYTES = "1000000000"
_FLUSH_MS = 200
"""How long what was sent has to leave before a connection is dropped: the server throws away what it still holds then,
and doesn't say when it holds nothing."""


async def interrupted(http: Http, directives: Directives, failure: Callable[[int], object]) -> bool:
    """Follow an order to fail or to hang, and say whether there was one; nothing has been billed by then."""
    if directives.fail is not None:
        await pause(directives.delay_ms)
        headers = list(JSON)
        if directives.retry_after is not None:
            headers.append(("retry-after", str(directives.retry_after)))
        http.response_bytes(directives.fail, headers, encode(failure(directives.fail)))
        return True
    if directives.hang:
        await http.client_disconnect()
        return True
    return False


async def whole(http: Http, headers: Headers, body: bytes, ordered: Directives) -> None:
    """Answer 200 with a body that isn't streamed."""
    if ordered.garbage:
        body = GARBAGE
    if not ordered.drip_ms:
        return http.response_bytes(200, headers, body)
    try:
        stream = http.response_stream(200, [*headers, ("content-length", str(len(body)))])
        await _drip(stream, body, ordered.drip_ms)
    except ProtocolClosed:
        return  # the client has left; its charge stands


async def stream(
    http: Http,
    headers: Headers,
    events: Iterator[bytes],
    ordered: Directives,
    error_event: Callable[[int], bytes],
) -> None:
    """Answer 200 with a stream; ``error_event`` makes the event that ends it after so many."""
    if ordered.garbage:
        events = iter([GARBAGE] * 3)
    if ordered.error_after is not None:
        fault = error_event(ordered.error_after)
        events = itertools.chain(itertools.islice(events, ordered.error_after), (fault,))
    cut = min(
        (stop for stop in (ordered.break_after, ordered.reset_after, ordered.hang_after) if stop is not None),
        default=None,
    )
    if ordered.reset_after is not None:
        # A body shorter than what was announced makes the server drop the connection.
        headers = [*headers, ("content-length", _UNREACHED_BYTES)]
    try:
        # Named, because the body ends when nobody holds the stream any more.
        body = http.response_stream(200, headers)
        await _send(body, itertools.islice(events, cut), ordered)
        if ordered.reset_after is not None:
            await pause(_FLUSH_MS)
        if ordered.hang_after is not None:
            await http.client_disconnect()
    except ProtocolClosed:
        return  # the client has left; its charge stands


async def _send(body: Stream, events: Iterable[bytes], ordered: Directives) -> None:
    # The first event goes alone: it is what a time to first token is measured by.
    size = 1
    remaining = iter(events)
    delay_ms, drip_ms = ordered.chunk_delay_ms, ordered.drip_ms
    while block := b"".join(itertools.islice(remaining, size)):
        if drip_ms:
            await _drip(body, block, drip_ms)
        else:
            await body.send_bytes(block)
        await pause(delay_ms)
        size = 1 if delay_ms else EVENTS_PER_WRITE


async def _drip(body: Stream, data: bytes, milliseconds: int) -> None:
    for at in range(len(data)):
        await body.send_bytes(data[at : at + 1])
        await pause(milliseconds)
