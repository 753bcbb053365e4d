"""What every door does between an `allow` and the settlement: credentials, and what an answer proves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.judgement import Described
from aegis_gateway.application.ports import Secrets, UpstreamRequest
from aegis_gateway.application.tracing import Trace
from aegis_gateway.domain.errors import ConfigurationError, LedgerError, UpstreamFault
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import NANO_USD_MAX, UnitPrice
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.quote import CALLS, TOKENS, USD, Quote
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.error_forms import OPENAI, ErrorForm
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    brought_credential,
    decision_headers,
    forwarded_headers,
    send_error,
    settlement_headers,
)
from aegis_gateway.entrypoints.data_plane.refusals import refused, upstream_failed

_log = logging.getLogger("aegis.data_plane")


def upstream_request(
    scope: Scope,
    connector: Connector,
    secrets: Secrets,
    *,
    method: str,
    url: str,
    content_type: str | None,
    body: bytes,
    name: str | None,
    own_credential: bool = False,
    trace: Trace | None = None,
) -> UpstreamRequest:
    """A caller's request as its upstream gets it, with the connector's credential, deadlines and network.

    `name` is what the upstream may know of the caller's name for the call; `own_credential`: the caller brought the
    credential itself, in a header that is passed on as it is. `trace` is the call's place in a trace.

    Raises:
        UpstreamFault: the credential cannot be resolved, so nothing can be sent.
    """
    credential = None
    secret = None
    if own_credential:
        credential = brought_credential(scope)
        secret = credential[1].removeprefix("Bearer ")
    elif (secret := _credential(connector, secrets)) is not None:
        credential = (connector.credential_header.lower(), connector.credential_prefix + secret)
    return UpstreamRequest(
        method=method,
        url=url,
        headers=forwarded_headers(scope, credential, content_type, name, trace),
        body=body,
        deadlines=connector.deadlines,
        network=connector.network,
        secret=secret,
    )


def _credential(connector: Connector, secrets: Secrets) -> str | None:
    """A connector's credential, resolved now."""
    if connector.credential is None:
        return None
    try:
        secret = secrets.resolve(connector.credential)
    except ConfigurationError as fault:
        raise UpstreamFault(f"connector `{connector.id}` has no credential: {fault}", sent=False) from fault
    if not (secret.isascii() and secret.isprintable()):
        words = f"connector `{connector.id}` has no credential: `{connector.credential}` fits in no header"
        raise UpstreamFault(f"{words}; is it one line?", sent=False)
    return secret


def send_refusal(protocol: HttpProtocol, decided: Decided[Described], form: ErrorForm = OPENAI) -> None:
    """Answer with a decision that refuses."""
    headers = decision_headers(decided) + settlement_headers(decided, None)
    send_error(protocol, refused(decided, headers, form))


def at_maximum(quote: Quote, maximum: dict[str, int], why: str) -> Evidence | None:
    """A settlement at the most the call can have cost, for an answer that does not say; None if nothing bounds it."""
    most = maximum.get(USD)
    if most is None:
        return None
    line = charge_line("maximum", 1, "call", UnitPrice(nano_usd=most), quote.price_version)
    return Evidence(source="estimate", lines=(line,), note=why)


def no_charge(status: int) -> Evidence:
    """A settlement at nothing: the upstream said itself that it did not do the work."""
    return Evidence(
        source="response",
        actual={CALLS: 1, TOKENS: 0},
        note=f"the upstream answered {status} and charged nothing",
    )


@asynccontextmanager
async def accounted_for(
    calls: Calls, decided: Decided[Described], protocol: HttpProtocol, form: ErrorForm = OPENAI
) -> AsyncIterator[None]:
    """The block in which an allowed call is forwarded, answered and settled.

    However the block is left, the call does not stay as if it were still under way: what was never sent is settled
    at nothing, and what failed in any other way is in doubt.
    """
    try:
        yield
    except UpstreamFault as fault:
        moved = await _after_fault(calls, decided, fault)
        headers = decision_headers(decided) + settlement_headers(decided, moved)
        send_error(protocol, upstream_failed(fault, headers, form))
    except BaseException:
        await asyncio.shield(put_in_doubt(calls, decided, "the gateway failed while it forwarded the call"))
        raise


async def _after_fault(calls: Calls, decided: Decided[Described], fault: UpstreamFault) -> Moved | None:
    calls.upstream_failed(decided, fault)
    if fault.sent:
        return await put_in_doubt(calls, decided, str(fault))
    return await settle(calls, decided, Evidence(source="not_sent", note=str(fault)))


async def settle(calls: Calls, decided: Decided[Described], evidence: Evidence) -> Moved | None:
    """Settle; None where the ledger did not: the call stays at its maximum, or at what a person settled it at."""
    if decided.redacted or decided.shadow:
        evidence = msgspec.structs.replace(evidence, redacted=decided.redacted, shadow=decided.shadow)
    quantities = (evidence.cost_nano_usd, *(line.quantity for line in evidence.lines))
    if max(quantities) > NANO_USD_MAX:
        return await put_in_doubt(calls, decided, "the upstream reported more than can be counted")
    try:
        return await calls.settle(decided, evidence)
    except LedgerError as fault:
        _log.warning("call %s was not settled: %s", decided.call, fault)
        return None


async def put_in_doubt(calls: Calls, decided: Decided[Described], why: str) -> Moved | None:
    """Put in doubt; None where the ledger did not: the call stays at its maximum, or as it was settled before."""
    try:
        return await calls.lose(decided, why)
    except LedgerError as fault:
        _log.warning("call %s was not put in doubt: %s", decided.call, fault)
        return None
