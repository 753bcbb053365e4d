"""Posting over HTTP as all channels do it: to vetted addresses, with deadlines, without following redirects.

Rule: what went wrong is said without the address and without what was sent: both may be secret.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from aegis_gateway.adapters.addresses import Addresses
from aegis_gateway.adapters.upstream import PyreqwestUpstream
from aegis_gateway.application.ports import UpstreamAnswer, UpstreamRequest
from aegis_gateway.domain.delivery import NotSent, Outcome, Sent
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.network import Network
from aegis_gateway.domain.registry import Deadlines

DEADLINES = Deadlines(total_s=15, connect_s=5, first_byte_s=10, idle_s=10)

_SECOND_NS = 1_000_000_000
_LATER = (408, 409, 423, 425, 429)
"""What says that it may be taken later, among the codes that say that it is at fault itself."""

Headers = list[tuple[str, str]]


def post(
    url: str, headers: Headers, body: bytes, network: Network, addresses: Addresses | None = None
) -> UpstreamAnswer | NotSent:
    """Post, and wait for the whole answer, whatever it says."""
    request = UpstreamRequest(
        method="POST", url=url, headers=headers, body=body, deadlines=DEADLINES, network=network
    )
    try:
        return asyncio.run(_fetched(request, addresses))
    except UpstreamFault as fault:
        words = str(fault).replace("the upstream", "the other side").replace("an upstream", "a channel")
        return NotSent(fault=words.replace("for its connector", "for the channel"))


async def _fetched(request: UpstreamRequest, addresses: Addresses | None) -> UpstreamAnswer:
    upstream = PyreqwestUpstream(addresses)
    try:
        return await upstream.fetch(request)
    finally:
        await upstream.close()


def outcome_of(answer: UpstreamAnswer | NotSent, now_ns: int) -> Outcome:
    """What an answer's code says, where it says all."""
    if isinstance(answer, NotSent):
        return answer
    if 200 <= answer.status < 300:
        return Sent()
    return NotSent(
        fault=f"the other side answered {answer.status}",
        is_final=answer.status < 500 and answer.status not in _LATER,
        retry_after_ns=retry_after_ns(answer, now_ns),
    )


def retry_after_ns(answer: UpstreamAnswer, now_ns: int) -> int:
    """How long the other side asks to be left alone; 0 where it doesn't, or can't be understood."""
    text = next((value for name, value in answer.headers if name == "retry-after"), "").strip()
    if text.isdecimal():
        return int(text[:9]) * _SECOND_NS
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return 0
    then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return max(
        0, int((then - datetime.fromtimestamp(now_ns // _SECOND_NS, UTC)).total_seconds()) * _SECOND_NS
    )


def json_body(value: object) -> bytes:
    """A value as JSON."""
    return msgspec.json.encode(value)
