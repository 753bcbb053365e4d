"""Connections to the gateway, kept open between requests, for event loops.

Rule 1: one request at a time on a connection; one that failed in any way is closed, never used again.
Rule 2: a connection belongs to the loop and the process that opened it, and ends with that loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import cast

from aegis_sdk.attempts import Attempts
from aegis_sdk.connections import IDLE_MAX
from aegis_sdk.http1 import ProtocolFault, Request, Response, ResponseReader, written
from aegis_sdk.settings import Settings


class _Connection(asyncio.Protocol):
    """One connection; its reader belongs to the request that is under way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._answer: asyncio.Future[Response] | None = None
        self.is_usable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._answer is None:
            self.abort()  # it says something unasked
            return
        try:
            response = self._reader.feed(data)
        except ProtocolFault as fault:
            self._fail(fault)
            return
        if response is not None:
            self._give(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        if self._reader is None:
            return
        try:
            self._give(self._reader.end())
        except ProtocolFault as fault:
            self._fail(exc or fault)

    async def exchange(self, data: bytes) -> Response:
        assert self._transport is not None, "it is connected"
        self._reader = ResponseReader()
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(data)
            return await self._answer
        except BaseException:
            self.abort()  # whoever asked does not wait any more, even if the answer has just come
            raise

    def abort(self) -> None:
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    def _give(self, response: Response) -> None:
        self._reader = None
        if not response.keeps:
            self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def _fail(self, fault: Exception) -> None:
        self._reader = None
        self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(fault)


class _Pool:
    """The connections of one loop in one process. They are closed when the loop shuts down."""

    def __init__(self) -> None:
        self.idle: list[_Connection] = []
        self._ending: AsyncGenerator[None, None] | None = None

    async def watch_loop(self) -> None:
        """Be told when the loop ends: it closes the asynchronous generators that have begun in it."""
        if self._ending is None:
            self._ending = self._until_the_end()
            await anext(self._ending)

    async def _until_the_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.abort()
        await asyncio.sleep(0)  # transports close in the loop's next turn


class AsyncConnections:
    """Sends requests, each on a connection of its own, and keeps those for the loop's next ones."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._head = settings.head
        self._tls = settings.tls()
        self._pools: dict[asyncio.AbstractEventLoop, tuple[int, _Pool]] = {}

    async def exchange(self, request: Request, timeout_s: float | None = None) -> Response:
        """Send a request and read its answer.

        Raises:
            Unavailable: nobody answered in time.
        """
        data = written(request, self._settings.prefix, self._head)
        attempts = Attempts(self._settings, timeout_s)
        while True:
            sent = False
            outcome: Response | Exception
            try:
                async with asyncio.timeout(attempts.left_s):
                    pool = self._pool()
                    connection = await self._connected(pool)
                    sent = True
                    outcome = await connection.exchange(data)
                    if connection.is_usable and len(pool.idle) < IDLE_MAX:
                        pool.idle.append(connection)
                    else:
                        connection.abort()
            except (OSError, ProtocolFault) as fault:
                outcome = fault
            pause_s = attempts.pause_s(outcome, sent=sent)
            if pause_s is None:
                assert isinstance(outcome, Response), "a fault is tried again or raised"
                return outcome
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Close what is idle in this loop."""
        await self._pool().close()

    def _pool(self) -> _Pool:
        loop, process = asyncio.get_running_loop(), os.getpid()
        owner, pool = self._pools.get(loop, (0, None))
        if pool is None or owner != process:
            for other in [each for each in list(self._pools) if each.is_closed()]:
                self._pools.pop(other, None)
            pool = _Pool()
            self._pools[loop] = (process, pool)
        return pool

    async def _connected(self, pool: _Pool) -> _Connection:
        while pool.idle:
            connection = pool.idle.pop()
            if connection.is_usable:
                return connection
        await pool.watch_loop()
        settings = self._settings
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection,
            settings.host,
            settings.port,
            ssl=self._tls,
            server_hostname=settings.host if self._tls is not None else None,
        )
        return connection
