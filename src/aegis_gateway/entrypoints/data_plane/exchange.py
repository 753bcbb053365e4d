"""One HTTP exchange with a caller, over RSGI: bounded reading, one answer, headers that may pass.

The RSGI protocol (granian's) is used as it is; `Scope` and `Protocol` name what of it is needed here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

from aegis_gateway.adapters.patience import Patience
from aegis_gateway.application.call_context import CallContext, Leaves
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided, remaining_nano_usd
from aegis_gateway.application.judgement import Described
from aegis_gateway.application.tracing import Trace
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.entrypoints.data_plane.refusals import ErrorAnswer, Headers

BODY_BYTES_MAX = 10 * 1024 * 1024
BODY_S = 60.0
"""How long a request's body may take."""
SEND_S = 60.0
"""How long a piece of an answer may wait to be taken."""

HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
NEVER_FORWARDED = HOP_BY_HOP | {
    "host",
    "content-length",
    "authorization",
    "x-aegis-key",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "accept-encoding",
    "content-encoding",
    "content-type",
    "expect",
    "idempotency-key",
    "forwarded",
    "via",
    # Some servers do what these say instead of what the request says, which is what was judged.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
}
_NEVER_RETURNED = HOP_BY_HOP | {"content-length", "set-cookie", "server", "date", "alt-svc"}


class RequestHeaders(Protocol):
    """Headers of a request, names in lower case."""

    def __contains__(self, key: str) -> bool:
        """Whether there is such a header, even one whose value is no text."""

    def get(self, key: str, default: Any = None) -> Any:
        """One header's value."""

    def items(self) -> list[tuple[str, str]]:
        """All of them."""


class Scope(Protocol):
    """What RSGI tells of a request."""

    method: str
    path: str
    query_string: str
    headers: RequestHeaders


class StreamTransport(Protocol):
    """An answer that is sent in pieces."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece."""


@runtime_checkable
class RecordedStream(Protocol):
    """An answer in pieces that is recorded, to be given again if it becomes whole."""

    def note_whole(self) -> None:
        """All of it was sent."""


class HttpProtocol(Protocol):
    """What RSGI offers to read a request's body and to answer."""

    async def __call__(self) -> bytes:
        """The whole body."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces."""

    async def client_disconnect(self) -> None:
        """Wait until the caller has left."""

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer."""

    def response_stream(self, status: int, headers: Headers) -> StreamTransport:
        """Answer in pieces."""


@runtime_checkable
class ToldOfLeaving(Protocol):
    """What stands before a caller's protocol, has a `client_disconnect` of its own, and tells when the caller left."""

    async def caller_left(self) -> None:
        """Wait until the caller itself has left."""


def leaving_of(protocol: HttpProtocol) -> Leaves:
    """Waits until a caller has left, whatever stands before its protocol."""
    return protocol.caller_left if isinstance(protocol, ToldOfLeaving) else protocol.client_disconnect


class Caller:
    """A caller who is answered in pieces, and who may leave: then pieces are dropped, and nothing else changes."""

    def __init__(self, transport: StreamTransport, patience_s: float = SEND_S) -> None:
        """Answer over a transport."""
        self._transport = transport
        self._patience_s = patience_s
        self.is_there = True

    async def send(self, data: bytes) -> None:
        """Send a piece, unless it is empty or the caller has left. One who takes nothing for long has left."""
        if data and self.is_there:
            try:
                with Patience(self._patience_s):
                    await self._transport.send_bytes(data)
            except (RuntimeError, TimeoutError):  # RSGIProtocolClosed and RSGIProtocolError are RuntimeErrors
                self.is_there = False

    async def finish(self, data: bytes) -> None:
        """Send the last piece of a whole answer. One that ends otherwise is not given again to who repeats the call."""
        await self.send(data)
        if self.is_there and isinstance(self._transport, RecordedStream):
            self._transport.note_whole()


def nothing_at(scope: Scope) -> CallError:
    """There is nothing where a request goes."""
    return CallError(
        f"there is nothing at {scope.method[:16]} {scope.path[:256]}; see the README for what is", status=404
    )


async def read_body(
    scope: Scope, protocol: HttpProtocol, patience_s: float = BODY_S, bytes_max: int = BODY_BYTES_MAX
) -> bytes:
    """The request's body, within bounds.

    Raises:
        CallError: it is longer than is allowed, takes longer, or the caller left before it was whole.
    """
    try:
        with Patience(patience_s):
            return await _body(scope, protocol, bytes_max)
    except TimeoutError as fault:
        raise CallError(f"the body did not come whole within {patience_s:g} s", status=408) from fault
    except RuntimeError as fault:  # RSGIProtocolClosed is one
        raise CallError("the body did not come whole") from fault


async def _body(scope: Scope, protocol: HttpProtocol, bytes_max: int) -> bytes:
    declared = scope.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) <= bytes_max:
        return await protocol()
    if declared is not None:
        raise _too_large(bytes_max)
    pieces: list[bytes] = []
    size = 0
    async for piece in protocol:
        size += len(piece)
        if size > bytes_max:
            raise _too_large(bytes_max)
        pieces.append(piece)
    return b"".join(pieces)


def api_key(scope: Scope) -> str | None:
    """The key a request carries: in a header of ours, as a bearer token, or where its API's own clients put it."""
    ours: str | None = scope.headers.get(_OUR_HEADER)
    if ours is not None:
        return ours
    authorization = scope.headers.get("authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        return value.strip() if scheme.lower() == "bearer" else None
    keys = (scope.headers.get(name) for name in _KEY_HEADERS)
    return next((key for key in keys if key is not None), None)


def brought_credential(scope: Scope) -> tuple[str, str]:
    """The header with the credential that the caller brought, from which `api_key` told who calls."""
    for name in (_OUR_HEADER, "authorization", *_KEY_HEADERS):
        value: str | None = scope.headers.get(name)
        if value is not None:
            return name, value
    raise CallError("no credential was brought", status=401)


TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_CONTEXT_HEADERS = (
    "aegis-run-id", "aegis-parent-id", "aegis-customer", "idempotency-key", "x-stainless-retry-count",
    "aegis-approval-id", TRACEPARENT,
)  # fmt: skip
_RETRY_DIGITS_MAX = 4
_OUR_HEADER = "x-aegis-key"
"""For callers whose `Authorization` says something else, as behind proxies that have their own."""
_KEY_HEADERS = ("x-api-key", "api-key", "x-goog-api-key")


def call_context(
    scope: Scope,
    door: str,
    patience_ns: int | None = None,
    read_ns: int = 0,
    leaves: Leaves | None = None,
) -> CallContext:
    """What the headers say of a call beside its request. A count of retries that is no number counts as none.

    `door` is where it came in, `read_ns` how long it took to read, and `leaves` waits until its caller has left.
    """
    headers = scope.headers
    run, parent, customer, idempotency_key, retries, approval, traced = map(headers.get, _CONTEXT_HEADERS)
    is_plain = not (run or parent or customer or idempotency_key or retries or approval or traced)
    if is_plain and patience_ns is None:
        return CallContext(door=door, read_ns=read_ns, leaves=leaves)
    is_count = retries is not None and retries.isdecimal() and len(retries) <= _RETRY_DIGITS_MAX
    return CallContext(
        run=run or None,
        parent=parent or None,
        customer=customer or None,
        idempotency_key=idempotency_key or None,
        address=f"{scope.method} {scope.path}?{scope.query_string}" if idempotency_key else "",
        retry=int(retries) if is_count else 0,
        patience_ns=patience_ns,
        approval=approval or None,
        trace=trace_of(scope) if traced else None,
        door=door,
        read_ns=read_ns,
        leaves=leaves,
    )


def trace_of(scope: Scope) -> Trace | None:
    """The caller's place in its trace, as its headers say."""
    traced = scope.headers.get(TRACEPARENT)
    return Trace(parent=traced, state=scope.headers.get(TRACESTATE) or "") if traced else None


def trace_headers(trace: Trace | None) -> Headers:
    """A place in a trace as headers say it."""
    if trace is None:
        return []
    return [(TRACEPARENT, trace.parent), *([(TRACESTATE, trace.state)] if trace.state else [])]


def forwarded_headers(
    scope: Scope,
    credential: tuple[str, str] | None,
    content_type: str | None,
    name: str | None,
    trace: Trace | None = None,
) -> Headers:
    """The request's headers as the upstream gets them: none of ours, none of the connection's, its credential.

    `content_type` is what the body was read as, and nothing else it may be taken for; `name` names the call. With
    `trace`, the call's place in a trace stands in that of the caller's.
    """
    replaced = () if trace is None else (TRACEPARENT, TRACESTATE)
    named = {name.strip().lower() for name in scope.headers.get("connection", "").split(",")}
    credential_name = credential[0] if credential else ""
    headers = [
        (name, value)
        for name, value in scope.headers.items()
        if name not in NEVER_FORWARDED
        and name not in named
        and name != credential_name
        and name not in replaced
        and not name.startswith(("aegis-", "x-forwarded-"))
    ]
    if content_type is not None:
        headers.append(("content-type", content_type))
    if name is not None:
        headers.append(("idempotency-key", name))
    if credential is not None:
        headers.append(credential)
    headers += trace_headers(trace)
    return headers


def returned_headers(headers: Headers, ours: Headers) -> Headers:
    """The upstream's headers as the caller gets them, with ours."""
    passed = [
        (name, value)
        for name, value in headers
        if name not in _NEVER_RETURNED and not name.startswith("aegis-")
    ]
    return [*passed, *ours]


def decision_headers(decided: Decided[Described]) -> Headers:
    """What an answer says of its decision."""
    headers = [
        ("aegis-decision-id", decided.call),
        ("aegis-effect", decided.admitted.effect),
        ("aegis-policy-version", decided.policy_version),
        ("aegis-run-id", decided.run),
    ]
    if decided.admitted.approval is not None:
        headers.append(("aegis-approval-id", decided.admitted.approval.id))
    if decided.downgraded_from is not None:
        headers.append(("aegis-downgraded-from", decided.downgraded_from))
    if decided.place is not None:
        headers.append(("aegis-trace-id", decided.place.trace))
    return headers


def settlement_headers(decided: Decided[Described], moved: Moved | None) -> Headers:
    """What an answer says of its cost and of what is left, as of its settlement or else of its admission."""
    headers = []
    if moved is not None and moved.cost_nano_usd is not None:
        headers.append(("aegis-cost-usd", usd_decimal_text(moved.cost_nano_usd)))
    balances = moved.balances if moved is not None else decided.admitted.balances
    left = remaining_nano_usd(decided.budgets, balances, decided.judged_ns)
    if left is not None:
        headers.append(("aegis-budget-remaining-usd", usd_decimal_text(left)))
    return headers


def send_error(protocol: HttpProtocol, answer: ErrorAnswer) -> None:
    """Answer with an error."""
    protocol.response_bytes(answer.status, answer.headers, answer.body)


def _too_large(bytes_max: int) -> CallError:
    return CallError(f"the body is longer than {bytes_max} bytes", status=413)
