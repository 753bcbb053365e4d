"""The door for any HTTP API: `/connect/{connector}/{path}`, each operation priced, judged and settled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.judgement import Described
from aegis_gateway.application.ports import Secrets, Upstream, UpstreamAnswer, UpstreamRequest
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import CallError, NotRedactable
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import NANO_USD_MAX
from aegis_gateway.domain.quote import (
    CALLS,
    USD,
    Quote,
    Read,
    counted,
    operation_charges,
    quote_operation,
    unpriced,
)
from aegis_gateway.domain.redaction import NO_REDACTIONS, Counts, Redactions
from aegis_gateway.domain.registry import Connector, Operation
from aegis_gateway.domain.tools import UNLISTED_TOOL
from aegis_gateway.entrypoints.data_plane.answers import send_answer, shown_answer
from aegis_gateway.entrypoints.data_plane.approvals import held
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    call_context,
    leaving_of,
    read_body,
)
from aegis_gateway.entrypoints.data_plane.forwarding import (
    accounted_for,
    at_maximum,
    no_charge,
    put_in_doubt,
    send_refusal,
    settle,
    upstream_request,
)
from aegis_gateway.entrypoints.data_plane.redacting import redacted_json
from aegis_gateway.entrypoints.data_plane.wire import (
    OperationRequest,
    json_type,
    parse_operation,
    path_segments,
    response_reader,
)

PREFIX = "/connect/"


class SentParts(msgspec.Struct, frozen=True, kw_only=True):
    """Path, query and body of a request, where something was redacted in them."""

    path: str
    query: str
    body: bytes


class OperationCall(Described, frozen=True, kw_only=True):
    """A connector call as it was described, with the operation and connector of that moment."""

    request: OperationRequest | None = None
    upstream: Connector | None = None
    sent: SentParts | None = None


Forward = Callable[[Scope, Decided[OperationCall], bytes], Awaitable[UpstreamAnswer]]
"""The way to a call's upstream and back: forwards an allowed call, with the body it came with, and gives its answer.
Raises `UpstreamFault` where there is none.
"""


class ConnectDoor:
    """`/connect/{connector}/{path}`, any method."""

    def __init__(
        self, calls: Calls, forward: Forward, patience_ns: int | None = None, name: str = "connect"
    ) -> None:
        """Build the door on the use cases and a way to the upstreams. `patience_ns`: see `CallContext`; `name`: whose
        door it is.
        """
        self._calls = calls
        self._forward = forward
        self._patience_ns = patience_ns
        self._name = name

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        await self._calls.callers.identify(key)
        connector, *segments = path_segments(scope.path.removeprefix(PREFIX))
        raw = await read_body(scope, protocol)
        if raw:
            json_type(scope.headers)
        decided = await held(
            self._calls,
            scope,
            protocol,
            lambda: self._calls.decide(
                key,
                lambda view, _model, redactions: describe(
                    view, connector, scope.method, segments, scope.query_string, raw, redactions
                ),
                call_context(scope, self._name, self._patience_ns, leaves=leaving_of(protocol)),
            ),
        )
        if not decided.allows:
            send_refusal(protocol, decided)
            return
        async with accounted_for(self._calls, decided, protocol):
            answer = await self._forward(scope, decided, raw)
            self._calls.upstream_answered(decided, answer.status)
            shown, decided = shown_answer(answer, decided)
            if answer.doubt:
                moved = await put_in_doubt(self._calls, decided, answer.doubt)
            else:
                moved = await self._settle(decided, answer.status, answer.body)
            send_answer(protocol, decided, shown, moved)

    async def _settle(self, decided: Decided[OperationCall], status: int, body: bytes) -> Moved | None:
        """Charge for what was done; nothing for what the upstream refused; doubt about what failed inside it."""
        call = decided.described
        if status >= 500:
            return await put_in_doubt(self._calls, decided, f"the upstream answered {status}")
        assert isinstance(call.quote, Quote), "an allowed call has a quote"
        if status >= 400:
            counted_ = call.request.operation.counts if call.request is not None else ()
            counts = {count.quantity: 0 for count in counted_}
            nothing = no_charge(status)
            return await settle(
                self._calls,
                decided,
                Evidence(source=nothing.source, actual={**counts, **nothing.actual}, note=nothing.note),
            )
        if call.request is None:
            return await put_in_doubt(self._calls, decided, call.quote.unbounded[USD])
        read = response_reader(call.request, body)
        try:
            evidence = tool_evidence(call.request.operation, read, "response")
        except CallError as fault:
            estimate = at_maximum(call.quote, decided.admitted.maximum, f"{fault}; counted at the maximum")
            if estimate is None:
                return await put_in_doubt(self._calls, decided, str(fault))
            evidence = estimate
        return await settle(self._calls, decided, evidence)


class Directly:
    """The way to upstreams over connections of our own."""

    def __init__(self, upstream: Upstream, secrets: Secrets) -> None:
        """Send by `upstream`, with credentials from `secrets`."""
        self._upstream = upstream
        self._secrets = secrets

    async def __call__(self, scope: Scope, decided: Decided[OperationCall], raw: bytes) -> UpstreamAnswer:
        """Send a call and wait for its answer.

        Raises:
            UpstreamFault: there was no answer, or it broke off.
        """
        return await self._upstream.fetch(operation_request(scope, decided, raw, self._secrets))


def operation_request(
    scope: Scope, decided: Decided[OperationCall], raw: bytes, secrets: Secrets
) -> UpstreamRequest:
    """An allowed call as its upstream gets it.

    Raises:
        UpstreamFault: its credential cannot be resolved, so nothing can be sent.
    """
    connector = decided.described.upstream
    assert connector is not None, "an allowed call has a connector"
    _, _, path = scope.path.removeprefix(PREFIX).partition("/")
    query_string, body, sent = scope.query_string, raw, decided.described.sent
    if sent is not None:
        path, query_string, body = sent.path, sent.query, sent.body
    query = f"?{query_string}" if query_string else ""
    content_type = json_type(scope.headers) if raw else None
    return upstream_request(
        scope,
        connector,
        secrets,
        method=scope.method,
        url=f"{connector.base_url}/{path}{query}",
        content_type=content_type,
        body=body,
        name=decided.name,
        own_credential=decided.own_credential,
        trace=decided.trace,
    )


def describe(
    view: TenantView,
    connector_id: str,
    method: str,
    segments: list[str],
    query_string: str,
    raw: bytes,
    redactions: Redactions = NO_REDACTIONS,
) -> OperationCall:
    """Describe a connector call under a registry: its operation, its typed arguments, its quote.

    What is redacted in it has to fit the operation all the same.

    Raises:
        CallError: the body or an argument is not what the operation declares.
    """
    connector = view.registry.connectors.get(connector_id)
    if connector is None or connector.kind != "http":
        return _unknown(connector_id[:128], f"connector `{connector_id[:128]}` is not configured here")
    found = find_operation(connector, method, segments)
    if found is None and view.registry.proxy is not None:
        return _unlisted(connector, method, segments, query_string, raw)
    if found is None:
        known = ", ".join(f"{operation.method} {operation.path}" for operation in connector.operations[:8])
        return _unknown(
            connector_id,
            f"connector `{connector_id}` has no operation {method[:16]} /{'/'.join(segments)[:256]}; there are {known}",
        )
    operation, path_values = found
    return described_operation(view, connector, operation, path_values, query_string, raw, redactions)


def described_operation(
    view: TenantView,
    connector: Connector,
    operation: Operation,
    path_values: dict[str, str],
    query_string: str,
    raw: bytes,
    redactions: Redactions,
) -> OperationCall:
    """Describe a call of an operation, without what is to be redacted in its arguments.

    Raises:
        CallError: the body or an argument is not what the operation declares.
    """
    sent: SentParts | None = None
    redacted: Counts = {}
    if redactions.arguments:
        redactor = TextRedactor(redactions.arguments, view.redaction_key)
        try:
            raw = redacted_json(raw, redactor) if raw else raw
            query_string = redacted_query(query_string, redactor)
            path_values, path = redacted_path(operation, path_values, redactor)
            request = parse_operation(operation, path_values, query_string, raw)
        except (NotRedactable, CallError) as fault:
            return not_redactable(connector, operation, str(fault))
        redacted = redactor.counts
        sent = SentParts(path=path, query=query_string, body=raw) if redacted else None
    else:
        request = parse_operation(operation, path_values, query_string, raw)
    return OperationCall(
        connector=connector.id,
        tool=f"{connector.id}.{operation.id}",
        region=connector.region,
        stays_in_regions=view.registry.keeps_regions,
        quote=_countable(quote_operation(operation, request.read)),
        arguments=request.values,
        canonical=request.canonical,
        summary={"operation": operation.id, **request.summary},
        request=request,
        upstream=connector,
        sent=sent,
        redacted=redacted,
    )


def not_redactable(connector: Connector, operation: Operation, why: str) -> OperationCall:
    """A call that can't be made, because a policy redacts what can't be redacted."""
    tool = f"{connector.id}.{operation.id}"
    words = f"a policy redacts what is sent, and this can't be redacted: {why}"
    return OperationCall(
        connector=connector.id,
        tool=tool,
        quote=Reason(code="obligation_unfulfilled", subject=tool, message=words),
        arguments={},
        canonical=b"",
        summary={},
    )


def redacted_query(query_string: str, redactor: TextRedactor) -> str:
    """A query without what is to be redacted, written anew if there was any.

    Raises:
        NotRedactable: it is a parameter's name that would have to be.
    """
    pairs = parse_qsl(query_string, keep_blank_values=True)
    redacted = [(name, redactor.field(name, value)) for name, value in pairs]
    if any(redactor.whole(name) != name for name, _ in pairs):
        raise NotRedactable("the name of a parameter would have to be redacted")
    return query_string if redacted == pairs else urlencode(redacted)


def redacted_path(
    operation: Operation, values: dict[str, str], redactor: TextRedactor
) -> tuple[dict[str, str], str]:
    """An operation's path without what is to be redacted of its values, and those."""
    redacted = {name: redactor.field(name, value) for name, value in values.items()}
    parts = [
        redacted[part[1:-1]] if part.startswith("{") and part.endswith("}") else part
        for part in operation.path.strip("/").split("/")
    ]
    return redacted, "/".join(quote(part, safe="") for part in parts)


def tool_evidence(
    operation: Operation, read: Read, source: Literal["response", "sdk", "estimate"]
) -> Evidence:
    """What an operation that was done comes to, by the numbers of its request and of what came back.

    Raises:
        CallError: a number is not there, or makes no sense.
    """
    return Evidence(
        source=source,
        lines=operation_charges(operation, read),
        actual={CALLS: 1, **{count.quantity: counted(count, read) for count in operation.counts}},
    )


def _unlisted(
    connector: Connector, method: str, segments: list[str], query_string: str, raw: bytes
) -> OperationCall:
    """A call of what nobody declared, where everything passes: what it costs is not known."""
    address = f"{method[:16]} /{'/'.join(segments)}"
    why = f"connector `{connector.id}` has no operation {address[:256]}, so nobody knows what it costs"
    return OperationCall(
        connector=connector.id,
        tool=f"{connector.id}{UNLISTED_TOOL}",
        region=connector.region,
        quote=unpriced(why),
        arguments={},
        canonical=f"{address}?{query_string}\n".encode() + raw,
        summary={"address": address[:256]},
        upstream=connector,
    )


def find_operation(
    connector: Connector, method: str, segments: list[str]
) -> tuple[Operation, dict[str, str]] | None:
    """The operation that a method and path are of, and the values of its path's `{names}`.

    A path without names in it is preferred to one with.
    """
    matches = []
    for operation in connector.operations:
        if operation.method != method:
            continue
        template = operation.path.strip("/").split("/")
        if len(template) != len(segments):
            continue
        values: dict[str, str] = {}
        for wanted, given in zip(template, segments, strict=True):
            if wanted.startswith("{") and wanted.endswith("}"):
                values[wanted[1:-1]] = given
            elif wanted != given:
                break
        else:
            matches.append((len(values), operation.id, operation, values))
    if not matches:
        return None
    _, _, operation, values = min(matches, key=lambda match: match[:2])
    return operation, values


def _countable(quote: Quote) -> Quote:
    """The quote, if the ledger can count what is in it.

    Raises:
        CallError: an amount is beyond 64 bits.
    """
    for quantity, amount in (*quote.expected.items(), *quote.maximum.items()):
        if amount > NANO_USD_MAX:
            raise CallError(f"the call comes to more `{quantity}` than can be counted; ask for less")
    return quote


def _unknown(connector: str, message: str) -> OperationCall:
    reason = Reason(code="unknown_tool", subject=connector, message=message)
    return OperationCall(
        connector=connector, tool=f"{connector}.?", quote=reason, arguments={}, canonical=b"", summary={}
    )
