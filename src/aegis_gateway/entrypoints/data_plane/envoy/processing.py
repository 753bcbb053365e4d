"""ext_proc: an Envoy hands a call over, first the request and then its answer, and does what it is told with both.

The call takes the very way of `/connect/`, with the Envoy in the place of our own connections. So it is decided,
settled, redacted, named and refused as it would be there.

Rule 1: the request goes on only once the decision is on disk; the answer goes on only once the call is settled.
Rule 2: what an Envoy was told to send counts as sent, unless the Envoy itself says that it never was.
Rule 3: an Envoy that stops talking changes nothing: what it was not told yet was never sent, the rest is in doubt.
Rule 4: a conversation that can't be gone on with ends in an error, never quietly: an Envoy would let the rest pass.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from aegis_gateway.adapters.upstream import without_secret
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.ports import Secrets, UpstreamAnswer
from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.entrypoints.data_plane.app import DataPlane
from aegis_gateway.entrypoints.data_plane.connect import ConnectDoor, OperationCall, operation_request
from aegis_gateway.entrypoints.data_plane.envoy.api import APPEND, BUFFERED, OVERWRITE, ProcessingResponse
from aegis_gateway.entrypoints.data_plane.envoy.shown import (
    HeaderChanges,
    HeldAnswer,
    ShownRequest,
    changes,
    header_pairs,
    request_changes,
    shown_request,
)
from aegis_gateway.entrypoints.data_plane.exchange import HOP_BY_HOP, Scope
from aegis_gateway.entrypoints.data_plane.refusals import Headers, error_answer
from aegis_gateway.entrypoints.data_plane.routes import Route

_VIA_UPSTREAM = "via_upstream"
_NEVER_CONNECTED = (
    "cluster_not_found",
    "no_healthy_upstream",
    "route_not_found",
    *(
        f"upstream_reset_before_response_started{{{reason}"
        for reason in (
            "connection_timeout",
            "local_connection_failure",
            "overflow",
            "remote_connection_failure",
        )
    ),
)
"""How an Envoy's details of its answer begin where no connection took the request."""
_STATUS = re.compile("[1-9][0-9]{2}")
_RESPONSE_OWN = HOP_BY_HOP | {"content-length", "date", "server"}

Part = Literal["request_headers", "request_body", "response_headers", "response_body"]

_log = logging.getLogger("aegis.data_plane")


class ConversationEnded(Exception):
    """The Envoy doesn't listen any more."""


class ConversationBroken(Exception):
    """The Envoy said what can't be answered, or expects nothing while there is something to say."""


class Conversation:
    """What an Envoy says of one request, in order, and what it is told."""

    def __init__(self, write: Callable[[Any], Awaitable[None]]) -> None:
        """Tell by `write`, which raises `ConversationEnded`."""
        self._write = write
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._why_unreadable = ""

    @property
    def has_ended(self) -> bool:
        """Whether the Envoy says nothing more."""
        return self._ended.is_set()

    async def until_ended(self) -> None:
        """Wait until the Envoy says nothing more."""
        await self._ended.wait()

    def hear(self, message: Any) -> None:
        """The Envoy said something."""
        self._heard.put_nowait(message)

    def end(self, why_unreadable: str = "") -> None:
        """The Envoy will say nothing more, or nothing that can be read."""
        self._why_unreadable = self._why_unreadable or why_unreadable
        self._ended.set()
        self._heard.put_nowait(None)

    async def next(self) -> Any:
        """What it says next; None once it says nothing more."""
        message = await self._heard.get()
        if message is None:
            self._heard.put_nowait(None)
        return message

    def check(self) -> None:
        """Make sure that it ended, if it did, because the Envoy had no more to say.

        Raises:
            ConversationBroken: it said what can't be read.
        """
        if self._why_unreadable:
            raise ConversationBroken(self._why_unreadable)

    async def tell(self, response: Any) -> None:
        """Tell it something.

        Raises:
            ConversationEnded: it may or may not have heard that.
        """
        await self._write(response)


class Processing:
    """Serves what Envoys hand over."""

    def __init__(self, data_plane: DataPlane, calls: Calls, secrets: Secrets) -> None:
        """Build on the data plane, whose calls these are, and on the use cases."""
        self._data_plane = data_plane
        self._calls = calls
        self._secrets = secrets

    async def serve(self, talk: Conversation, connector: str, patience_ns: int) -> None:
        """Serve one request for a connector; a call may wait for a rate's next turn for `patience_ns`.

        Raises:
            ConversationEnded: the Envoy left before it heard all of it.
            ConversationBroken: it has to be told that this failed.
        """
        await self._serve(talk, connector, patience_ns)
        talk.check()

    async def _serve(self, talk: Conversation, connector: str, patience_ns: int) -> None:
        first = await talk.next()
        if first is None:
            return
        why_not = _unusable(first, connector)
        if why_not is not None:
            _log.error("an Envoy asks in a way that can't be answered: %s", why_not)
            refusal = error_answer(500, "envoy_misconfigured", why_not)
            await talk.tell(_immediate(refusal.status, refusal.headers, refusal.body))
            return
        part: Part = "request_headers"
        raw = b""
        if not first.request_headers.end_of_stream:
            await talk.tell(_go_on(part))
            second = await talk.next()
            if second is None:
                return  # its caller left; nothing was decided
            if second.HasField("response_headers"):
                await _let_by(talk, second)
                return
            if not second.HasField("request_body"):
                raise ConversationBroken(
                    "there is no body where one should be; is `request_body_mode` BUFFERED?"
                )
            part, raw = "request_body", second.request_body.body
        asked = asked_request(first.request_headers, connector)
        held = HeldAnswer(raw, talk.until_ended)
        way = _ThroughEnvoy(talk, part, self._secrets)
        await self._data_plane.serve(
            Route(ConnectDoor(self._calls, way, patience_ns, "envoy"), name="envoy"), asked, held
        )
        if held.answer is None:
            raise ConversationBroken("a door gave no answer")
        await way.deliver(held.answer)


async def _let_by(talk: Conversation, message: Any) -> None:
    """Let an answer go by that the Envoy gives of itself, as to who sends too much: nothing was decided."""
    part: Part = "response_headers"
    while message is not None and message.HasField(part):
        await talk.tell(_go_on(part))
        message, part = await talk.next(), "response_body"


class _ThroughEnvoy:
    """The way to a call's upstream and back through an Envoy, which waits for a word on one part at a time."""

    def __init__(self, talk: Conversation, part: Part, secrets: Secrets) -> None:
        """The Envoy waits for a word on `part`."""
        self._talk = talk
        self._part: Part | None = part
        self._secrets = secrets
        self._answer: UpstreamAnswer | None = None

    async def __call__(self, scope: Scope, decided: Decided[OperationCall], raw: bytes) -> UpstreamAnswer:
        """Have a call sent, and wait for its answer.

        Raises:
            UpstreamFault: there was no answer, or it broke off.
        """
        request = operation_request(scope, decided, raw, self._secrets)
        if self._talk.has_ended:
            raise UpstreamFault("Envoy waits no longer for this call; nothing was sent", sent=False)
        await self._go_on(
            request_changes(scope.headers.items(), request.headers),
            target=_target(decided),
            body=request.body if request.body != raw else None,
            is_sized="content-length" in scope.headers,
        )
        message = await self._next("response_headers")
        fault, doubt = fate(message)
        if fault is not None:
            raise fault
        headers = message.response_headers
        pairs = header_pairs(headers.headers.headers)
        body = b""
        if not headers.end_of_stream:
            await self._go_on(HeaderChanges(set=[], removed=[]))
            body = (await self._next("response_body")).response_body.body
        status = dict(pairs).get(":status", "")
        if not _STATUS.fullmatch(status):
            raise UpstreamFault("Envoy tells of an answer without a status", sent=True)
        self._answer = UpstreamAnswer(
            status=int(status),
            headers=[(name.lower(), value) for name, value in pairs if not name.startswith(":")],
            body=body,
        )
        return msgspec.structs.replace(without_secret(self._answer, request.secret), doubt=doubt)

    async def deliver(self, answer: UpstreamAnswer) -> None:
        """Have the caller answered: with the upstream's answer, changed as far as it has to be, or with another.

        Raises:
            ConversationEnded: the Envoy listens no more.
            ConversationBroken: the Envoy waits for nothing, so it can't be told.
        """
        if self._part is None:
            if self._talk.has_ended:
                return
            raise ConversationBroken("the answer did not come as it should")
        theirs = self._answer
        is_theirs = (
            theirs is not None
            and answer.status == theirs.status
            and (self._part == "response_body" or not answer.body)
        )
        if theirs is None or not is_theirs:
            await self._talk.tell(_immediate(answer.status, answer.headers, answer.body))
            return
        body = answer.body if answer.body != theirs.body else None
        is_sized = "content-length" in dict(theirs.headers)
        found = changes(theirs.headers, answer.headers, _RESPONSE_OWN)
        await self._talk.tell(_go_on(self._part, found, body=body, is_sized=is_sized))

    async def _go_on(
        self,
        found: HeaderChanges,
        *,
        target: str | None = None,
        body: bytes | None = None,
        is_sized: bool = False,
    ) -> None:
        assert self._part is not None, "the Envoy waits for a word"
        response = _go_on(self._part, found, target=target, body=body, is_sized=is_sized)
        self._part = None
        try:
            await self._talk.tell(response)
        except ConversationEnded as fault:
            raise UpstreamFault("Envoy left while it was told to go on", sent=True) from fault

    async def _next(self, part: Part) -> Any:
        message = await self._talk.next()
        if message is None:
            raise UpstreamFault("the call broke off before its answer was whole", sent=True)
        if not message.HasField(part):
            raise UpstreamFault("Envoy said something else than what was answered", sent=True)
        self._part = part
        return message


def _unusable(first: Any, connector: str) -> str | None:
    """Why a request can't be served as its Envoy hands it over."""
    if not first.HasField("request_headers"):
        return "a request begins with its headers; set `request_header_mode: SEND`"
    if first.observability_mode:
        return "`observability_mode` lets everything pass, whatever is said here; leave it out"
    if not connector:
        return "it isn't said which connector the route is of; set `aegis-connector` in `initial_metadata`"
    modes = first.protocol_config
    if modes.request_body_mode != BUFFERED or modes.response_body_mode != BUFFERED:
        return "set `request_body_mode` and `response_body_mode` to BUFFERED; less is not enough to judge and settle by"
    return None


def asked_request(headers: Any, connector: str) -> ShownRequest:
    """The request that an Envoy tells of by its headers."""
    pairs = header_pairs(headers.headers.headers)
    pseudo = dict(pair for pair in pairs if pair[0].startswith(":"))
    rest = [pair for pair in pairs if not pair[0].startswith(":")]
    return shown_request(connector, pseudo.get(":method", ""), pseudo.get(":path", ""), rest)


def _target(decided: Decided[OperationCall]) -> str | None:
    """Path and query that a call is sent with, where they were changed."""
    sent = decided.described.sent
    if sent is None:
        return None
    return f"/{sent.path}?{sent.query}" if sent.query else f"/{sent.path}"


def fate(message: Any) -> tuple[UpstreamFault | None, str]:
    """What an answer's attributes say of it: why it isn't the upstream's, or why it doesn't tell what the call cost."""
    said = {name: value for each in message.attributes.values() for name, value in each.fields.items()}
    details, attempts = "", None
    if "response.code_details" in said:
        details = said["response.code_details"].string_value
    count = said.get("upstream.request_attempt_count")
    if count is not None and count.WhichOneof("kind") == "number_value":
        attempts = (
            count.number_value
        )  # a number that isn't there is no 0, which would say that nothing was sent
    if details in ("", _VIA_UPSTREAM):
        is_repeated = attempts is not None and attempts > 1
        return None, f"Envoy sent it {attempts:.0f} times, and tells of one answer" if is_repeated else ""
    if attempts == 0 or (attempts == 1 and details.startswith(_NEVER_CONNECTED)):
        return UpstreamFault("Envoy cannot reach the upstream; nothing was sent", sent=False), ""
    words = f"Envoy got no answer of the upstream: {details[:128]}"
    return UpstreamFault(words, sent=True, timed_out="timeout" in details), ""


def _go_on(
    part: Part,
    found: HeaderChanges | None = None,
    *,
    target: str | None = None,
    body: bytes | None = None,
    is_sized: bool = False,
) -> Any:
    """A word to go on with a part, changed. An Envoy wants a stated length changed along with the body."""
    response = ProcessingResponse()
    common = getattr(response, part).response
    common.SetInParent()
    if found is not None:
        _put(common.header_mutation, found)
    if target is not None:
        _put_header(common.header_mutation.set_headers, ":path", target, OVERWRITE)
    if body is not None:
        common.body_mutation.body = body
        if is_sized:
            _put_header(common.header_mutation.set_headers, "content-length", str(len(body)), OVERWRITE)
    return response


def _immediate(status: int, headers: Headers, body: bytes) -> Any:
    """A word to answer the caller at once, with nothing of the upstream's."""
    response = ProcessingResponse()
    immediate = response.immediate_response
    immediate.status.code = status
    found = changes([], headers, _RESPONSE_OWN)
    _put(immediate.headers, found)
    immediate.body = body
    immediate.details = "aegis"
    return response


def _put(mutation: Any, found: HeaderChanges) -> None:
    for name, value in found.set:
        _put_header(mutation.set_headers, name, value, OVERWRITE)
    for name, value in found.added:
        _put_header(mutation.set_headers, name, value, APPEND)
    mutation.remove_headers.extend(found.removed)


def _put_header(options: Any, name: str, value: str, action: int) -> None:
    option = options.add()
    option.header.key = name
    option.header.raw_value = value.encode()
    option.append_action = action
