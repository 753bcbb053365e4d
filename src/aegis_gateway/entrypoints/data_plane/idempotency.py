"""Idempotency: the same call under the same name (`Idempotency-Key`) is made once, and answered alike each time.

Rule 1: the name is written with the admission, so no two calls have it; the answer is kept after it, encrypted.
Rule 2: a name stays its call's for good. It is free again only where nothing was done under it: the ledger frees
        what was never sent, and what the upstream said to try again and charged nothing for.
Rule 3: who repeats a call that is under way waits for its answer, and makes the call itself where the name is free
        again; one whose answer is not kept is told so, by the first call's id, and is never made again.
Rule 4: a repetition decides, reserves and records nothing: there was one call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.ports import Clock, NamedCallFound, NamedCalls, NameKey, Sealer
from aegis_gateway.domain.errors import AegisError, CallError, CallRepeated
from aegis_gateway.entrypoints.data_plane.error_forms import ErrorForm
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, api_key, send_error
from aegis_gateway.entrypoints.data_plane.recorder import Recorder, packed, unpacked
from aegis_gateway.entrypoints.data_plane.refusals import Headers, error_answer

HEADER = "idempotency-key"
WAIT_S = 900.0
LOOK_INTERVAL_S = 0.05
LOOK_INTERVAL_S_MAX = 0.5
KEEPING_MAX = 16
"""How many answers a worker hands to the ledger at once."""
CLOSING_NS = 10 * 1_000_000_000
"""How long after its settlement a call's answer may take to be kept; later it is lost."""

_DECISION = "aegis-decision-id"
_TRY_AGAIN = frozenset((408, 425, 429))
_log = logging.getLogger("aegis.data_plane")

Door = Callable[[Scope, HttpProtocol], Awaitable[None]]


class Idempotency:
    """Serves requests that name their call."""

    def __init__(self, calls: Calls, named_calls: NamedCalls, sealer: Sealer, clock: Clock) -> None:
        """Build on the use cases, and on what is known of named calls."""
        self._calls = calls
        self._named_calls = named_calls
        self._sealer = sealer
        self._clock = clock
        self._keeping = asyncio.Semaphore(KEEPING_MAX)
        self._watches: dict[NameKey, asyncio.Task[NamedCallFound | None]] = {}

    async def serve(self, door: Door, scope: Scope, protocol: HttpProtocol, errors: ErrorForm) -> None:
        """Have a door answer, and keep what it answered; or answer as it was answered before.

        Raises:
            CallError: the name is empty, or no text.
        """
        if not scope.headers.get(HEADER):
            raise CallError("the idempotency key is empty, or no ASCII text", field=HEADER)
        recorder = Recorder(protocol)
        while True:
            try:
                await door(scope, recorder)
            except CallRepeated as fault:
                if await self._is_answered(fault, scope, protocol, errors):
                    return
            else:
                await self._keep(scope, recorder)
                return

    async def _keep(self, scope: Scope, recorder: Recorder) -> None:
        call = recorder.header(_DECISION)
        if call is None:
            return  # nothing was decided
        may_repeat = recorder.status in _TRY_AGAIN or recorder.status >= 500
        answer = None if may_repeat else recorder.answer
        try:
            name = await self._calls.name_key(api_key(scope), scope.headers.get(HEADER))
            async with self._keeping:
                sealed = None
                if answer is not None:
                    sealed = self._sealer.seal(name[0], packed(answer), _about(name, call))
                await self._calls.keep(name[0], call, sealed, may_repeat=may_repeat)
        except AegisError as fault:
            # The caller has the answer. Whoever repeats the call is told that it is not kept.
            _log.warning("the answer of call %s was not kept: %s", call, fault)

    async def _is_answered(
        self, fault: CallRepeated, scope: Scope, protocol: HttpProtocol, errors: ErrorForm
    ) -> bool:
        """Answer a repetition; false where the name is not the first call's any more, so that it is no repetition."""

        def refuse(status: int, code: str, message: str, more: Headers) -> bool:
            headers = [(_DECISION, fault.first), *more]
            send_error(protocol, error_answer(status, code, message, errors, headers=headers))
            return True

        for_good: Headers = [("x-should-retry", "false")]
        if not fault.is_same:
            message = (
                f"this idempotency key was used for another request, call `{fault.first}`; "
                "use a key of its own for each request"
            )
            return refuse(422, "idempotency_key_reused", message, for_good)
        name = await self._calls.name_key(api_key(scope), scope.headers.get(HEADER))
        found = await self._watched(name)
        if found is None or found.named.call != fault.first:
            return False
        if not found.named.is_closed and not self._is_lost(found):
            message = (
                f"call `{fault.first}`, made under this idempotency key, is still under way; try again later"
            )
            return refuse(503, "still_under_way", message, [("retry-after", "10")])
        answer = found.named.answer
        if answer is None or self._clock.now_ns() >= found.named.expires_ns:
            message = (
                f"call `{fault.first}` was made under this idempotency key, and its answer is not kept; "
                f"`aegis call {fault.first}` says what became of it"
            )
            return refuse(422, "answer_not_kept", message, for_good)
        first = unpacked(self._sealer.open(name[0], answer, _about(name, found.named.call)))
        protocol.response_bytes(first.status, [*first.headers, ("aegis-replayed", "true")], first.body)
        return True

    async def _watched(self, name: NameKey) -> NamedCallFound | None:
        """What became of a named call. However many wait for it, one watches."""
        watch = self._watches.get(name)
        if watch is None:
            watch = self._watches[name] = asyncio.create_task(self._closed(name))
            watch.add_done_callback(lambda _: self._watches.pop(name))
        return await asyncio.shield(watch)

    async def _closed(self, name: NameKey) -> NamedCallFound | None:
        """What is known of a named call once that is all that ever will be, or it took too long; None if it is free."""
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
