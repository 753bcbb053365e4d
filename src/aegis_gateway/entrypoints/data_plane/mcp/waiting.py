"""Callers who wait: one who leaves cancels what it waits for, and a gateway that stops ends what has no end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from aegis_gateway.application.callers import NotIdentified
from aegis_gateway.application.calls import Calls
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.entrypoints.data_plane.mcp.requests import Who

UNWATCHED_S = 0.03
"""How long it is not noticed that a caller has left."""
LOOK_S = 2.0
"""How often it is looked whether a caller of an open stream is still allowed in."""


async def while_there(who: Who, work: Awaitable[None]) -> None:
    """Do what a caller waits for, who cancels it by leaving."""
    doing = asyncio.ensure_future(work)
    leaving: asyncio.Future[None] | None = None
    try:
        # To watch a caller costs more than most calls take.
        if (await asyncio.wait({doing}, timeout=UNWATCHED_S))[0]:
            await doing
            return
        leaving = asyncio.ensure_future(who.protocol.client_disconnect())
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            doing.cancel()
        try:
            await doing
        except asyncio.CancelledError:
            if not leaving.done():
                raise  # it is the gateway that stops
    finally:
        if leaving is not None:
            leaving.cancel()
        doing.cancel()
        # A fault's trace leads here, and from here to the fault: kept alive by itself it would keep a stream open.
        del doing, leaving


class Streams:
    """The streams without an end that are open: what servers tell as it happens."""

    def __init__(self, calls: Calls) -> None:
        """None is open yet."""
        self._calls = calls
        self._open: set[asyncio.Future[None]] = set()

    async def hold(self, who: Who, work: Awaitable[None]) -> None:
        """Tell a caller as long as it is there and is allowed in, and the gateway doesn't stop."""
        telling = asyncio.ensure_future(while_there(who, work))
        self._open.add(telling)
        try:
            while not telling.done():
                await asyncio.wait({telling}, timeout=LOOK_S)
                if not telling.done() and not await self._is_allowed(who):
                    return
            if not telling.cancelled():
                telling.result()
        finally:
            telling.cancel()
            self._open.discard(telling)
            del telling

    async def _is_allowed(self, who: Who) -> bool:
        """Whether the caller's key still lets it in; while that can't be read, it does."""
        try:
            await self._calls.callers.caller(who.key)
        except NotIdentified:
            return False
        except AegisError:
            return True
        return True

    def close(self) -> None:
        """End all of them: their callers come back to who listens then."""
        for telling in self._open:
            telling.cancel()
