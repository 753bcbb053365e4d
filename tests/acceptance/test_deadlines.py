"""Upstreams that keep callers waiting: each wait ends at its deadline, with the truth in the ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import Gateway, assert_books_balance, chat, configuration, happening

pytestmark = pytest.mark.xdist_group("deadlines")


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess(apps="provider") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: UpstreamProcess) -> Iterator[Gateway]:
    """A gateway without patience."""
    settings = {"connect_seconds": "1", "first_byte_seconds": "1", "idle_seconds": "1"}
    files = configuration(upstream.base_url, timeout_seconds=3, connector_settings=settings)
    with Gateway(files) as gateway:
        yield gateway
        assert_books_balance(gateway)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("[[hang]]", b"did not answer within 1 s"),
        ("[[delay_ms=20000]]", b"did not answer within 1 s"),
        ("[[drip_ms=400]]", b"did not answer within 1 s"),
    ],
)
def test_an_answer_that_does_not_come(
    upstream: UpstreamProcess, gateway: Gateway, order: str, words: bytes
) -> None:
    """It is 504, not to be tried again by itself, and counts at its maximum."""
    with happening(gateway, upstream) as happened:
        answer = chat(gateway, f"hi [[tokens=9]]{order}")
    assert 504 == answer.status
    assert words in answer.body
    assert "false" == answer.headers["x-should-retry"]
    call = gateway.settled()
    assert "in_doubt" == call["state"]
    assert call["maximum_nano_usd"] >= happened.billed_nano_usd
    assert 1 == happened.arrived


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("[[hang_after=2]]", b"sent nothing for 1 s"),
        ("[[chunk_delay_ms=600]]", b"did not answer in time"),
    ],
)
def test_a_stream_that_does_not_go_on(
    upstream: UpstreamProcess, gateway: Gateway, order: str, words: bytes
) -> None:
    """Silence ends it, and so does the time that all of it may take; the caller is told inside the stream."""
    with happening(gateway, upstream) as happened:
        answer = chat(gateway, f"hi [[tokens=40]]{order}", stream=True)
    assert 200 == answer.status
    assert words in answer.body
    assert b"[DONE]" not in answer.body
    call = gateway.settled()
    assert "in_doubt" == call["state"]
    assert call["maximum_nano_usd"] >= happened.billed_nano_usd > 0
