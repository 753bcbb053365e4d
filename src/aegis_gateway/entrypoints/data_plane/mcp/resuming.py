"""Streams of the legacy form that are taken up again: a call whose answer comes on another stream than it was begun on.

A server may close a call's stream before the answer, and give the rest to who asks for what came after the last event's
id, at any worker, after a restart too.

Rule 1: the ids of a call's events go through the caller sealed, with all that the call is settled by. So whoever takes
        the stream up again brings it along, and the call is settled when its answer comes, however late that is.
Rule 2: no other ids reach a server: by one that is guessed an answer could be had that is neither settled nor redacted.
        So those of streams that are no call's are sealed too, and all are of the session that they were given in.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from aegis_gateway.application.commands import Admitted
from aegis_gateway.application.decided import AnswerRedaction, Decided
from aegis_gateway.application.ports import Sealer
from aegis_gateway.application.tracing import SpanNote
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.quote import Quote
from aegis_gateway.domain.redaction import Redaction
from aegis_gateway.domain.registry import Operation
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.mcp.answering import has_id
from aegis_gateway.entrypoints.data_plane.mcp.messages import Id
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request, Who
from aegis_gateway.entrypoints.data_plane.mcp.sessions import open_text, seal_text
from aegis_gateway.entrypoints.data_plane.tool_decisions import request_numbers
from aegis_gateway.entrypoints.data_plane.wire import OperationRequest

_ID_LINE = re.compile(rb"(?:(?<=[\r\n])|^)id:[ ]?([^\r\n]*)")


class OpenCall(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A call whose answer is still to come: the id of its request, and what it is settled by."""

    request: Id
    call: str
    run: str
    policy_version: str
    connector: str
    tool: str
    quote: Quote
    maximum: dict[str, int]
    operation: Operation | None = None
    numbers: dict[str, str] = {}
    redaction: Redaction = Redaction()
    watched: tuple[Shadow, ...] = ()
    note: SpanNote | None = None

    def decided(self, who: Who) -> Decided[OperationCall]:
        """The call's decision, as far as it takes that to settle it and to show its answer."""
        numbers = {tuple(path.split("\n")): Decimal(number) for path, number in self.numbers.items()}
        request = None
        if self.operation is not None:
            request = OperationRequest(
                operation=self.operation, values={}, summary={}, canonical=b"", read=numbers.get
            )
        described = OperationCall(
            connector=self.connector,
            tool=self.tool,
            quote=self.quote,
            arguments={},
            canonical=b"",
            summary={},
            request=request,
        )
        return Decided(
            call=self.call,
            tenant=who.tenant,
            described=described,
            admitted=Admitted(
                call=self.call,
                effect="allow",
                reasons=(),
                sequence=0,
                state="dispatched",
                maximum=self.maximum,
            ),
            policy_version=self.policy_version,
            budgets=(),
            run=self.run,
            answer=AnswerRedaction(
                redaction=self.redaction, watched=self.watched, key=who.view.redaction_key
            ),
            note=self.note,
        )


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A place in a server's stream, for an agent in one of its sessions; and the call that it is of, if any."""

    agent: str
    session: str
    event: str
    call: OpenCall | None


def open_call(request: Id, decided: Decided[OperationCall]) -> OpenCall:
    """A call that was just sent, as its events' ids carry it."""
    described = decided.described
    assert isinstance(described.quote, Quote), "an allowed call has a quote"
    asked = described.request
    return OpenCall(
        request=request,
        call=decided.call,
        run=decided.run,
        policy_version=decided.policy_version,
        connector=described.connector,
        tool=described.tool,
        quote=described.quote,
        maximum=decided.admitted.maximum,
        operation=_priced(asked.operation) if asked is not None else None,
        numbers=request_numbers(asked.operation, asked.read) if asked is not None else {},
        redaction=decided.answer.redaction,
        watched=decided.answer.watched,
        note=decided.span.note if decided.span is not None else decided.note,
    )


def _priced(operation: Operation) -> Operation:
    """An operation's price and counts; its arguments were looked at, and a schema may be long."""
    return msgspec.structs.replace(operation, arguments=(), body_schema=b"")


class Places:
    """Seals the ids of events, and knows them again."""

    def __init__(self, sealer: Sealer) -> None:
        """Seal ids."""
        self._sealer = sealer

    def marked(self, request: Request, server: str, call: OpenCall | None, block: bytes) -> bytes:
        """An event whose id is ours, if it has one."""
        who = request.who

        def sealed(match: re.Match[bytes]) -> bytes:
            place = Place(who.agent.id, _session_of(request), match[1].decode(errors="replace"), call)
            data = msgspec.msgpack.encode(place)
            return b"id: " + seal_text(self._sealer, who.tenant, data, _about(server)).encode()

        return _ID_LINE.sub(sealed, block) if has_id(block) else block

    def find(self, request: Request, server: str, id_: str) -> Place | None:
        """The place that an event's id is of; None if it was not given to this agent in this session."""
        who = request.who
        data = open_text(self._sealer, who.tenant, id_, _about(server))
        if data is None:
            return None
        try:
            place = msgspec.msgpack.decode(data, type=Place)
        except msgspec.MsgspecError:
            return None  # another version of the gateway gave it
        return place if (place.agent, place.session) == (who.agent.id, _session_of(request)) else None


def _session_of(request: Request) -> str:
    """The server's own name for the session of a request; empty where it has none."""
    return (request.session.upstream if request.session is not None else None) or ""


def _about(server: str) -> bytes:
    return f"mcp-event:{server}".encode()
