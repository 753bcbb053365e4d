"""ext_authz: `/ext_authz/{connector}/{path}`, any method. An Envoy asks if a request may pass, and what to change.

The answer is that of HTTP ext_authz, and `server.py` says the same by gRPC: 200 with the headers that the upstream
gets, those that it doesn't (`x-envoy-auth-headers-to-remove`), and ours (`aegis-…`) for the caller; else what the
caller gets.

Rule 1: an Envoy shows no answer here. What was allowed counts as done: it is settled at once by the numbers of its
        request, or is in doubt where it takes the answer's to know what it came to.
Rule 2: what can't be done here is refused: an answer can't be redacted, nor can a body be changed.
Rule 3: a body counts as absent only where it is sure to be: one that was cut, or not shown, is not judged.
Rule 4: answers aren't kept, so a call that is repeated under its name is not made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Literal

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Secrets
from aegis_gateway.domain.errors import CallError, CallRepeated, UpstreamFault
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.domain.redaction import Redactions
from aegis_gateway.domain.registry import Operation
from aegis_gateway.entrypoints.data_plane.connect import PREFIX as CONNECT
from aegis_gateway.entrypoints.data_plane.connect import (
    OperationCall,
    describe,
    not_redactable,
    operation_request,
    tool_evidence,
)
from aegis_gateway.entrypoints.data_plane.envoy.access import TOKEN_HEADER, EnvoyAccess
from aegis_gateway.entrypoints.data_plane.envoy.shown import (
    ENVOYS_OWN,
    ShownRequest,
    request_changes,
    shown_request,
)
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    api_key,
    call_context,
    decision_headers,
    leaving_of,
    read_body,
    send_error,
    settlement_headers,
)
from aegis_gateway.entrypoints.data_plane.forwarding import (
    accounted_for,
    put_in_doubt,
    send_refusal,
    settle,
)
from aegis_gateway.entrypoints.data_plane.refusals import Headers, error_answer
from aegis_gateway.entrypoints.data_plane.wire import json_type, path_segments

PREFIX = "/ext_authz/"
PARTIAL_BODY = "x-envoy-auth-partial-body"
"""Says whether the body that is shown was cut. Envoys set it themselves, and only if they show one."""
REMOVE = "x-envoy-auth-headers-to-remove"

_TIMEOUT = "x-envoy-expected-rq-timeout-ms"
_TIMEOUT_DIGITS_MAX = 9
_PATIENCE = 2
"""Of the time that an Envoy waits for us, one part in so many may pass in waiting for a rate's next turn."""
_ANSWER_UNSEEN = "ext_authz doesn't see the answer"

Body = Literal["shown", "absent", "unseen"]


class AuthorizationDoor:
    """Decides for Envoys that forward by themselves."""

    def __init__(self, calls: Calls, secrets: Secrets, access: EnvoyAccess) -> None:
        """Build the door on the use cases; `access` tells Envoys from others."""
        self._calls = calls
        self._secrets = secrets
        self._access = access

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer an Envoy that asks over HTTP: with the request's own method, path and body."""
        if not self._access.is_given_by(scope.headers.get(TOKEN_HEADER)):
            message = f"only Envoys are answered here; send the Envoy token in `{TOKEN_HEADER}`"
            send_error(protocol, error_answer(401, "not_an_envoy", message))
            return
        connector, _, path = scope.path.removeprefix(PREFIX).partition("/")
        # What an Envoy says to us is no header of the request that it asks about.
        shown = [
            (name, value)
            for name, value in scope.headers.items()
            if name not in (TOKEN_HEADER, "content-length", "host") and not name.startswith("x-envoy-")
        ]
        asked = shown_request(connector, scope.method, f"/{path}?{scope.query_string}", shown)
        raw = await read_body(scope, protocol)
        leaving = asyncio.ensure_future(protocol.client_disconnect())
        try:
            await self.authorize(
                asked,
                raw,
                body_shown(scope.headers.get(PARTIAL_BODY), raw, None),
                protocol,
                patience_ns=_patience_ns(scope.headers.get(_TIMEOUT)),
                is_awaited=lambda: not leaving.done(),
            )
        finally:
            leaving.cancel()

    async def authorize(
        self,
        asked: ShownRequest,
        raw: bytes,
        body: Body,
        protocol: HttpProtocol,
        *,
        patience_ns: int,
        is_awaited: Callable[[], bool],
    ) -> None:
        """Decide for a request and answer. What is allowed is settled before, as far as it can be.

        `is_awaited`: whether the Envoy still waits. One that doesn't lets nothing pass.
        """
        key = api_key(asked)
        await self._calls.callers.identify(key)
        connector, *segments = path_segments(asked.path.removeprefix(CONNECT))
        if raw:
            _check_type(asked)
        try:
            decided = await self._calls.decide(
                key,
                lambda view, _model, redactions: _described(
                    view, connector, asked, segments, raw, body, redactions
                ),
                call_context(asked, "envoy", patience_ns, leaves=leaving_of(protocol)),
            )
        except CallRepeated as fault:
            _refuse_repetition(protocol, fault)
            return
        if not decided.allows:
            send_refusal(protocol, decided)
            return
        async with accounted_for(self._calls, decided, protocol):
            if not is_awaited():
                raise UpstreamFault("Envoy waits no longer for this call; nothing was sent", sent=False)
            if decided.timer is not None:
                decided.timer.forwards_nothing()
            headers = self._upstream_headers(asked, decided, raw, body)
            moved = await self._settle(decided)
            if decided.name is not None:
                await self._calls.keep(decided.tenant, decided.call, None, may_repeat=False)
            ours = decision_headers(decided) + settlement_headers(decided, moved)
            protocol.response_bytes(200, [*headers, *ours], b"")

    def _upstream_headers(
        self, asked: ShownRequest, decided: Decided[OperationCall], raw: bytes, body: Body
    ) -> Headers:
        """What the upstream gets of the request's headers, as an Envoy is told it.

        Raises:
            UpstreamFault: the connector's credential cannot be resolved, so nothing can be sent.
        """
        keep = ENVOYS_OWN | {"content-type"} if body == "unseen" else ENVOYS_OWN
        wanted = operation_request(asked, decided, raw, self._secrets).headers
        found = request_changes(asked.headers.items(), wanted, keep)
        return [*found.set, (REMOVE, ",".join(found.removed))]

    async def _settle(self, decided: Decided[OperationCall]) -> Moved | None:
        """Charge for what was allowed, as if it will be done: nobody will say whether it was."""
        call = decided.described
        assert isinstance(call.quote, Quote), "an allowed call has a quote"
        if call.request is None:
            return await put_in_doubt(self._calls, decided, call.quote.unbounded[USD])
        operation = call.request.operation
        if _reads(operation, "response"):
            words = f"{_ANSWER_UNSEEN}, and what the call came to is told there; ext_proc sees it"
            return await put_in_doubt(self._calls, decided, words)
        try:
            evidence = tool_evidence(operation, call.request.read, "response")
        except CallError as fault:
            return await put_in_doubt(self._calls, decided, str(fault))
        words = f"{_ANSWER_UNSEEN}; counted as done, by the numbers of the request"
        return await settle(
            self._calls, decided, msgspec.structs.replace(evidence, source="estimate", note=words)
        )


def body_shown(partial: str | None, raw: bytes, is_absent: bool | None) -> Body:
    """What is known of a body by what an Envoy says of it. `is_absent`: the request's own headers say there is none.

    What is said of an empty one is no Envoy's word: callers may say it, and one that shows no body leaves it so.

    Raises:
        CallError: it was cut.
    """
    if partial is not None and partial != "false":
        raise CallError(
            "the body is longer than Envoy shows it; send less, or raise `with_request_body.max_request_bytes` there",
            status=413,
        )
    if partial is not None and raw:
        return "shown"
    return "absent" if is_absent else "unseen"


def timeout_patience_ns(timeout_s: float) -> int:
    """How long a call may wait for its turn that an Envoy waits for so long."""
    return max(0, int(timeout_s * 1_000_000_000)) // _PATIENCE


def _patience_ns(timeout_ms: str | None) -> int:
    if timeout_ms is None or not timeout_ms.isdecimal() or len(timeout_ms) > _TIMEOUT_DIGITS_MAX:
        return 0
    return int(timeout_ms) * 1_000_000 // _PATIENCE


def _check_type(asked: ShownRequest) -> None:
    """Make sure that a body that is read as JSON is called so to the upstream too.

    Raises:
        CallError: it isn't, or Envoy doesn't show what it is called.
    """
    if "content-type" not in asked.headers:
        raise CallError(
            "the body's type isn't shown; send `content-type`, and have Envoy show it in `allowed_headers`",
            field="content-type",
        )
    json_type(asked.headers)


def _described(
    view: TenantView,
    connector: str,
    asked: ShownRequest,
    segments: list[str],
    raw: bytes,
    body: Body,
    redactions: Redactions,
) -> OperationCall:
    """The call that a request is, or why it can't be made where an Envoy asks by ext_authz alone.

    Raises:
        CallError: an argument is not what the operation declares, or its body isn't shown.
    """
    try:
        described = describe(view, connector, asked.method, segments, asked.query_string, raw, redactions)
    except CallError as fault:
        raise _of_unseen(fault) if body == "unseen" else fault from None
    if described.upstream is None or described.request is None:
        return described  # nobody declared it: it is refused, or passes as all does in proxy mode
    operation = described.request.operation
    if body == "unseen" and _reads(operation, "body"):
        raise _of_unseen(CallError(f"operation `{operation.id}` is judged by its body", field="body"))
    refuse = partial(not_redactable, described.upstream, operation)
    if body == "unseen" and redactions.arguments:
        return refuse("Envoy shows no body")
    if redactions.response:
        return refuse(f"{_ANSWER_UNSEEN}; use ext_proc")
    if described.sent is not None:
        return refuse("ext_authz can't change what is sent; use ext_proc")
    return described


def _of_unseen(fault: CallError) -> CallError:
    """A fault of a request whose body wasn't shown, which may be why."""
    words = f"{fault}; Envoy shows no body, which `with_request_body` changes"
    return CallError(words, status=fault.status, field=fault.field)


def _reads(operation: Operation, part: Literal["body", "response"]) -> bool:
    """Whether a part of the exchange says what an operation is, costs or counts."""
    if part == "body" and operation.body_schema:
        return True
    price = operation.price
    paths = (
        price.units_from,
        price.amount_from,
        *(count.source for count in operation.counts),
        *(argument.source for argument in operation.arguments),
    )
    return any(path and path[0] == part for path in paths)


def _refuse_repetition(protocol: HttpProtocol, fault: CallRepeated) -> None:
    if fault.is_same:
        code, words = "answer_not_kept", "and what it was answered isn't kept where ext_authz asks"
    else:
        code, words = "idempotency_key_reused", "which was another request; use a key of its own for each"
    message = f"call `{fault.first}` was made under this idempotency key, {words}"
    headers = [("aegis-decision-id", fault.first), ("x-should-retry", "false")]
    send_error(protocol, error_answer(422, code, message, headers=headers))
