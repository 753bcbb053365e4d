from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from aegis_gateway.application.call_context import CallContext
from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import BODY_BYTES_MAX, Caller, call_context, read_body


class Request:
    """A request as RSGI gives it: headers, and a body that comes in pieces, or never."""

    method, path, query_string = "POST", "/", ""

    def __init__(self, *pieces: bytes, stalls: bool = False, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._pieces, self._stalls = pieces, stalls

    async def __call__(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces."""
        for piece in self._pieces:
            yield piece
        if self._stalls:
            await asyncio.Event().wait()


def read(request: Request) -> bytes:
    """Read a request's body, with little patience."""
    return asyncio.run(read_body(request, request, 0.05))  # type: ignore[arg-type]  # what of RSGI is needed here


def test_bodies() -> None:
    """With a length and without."""
    assert b"ab" == read(Request(b"a", b"b"))
    assert b"ab" == read(Request(b"a", b"b", content_length="2"))


@pytest.mark.parametrize("headers", [{}, {"content_length": "9"}])
def test_a_body_that_does_not_come(headers: dict[str, str]) -> None:
    """One who sends a little and then nothing is answered 408, with or without a length."""
    with pytest.raises(CallError, match="did not come whole within") as caught:
        read(Request(b"a", stalls=True, **headers))
    assert 408 == caught.value.status


@pytest.mark.parametrize(
    "request_",
    [
        Request(content_length=str(BODY_BYTES_MAX + 1)),
        Request(content_length="9" * 40),
        Request(content_length="-1"),
        Request(b"x" * BODY_BYTES_MAX, b"x"),
    ],
)
def test_a_body_that_is_too_long(request_: Request) -> None:
    """It is refused by its stated length, or as soon as it is longer than any may be."""
    with pytest.raises(CallError) as caught:
        read(request_)
    assert 413 == caught.value.status


class Transport:
    """A caller's connection that takes so many pieces."""

    def __init__(self, takes: int) -> None:
        self.takes = takes

    async def send_bytes(self, data: bytes) -> None:
        """Take a piece, or never."""
        if not self.takes:
            await asyncio.Event().wait()
        self.takes -= 1


def test_a_caller_who_takes_nothing_has_left() -> None:
    """Sending to one who doesn't read ends after a while, and nothing more is sent."""

    async def talk() -> Caller:
        caller = Caller(Transport(takes=1), 0.05)
        for _ in range(3):
            await caller.send(b"x")
        return caller

    assert not asyncio.run(talk()).is_there


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, CallContext()),
        ({"x_stainless_retry_count": "2"}, CallContext(retry=2)),
        ({"x_stainless_retry_count": "two"}, CallContext()),
        ({"x_stainless_retry_count": "99999"}, CallContext()),
        ({"aegis_run_id": "r", "aegis_customer": ""}, CallContext(run="r")),
        (
            {"idempotency_key": "k", "aegis_parent_id": "p"},
            CallContext(idempotency_key="k", parent="p", address="POST /?"),
        ),
    ],
)
def test_what_headers_say_of_a_call(headers: dict[str, str], expected: CallContext) -> None:
    """Empty ones say nothing, and a count that is none is none."""
    said = call_context(Request(**headers), "mcp", read_ns=7)  # type: ignore[arg-type]  # what of RSGI is needed here
    assert msgspec.structs.replace(expected, door="mcp", read_ns=7) == said
