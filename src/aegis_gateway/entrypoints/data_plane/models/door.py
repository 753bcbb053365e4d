"""The door for models: identify → quote → judge → admit → forward → settle, in any dialect.

Rule 1: the answer's last byte is released only when its cost is on disk, so a caller who has the answer can rely
        on the budget.
Rule 2: a caller who leaves changes nothing about the cost: the upstream is read on, within bounds, and settled.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.ports import Secrets, Upstream, UpstreamAnswer, UpstreamRequest, UpstreamStream
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.entrypoints.data_plane.answers import send_answer, shown_answer
from aegis_gateway.entrypoints.data_plane.approvals import held
from aegis_gateway.entrypoints.data_plane.exchange import (
    Caller,
    HttpProtocol,
    Scope,
    api_key,
    call_context,
    decision_headers,
    leaving_of,
    read_body,
    returned_headers,
    settlement_headers,
)
from aegis_gateway.entrypoints.data_plane.forwarding import (
    accounted_for,
    send_refusal,
    upstream_request,
)
from aegis_gateway.entrypoints.data_plane.models.call import ModelCall, describe
from aegis_gateway.entrypoints.data_plane.models.dialect import NO_ADDRESS, Address, Dialect, StreamWatch
from aegis_gateway.entrypoints.data_plane.models.origin import OriginReader, answer_origin
from aegis_gateway.entrypoints.data_plane.models.redacted_stream import ShownStream
from aegis_gateway.entrypoints.data_plane.models.settling import (
    settle_broken,
    settle_error,
    settle_free,
    settle_high,
    settle_usage,
)
from aegis_gateway.entrypoints.data_plane.wire import JSON

READ_OFF_S = 0.5

DRAIN_S = 120.0
DRAIN_BYTES_MAX = 16 * 1024 * 1024
"""How long and how far an answer is read on that nobody waits for any more."""

_LEFT = "the caller left and the answer was not read to its end"


class ModelDoor:
    """One dialect's door."""

    def __init__(self, dialect: Dialect, calls: Calls, upstream: Upstream, secrets: Secrets) -> None:
        """Build the door on the use cases and the way to the upstreams."""
        self._dialect = dialect
        self._calls = calls
        self._upstream = upstream
        self._secrets = secrets
        self.errors = dialect.errors

    async def __call__(self, scope: Scope, protocol: HttpProtocol, address: Address = NO_ADDRESS) -> None:
        """Answer one request."""
        dialect, key = self._dialect, api_key(scope)
        await self._calls.callers.identify(key)
        body = await read_body(scope, protocol)
        began_ns = time.monotonic_ns()
        request = dialect.parse(address, body)
        read_ns = time.monotonic_ns() - began_ns
        decided = await held(
            self._calls,
            scope,
            protocol,
            lambda: self._calls.decide(
                key,
                lambda view, model, redactions: describe(view, dialect, request, model, redactions),
                call_context(scope, "models", read_ns=read_ns, leaves=leaving_of(protocol)),
            ),
        )
        if not decided.allows:
            send_refusal(protocol, decided, self.errors)
            return
        async with accounted_for(self._calls, decided, protocol, self.errors):
            upstream_request = self._upstream_request(scope, decided)
            if request.stream:
                async with self._upstream.stream(upstream_request) as stream:
                    await self._stream(protocol, decided, stream)
            else:
                await self._answer(protocol, decided, await self._upstream.fetch(upstream_request))

    def _upstream_request(self, scope: Scope, decided: Decided[ModelCall]) -> UpstreamRequest:
        call = decided.described
        model, connector, request = call.target, call.upstream, call.request
        assert model is not None, "an allowed call has a model"
        assert connector is not None, "an allowed call has a connector"
        return upstream_request(
            scope,
            connector,
            self._secrets,
            method="POST",
            url=self._dialect.url(connector, model, request),
            content_type=JSON,
            body=self._dialect.body(connector, model, request, decided.admitted.output_tokens),
            name=decided.name,
            own_credential=decided.own_credential,
            trace=decided.trace,
        )

    async def _answer(
        self, protocol: HttpProtocol, decided: Decided[ModelCall], answer: UpstreamAnswer
    ) -> None:
        self._calls.upstream_answered(decided, answer.status)
        shown, decided = shown_answer(answer, decided, self._dialect.content)
        if answer.status == 200 and decided.span is not None:
            decided.span.answered(answer_origin(answer.body))
        if answer.status != 200:
            moved = await settle_error(self._calls, decided, answer.status, answer.body)
        elif self._dialect.is_free:
            moved = await settle_free(self._calls, decided)
        else:
            usage = self._dialect.usage(answer.body)
            moved = await settle_usage(self._calls, decided, usage, "the answer has no usage")
        send_answer(protocol, decided, shown, moved, self.errors)

    async def _stream(
        self, protocol: HttpProtocol, decided: Decided[ModelCall], answer: UpstreamStream
    ) -> None:
        """Pass events on as they come; hold back the last until the cost is on disk."""
        if answer.status != 200:
            await self._answer(protocol, decided, await answer.rest())
            return
        shown = ShownStream(answer.headers, decided, self._dialect)
        ours = decision_headers(decided) + settlement_headers(decided, None)
        headers = returned_headers(shown.headers(answer.headers), ours)
        caller = Caller(protocol.response_stream(answer.status, headers))
        watch = self._dialect.watch(decided.described.request)
        origin = OriginReader(decided.span)
        why = "the upstream's stream ended before its end"
        try:
            await _pass_on(answer, caller, watch, shown, origin)
            watch.end()
        except TimeoutError:
            await settle_high(self._calls, shown.told(decided), _LEFT)
            return
        except (UpstreamFault, ValueError) as fault:
            why = str(fault)
            if isinstance(fault, UpstreamFault):
                self._calls.upstream_failed(decided, fault)
        finally:
            origin.end()
        if not watch.is_done:
            await caller.send(shown.end(b""))
            await settle_broken(self._calls, shown.told(decided), watch.usage, why)
            await caller.send(self.errors.event(502, "upstream_failed", why))
            return
        await _read_off(answer)
        last = shown.end(watch.last)
        await settle_usage(self._calls, shown.told(decided), watch.usage, "the stream has no usage")
        await caller.finish(last)


async def _pass_on(
    answer: UpstreamStream, caller: Caller, watch: StreamWatch, shown: ShownStream, origin: OriginReader
) -> None:
    """Pass pieces on until the stream's end, or read on for the bill's sake once the caller has left.

    Raises:
        UpstreamFault: the upstream broke off.
        TimeoutError: the caller has left, and what was left to read is more than that is worth.
        ValueError: an event is longer than any may be.
    """
    while not watch.is_done and (piece := await answer.next_piece()) is not None:
        origin.feed(piece)
        await caller.send(shown.feed(watch.feed(piece)))
        if not caller.is_there:
            async with asyncio.timeout(DRAIN_S):
                await _drain(answer, watch, shown)
            return


async def _drain(answer: UpstreamStream, watch: StreamWatch, shown: ShownStream) -> None:
    size = 0
    while not watch.is_done and (piece := await answer.next_piece()) is not None:
        shown.feed(watch.feed(piece))
        size += len(piece)
        if size > DRAIN_BYTES_MAX:
            raise TimeoutError


async def _read_off(answer: UpstreamStream) -> None:
    """Read the little that may follow a stream's end, so that its connection can be used again; not for long."""
    with contextlib.suppress(UpstreamFault, TimeoutError):
        async with asyncio.timeout(READ_OFF_S):
            await answer.next_piece()
