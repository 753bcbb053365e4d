"""The door for OpenAI Chat Completions: identify → quote → judge → admit → forward → settle.

Rule 1: the answer's last byte is released only when its cost is on disk, so a caller who has the answer can rely
        on the budget.
Rule 2: a caller who leaves changes nothing about the cost: the upstream is read to its end and settled.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

import msgspec

from aegis_gateway.application.calls import Calls, Decided, Described
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Secrets, Upstream, UpstreamAnswer, UpstreamRequest, UpstreamStream
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.price import Usage, model_charges
from aegis_gateway.domain.quote import CALLS, TOKENS, Quote, quote_model
from aegis_gateway.domain.registry import Connector, Model
from aegis_gateway.entrypoints.data_plane.events import EventReader, event_data, split
from aegis_gateway.entrypoints.data_plane.exchange import (
    Caller,
    HttpProtocol,
    Scope,
    api_key,
    call_context,
    decision_headers,
    forwarded_headers,
    read_body,
    returned_headers,
    settlement_headers,
)
from aegis_gateway.entrypoints.data_plane.forwarding import (
    accounted_for,
    at_maximum,
    credential_header,
    no_charge,
    put_in_doubt,
    send_refusal,
    settle,
)
from aegis_gateway.entrypoints.data_plane.refusals import stream_error
from aegis_gateway.entrypoints.data_plane.wire import (
    JSON,
    ChatRequest,
    answer_usage,
    chunk_usage,
    is_error_object,
    parse_chat,
)

CHAT = "chat"
READ_OFF_S = 0.5

_DONE = b"[DONE]"
_USAGE = re.compile(rb'"usage"\s*+:\s*+(?!null)')
"""A usage that says something. Where it was asked for every chunk has one, and all but the last have it null."""


class ChatCall(Described, frozen=True, kw_only=True):
    """A chat completion as it was described, with the model and connector of that moment."""

    request: ChatRequest
    target: Model | None = None
    upstream: Connector | None = None


class ChatDoor:
    """`POST /v1/chat/completions`."""

    def __init__(self, calls: Calls, upstream: Upstream, secrets: Secrets) -> None:
        """Build the door on the use cases and the way to the upstreams."""
        self._calls = calls
        self._upstream = upstream
        self._secrets = secrets

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        await self._calls.identify(key)
        request = parse_chat(await read_body(scope, protocol))
        decided = await self._calls.decide(
            key, lambda view, _agent: describe(view, request), call_context(scope)
        )
        if not decided.allows:
            send_refusal(protocol, decided)
            return
        async with accounted_for(self._calls, decided, protocol):
            upstream_request = self._upstream_request(scope, decided)
            if request.stream:
                async with self._upstream.stream(upstream_request) as stream:
                    await self._stream(protocol, decided, stream)
            else:
                await self._answer(protocol, decided, await self._upstream.fetch(upstream_request))

    def _upstream_request(self, scope: Scope, decided: Decided[ChatCall]) -> UpstreamRequest:
        call = decided.described
        assert call.target is not None, "an allowed call has a model"
        assert call.upstream is not None, "an allowed call has a connector"
        return UpstreamRequest(
            method="POST",
            url=f"{call.upstream.base_url}/chat/completions",
            headers=forwarded_headers(scope, credential_header(call.upstream, self._secrets), JSON),
            body=call.request.upstream_body(call.target.upstream, decided.admitted.output_tokens),
            timeout_s=call.upstream.timeout_s,
        )

    async def _answer(
        self, protocol: HttpProtocol, decided: Decided[ChatCall], answer: UpstreamAnswer
    ) -> None:
        if answer.status == 200:
            moved = await self._settle_usage(decided, answer_usage(answer.body), "the answer has no usage")
        else:
            moved = await self._settle_error(decided, answer.status, answer.body)
        ours = decision_headers(decided) + settlement_headers(decided, moved)
        protocol.response_bytes(answer.status, returned_headers(answer.headers, ours), answer.body)

    async def _stream(
        self, protocol: HttpProtocol, decided: Decided[ChatCall], answer: UpstreamStream
    ) -> None:
        """Pass events on as they come; hold back the last until the cost is on disk."""
        if answer.status != 200:
            await self._answer(protocol, decided, await answer.rest())
            return
        headers = returned_headers(
            answer.headers, decision_headers(decided) + settlement_headers(decided, None)
        )
        caller = Caller(protocol.response_stream(answer.status, headers))
        stream = ChatStream(hide_usage=not decided.described.request.wants_usage)
        why = "the upstream's stream ended before its end"
        try:
            while not stream.is_done and (piece := await answer.next_piece()) is not None:
                await caller.send(stream.feed(piece))
            stream.end()
        except (UpstreamFault, ValueError) as fault:
            why = str(fault)
        if not stream.is_done:
            await self._settle_broken_stream(decided, stream, why)
            await caller.send(stream_error(why))
            return
        await _read_off(answer)
        await self._settle_usage(decided, stream.usage, "the stream has no usage")
        await caller.send(stream.last)

    async def _settle_usage(
        self, decided: Decided[ChatCall], usage: Usage | None, why_not: str
    ) -> Moved | None:
        """Settle at the usage that was reported, or at the maximum where none was."""
        call = decided.described
        if usage is not None and call.target is not None and call.target.price is not None:
            evidence = Evidence(
                source="usage",
                lines=model_charges(call.target.price, usage),
                actual={TOKENS: usage.input + usage.output, CALLS: 1},
            )
            return await settle(self._calls, decided, evidence)
        assert isinstance(call.quote, Quote), "an allowed call has a quote"
        estimate = at_maximum(call.quote, decided.admitted.maximum, f"{why_not}; counted at the maximum")
        if estimate is None:
            return await put_in_doubt(self._calls, decided, why_not)
        return await settle(self._calls, decided, estimate)

    async def _settle_error(self, decided: Decided[ChatCall], status: int, body: bytes) -> Moved | None:
        """Nothing is charged for what the provider itself refused or failed; anything else is in doubt."""
        if 400 <= status < 500 or is_error_object(body):
            return await settle(self._calls, decided, no_charge(status))
        return await put_in_doubt(self._calls, decided, f"the upstream answered {status} without saying why")

    async def _settle_broken_stream(self, decided: Decided[ChatCall], stream: ChatStream, why: str) -> None:
        if stream.usage is not None:
            await self._settle_usage(decided, stream.usage, why)
        else:
            await put_in_doubt(self._calls, decided, why)


class ChatStream:
    """Reads a completion's stream as it passes: finds the usage, holds back the end."""

    def __init__(self, *, hide_usage: bool) -> None:
        """`hide_usage` for callers who did not ask for the chunk that carries it."""
        self._events = EventReader()
        self._hide_usage = hide_usage
        self.usage: Usage | None = None
        self.is_done = False
        self.last = b""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece from the upstream, give what may be passed on now.

        Raises:
            ValueError: an event is longer than any may be.
        """
        block = self._events.block(piece)
        if not self.is_done and _DONE not in block and not _USAGE.search(block):
            return block
        return b"".join(event for event in split(block) if self._passes(event))

    def end(self) -> None:
        """Take note that nothing more comes. Some servers leave out the blank line after their last event."""
        rest = self._events.rest()
        if event_data(rest).strip() == _DONE:
            self._passes(rest + b"\n\n")

    def _passes(self, event: bytes) -> bool:
        if self.is_done:
            return False  # nobody reads on after the end
        if _DONE in event and event_data(event).strip() == _DONE:
            self.is_done, self.last = True, event
            return False
        if not _USAGE.search(event):
            return True
        usage, is_bare = chunk_usage(event_data(event))
        if usage is not None:
            self.usage = usage
        return not (self._hide_usage and usage is not None and is_bare)


async def _read_off(answer: UpstreamStream) -> None:
    """Read the little that may follow a stream's end, so that its connection can be used again; not for long."""
    with contextlib.suppress(UpstreamFault, TimeoutError):
        async with asyncio.timeout(READ_OFF_S):
            await answer.next_piece()


def describe(view: TenantView, request: ChatRequest) -> ChatCall:
    """Describe a chat completion under a registry: its model, its connector, its quote."""
    registry = view.registry
    model = registry.models.get(request.model)
    if model is None:
        return ChatCall(
            connector="",
            tool=CHAT,
            model=request.model[:128],
            quote=_unknown_model(request.model[:128], registry.models),
            arguments={},
            canonical=request.canonical,
            summary=request.summary(),
            request=request,
        )
    connector = registry.connectors[model.connector]
    return ChatCall(
        connector=connector.id,
        tool=CHAT,
        model=model.id,
        region=connector.region,
        quote=quote_model(model, request.shape),
        arguments=request.arguments(),
        canonical=request.canonical,
        summary=request.summary(),
        request=request,
        target=model,
        upstream=connector,
    )


def _unknown_model(name: str, models: dict[str, Model]) -> Reason:
    known = ", ".join(f"`{model}`" for model in sorted(models)[:8]) or "none"
    return Reason(
        code="unknown_tool", subject=name, message=f"model `{name}` is not configured here; there are {known}"
    )


def models_list(models: dict[str, Model]) -> bytes:
    """The body of `GET /v1/models`, in OpenAI's form."""
    data = [
        {"id": model.id, "object": "model", "created": 0, "owned_by": model.connector}
        for model in models.values()
    ]
    return msgspec.json.encode({"object": "list", "data": data})
