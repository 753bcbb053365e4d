"""Idempotency: the same call under the same name (`Idempotency-Key`) is made once, and answered alike each time.

Rule 1: the name is written with the admission, so no two calls have it; the answer is kept after it, encrypted.
Rule 2: who repeats a call that is under way waits for its answer; one whose answer is not kept is told so, by the
        first call's id, and is never made again.
Rule 3: a repetition decides, reserves and records nothing: there was one call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.ports import Clock, NamedCallFound, NamedCalls, NameKey, Sealer
from aegis_gateway.domain.errors import AegisError, CallError, CallRepeated
from aegis_gateway.entrypoints.data_plane.error_forms import ErrorForm
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    Scope,
    StreamTransport,
    api_key,
    send_error,
)
from aegis_gateway.entrypoints.data_plane.refusals import Headers, error_answer

HEADER = "idempotency-key"
ANSWER_BYTES_MAX = 1024 * 1024
WAIT_S = 900.0
LOOK_INTERVAL_S = 0.05
LOOK_INTERVAL_S_MAX = 0.5
CLOSING_NS = 10 * 1_000_000_000
"""How long after its settlement a call's answer may take to be kept; later it is lost."""

_DECISION = "aegis-decision-id"
_log = logging.getLogger("aegis.data_plane")

Door = Callable[[Scope, HttpProtocol], Awaitable[None]]


class Answer(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An answer as it was given, a stream's as all that was sent of it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class Idempotency:
    """Serves requests that name their call."""

    def __init__(self, calls: Calls, named_calls: NamedCalls, sealer: Sealer, clock: Clock) -> None:
        """Build on the use cases, and on what is known of named calls."""
        self._calls = calls
        self._named_calls = named_calls
        self._sealer = sealer
        self._clock = clock

    async def serve(self, door: Door, scope: Scope, protocol: HttpProtocol, errors: ErrorForm) -> None:
        """Have a door answer, and keep what it answered; or answer as it was answered before.

        Raises:
            CallError: the name is empty, or no text.
        """
        if not scope.headers.get(HEADER):
            raise CallError("the idempotency key is empty, or no ASCII text", field=HEADER)
        recorder = Recorder(protocol)
        try:
            await door(scope, recorder)
        except CallRepeated as fault:
            await self._repeat(fault, scope, protocol, errors)
            return
        await self._keep(scope, recorder)

    async def _keep(self, scope: Scope, recorder: Recorder) -> None:
        answer = recorder.answer
        if answer is None:
            return
        headers = dict(answer.headers)
        call, name, key = headers.get(_DECISION), scope.headers.get(HEADER), api_key(scope)
        if call is None:
            return  # nothing was decided
        try:
            full_name = await self._calls.name_key(key, name)
            sealed = None
            if answer.status < 500 and not recorder.is_too_long:
                sealed = self._sealer.seal(full_name[0], _encode(answer), _about(full_name, call))
            is_unsent = headers.get("aegis-sent") == "false"
            await self._calls.keep(key, name, call, sealed, is_unsent=is_unsent)
        except AegisError as fault:
            # The caller has the answer. Whoever repeats the call is told that it is not kept.
            _log.warning("the answer of call %s was not kept: %s", call, fault)

    async def _repeat(
        self, fault: CallRepeated, scope: Scope, protocol: HttpProtocol, errors: ErrorForm
    ) -> None:
        ours: Headers = [(_DECISION, fault.first), ("x-should-retry", "false")]
        if not fault.is_same:
            message = (
                f"this idempotency key was used for another request, call `{fault.first}`; "
                "use a key of its own for each request"
            )
            send_error(protocol, error_answer(422, "idempotency_key_reused", message, errors, headers=ours))
            return
        name = await self._calls.name_key(api_key(scope), scope.headers.get(HEADER))
        found = await self._closed(name)
        if found is None:
            message = "the first call under this idempotency key was never sent; try again"
            send_error(
                protocol, error_answer(503, "try_again", message, errors, headers=[("retry-after", "1")])
            )
            return
        if found.named.answer is None:
            message = (
                f"call `{fault.first}` was made under this idempotency key, and its answer is not kept; "
                "`aegis calls` says what became of it"
            )
            send_error(protocol, error_answer(422, "answer_not_kept", message, errors, headers=ours))
            return
        answer = _decode(self._sealer.open(name[0], found.named.answer, _about(name, found.named.call)))
        protocol.response_bytes(answer.status, [*answer.headers, ("aegis-replayed", "true")], answer.body)

    async def _closed(self, name: NameKey) -> NamedCallFound | None:
        """What is known of a named call once it is over, as far as it will ever be known; None if it is free again."""
        pause_s = LOOK_INTERVAL_S
        waited_s = 0.0
        while True:
            found = await asyncio.to_thread(self._named_calls.find, name)
            if found is None or found.named.is_closed or self._is_lost(found) or waited_s >= WAIT_S:
                return found
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 1.5, LOOK_INTERVAL_S_MAX)

    def _is_lost(self, found: NamedCallFound) -> bool:
        """Whether nobody will keep an answer any more: it is in doubt, or long over."""
        if found.state in ("reserved", "dispatched"):
            return False
        if found.state == "in_doubt" or found.settled_ns is None:
            return True
        return self._clock.now_ns() - found.settled_ns > CLOSING_NS


def _about(name: NameKey, call: str) -> bytes:
    return "\n".join((*name, call)).encode()


class Recorder:
    """A request's protocol that keeps what is answered, up to a length. A caller who leaves doesn't end the record."""

    def __init__(self, protocol: HttpProtocol) -> None:
        """Record what is answered over a protocol."""
        self._protocol = protocol
        self._status = 0
        self._headers: Headers = []
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def is_too_long(self) -> bool:
        """Whether the answer is longer than may be kept."""
        return self._size > ANSWER_BYTES_MAX

    @property
    def answer(self) -> Answer | None:
        """What was answered; None if nothing was."""
        if not self._status:
            return None
        return Answer(status=self._status, headers=self._headers, body=b"".join(self._pieces))

    def take(self, data: bytes) -> None:
        """Record a piece."""
        self._size += len(data)
        if self.is_too_long:
            self._pieces.clear()
        else:
            self._pieces.append(data)

    async def __call__(self) -> bytes:
        """The whole body of the request."""
        return await self._protocol()

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body of the request in pieces."""
        return self._protocol.__aiter__()

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer."""
        self._status, self._headers = status, headers
        self.take(body)
        self._protocol.response_bytes(status, headers, body)

    def response_stream(self, status: int, headers: Headers) -> StreamTransport:
        """Answer in pieces."""
        self._status, self._headers = status, headers
        return RecordedTransport(self._protocol.response_stream(status, headers), self)


class RecordedTransport:
    """An answer in pieces that is recorded, whether or not the caller still takes them."""

    def __init__(self, transport: StreamTransport, recorder: Recorder) -> None:
        """Send over a transport, and record."""
        self._transport = transport
        self._recorder = recorder
        self._has_left = False

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece. Once the caller has left it is only recorded, unless that has become pointless."""
        self._recorder.take(data)
        if self._has_left:
            if self._recorder.is_too_long:
                raise RuntimeError("the caller has left")
            return
        try:
            await self._transport.send_bytes(data)
        except RuntimeError:  # RSGIProtocolClosed and RSGIProtocolError are RuntimeErrors
            self._has_left = True
