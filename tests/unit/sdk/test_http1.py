"""HTTP answers are read the same in whatever pieces they come, and what is none is a fault."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_sdk.http1 import ProtocolFault, Request, Response, ResponseReader, written

WHOLE = {
    "length": b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\na:b\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nhel\r\n2\r\nlo\r\n0\r\nT: x\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
}


def read(pieces: list[bytes]) -> Response | None:
    """What pieces come to."""
    reader = ResponseReader()
    assert not reader.has_begun
    for piece in pieces:
        response = reader.feed(piece)
        if response is not None:
            return response
    return None


@given(form=st.sampled_from(sorted(WHOLE)), cuts=st.lists(st.integers(0, 120)))
def test_pieces_do_not_matter(form: str, cuts: list[int]) -> None:
    """However an answer is cut, it is the same one, and it is not there before its end."""
    data = WHOLE[form]
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[begin:end] for begin, end in itertools.pairwise(places)]
    response = read(pieces)
    assert response is not None
    assert (200, b"hello", True, "b") == (
        response.status,
        response.body,
        response.keeps,
        response.headers["a"],
    )
    assert read([data[:-1]]) is None


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_a_fault(first: bytes, rest: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    for data in (
        first,
        b"HTTP/1.1 200 OK\r\n" + first,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + first,
    ):
        reader = ResponseReader()
        try:
            for piece in (data, rest):
                if reader.feed(piece) is not None:
                    break
            else:
                reader.end()
        except ProtocolFault:
            pass


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", False),
    ],
)
def test_when_a_connection_may_be_used_again(head: bytes, keeps: bool) -> None:
    """Only if the answer ends where it says, and nobody says otherwise; never if more came than was asked for."""
    response = read([head])
    assert response is not None
    assert keeps == response.keeps


def test_an_answer_that_ends_with_its_connection() -> None:
    """Without a length it is whole when the connection is closed, and with one it must not be."""
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    assert Response(200, {}, b"hello", False) == reader.end()
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    with pytest.raises(ProtocolFault, match="before the answer was whole"):
        reader.end()


def test_what_is_bounded() -> None:
    """Heads, chunks and bodies that never end are faults."""
    endless = (
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    )
    for head in endless:
        with pytest.raises(ProtocolFault):
            read([head, *([b"1" * 1024 * 1024] * 18)])


def test_a_request_as_it_is_written() -> None:
    """With a length where it has a body or could have one."""
    assert b"GET /x/y HTTP/1.1\r\nHost: h\r\n\r\n" == written(Request("GET", "/y"), "/x", "Host: h\r\n")
    assert written(Request("POST", "/y", b"{}"), "", "").endswith(b"Content-Length: 2\r\n\r\n{}")
