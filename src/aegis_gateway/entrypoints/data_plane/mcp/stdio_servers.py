"""MCP servers that are programs: started by each gateway worker, spoken to by many callers at once.

Rule 1: each request goes out under an id of ours, and what comes back goes to who asked; what belongs to nobody is
        dropped, for it could be another agent's.
Rule 2: a program that ends is started again when it is next asked something, later each time it ends early. What it was
        asked is not answered, and may have been done.
Rule 3: it is told that nobody can be asked back; if it asks all the same it is told so again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from aegis_gateway.adapters.programs import Program
from aegis_gateway.application.ports import Secrets
from aegis_gateway.domain.errors import ConfigurationError, UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.mcp.answering import Exchange
from aegis_gateway.entrypoints.data_plane.mcp.eras import modern_request
from aegis_gateway.entrypoints.data_plane.mcp.errors import METHOD_NOT_FOUND
from aegis_gateway.entrypoints.data_plane.mcp.introductions import Introduction, introduction_of
from aegis_gateway.entrypoints.data_plane.mcp.messages import (
    ServerMessage,
    encode,
    error_response,
    members,
    response,
    server_message,
)
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.translated import Told, heard_in, said_in
from aegis_gateway.entrypoints.data_plane.mcp.versions import LEGACY_NEWEST
from aegis_gateway.entrypoints.data_plane.mcp.ways import Outgoing
from aegis_gateway.entrypoints.data_plane.wire import UNREADABLE

WAITING_MAX = 1_024
WAITING_BYTES_MAX = 32 * 1024 * 1024
"""How many messages of a program may wait for one caller, and how long they may be together; of who takes none for so
long the call is given up."""
PROGRAMS_MAX = 256
PAUSE_S, PAUSE_S_MAX = 0.5, 30.0
"""How long a program that ended is left alone, first and at most."""
STEADY_S = 60.0
"""A program that has run for so long did not end early."""

_log = logging.getLogger("aegis.mcp")

Place = tuple[str, str]
"""Tenant and connector."""


class Asked:
    """A request that is under way: what of its messages has come and was not taken yet."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes | UpstreamFault] = asyncio.Queue(WAITING_MAX)
        self._bytes = 0
        self._is_given_up = False

    def take(self, message: bytes | UpstreamFault) -> None:
        """A message came, or none will come any more."""
        if self._is_given_up:
            return
        if isinstance(message, bytes):
            self._bytes += len(message)
        if self.messages.full() or (self._bytes > WAITING_BYTES_MAX and not self.messages.empty()):
            self._is_given_up = True
            while not self.messages.empty():
                self.messages.get_nowait()
            message = UpstreamFault("more came than the caller takes", sent=True)
        self.messages.put_nowait(message)

    async def next(self, patience_s: float) -> bytes:
        """The next message.

        Raises:
            UpstreamFault: there is none.
        """
        try:
            async with asyncio.timeout(patience_s):
                found = await self.messages.get()
        except TimeoutError as fault:
            words = f"the server said nothing for {patience_s:g} s"
            raise UpstreamFault(words, sent=True, timed_out=True) from fault
        if isinstance(found, UpstreamFault):
            raise found
        self._bytes -= len(found)
        return found


class StdioServer:
    """One program that runs, and who waits for what of it."""

    def __init__(self, connector: Connector, program: Program) -> None:
        """Speak with a program."""
        self.connector = connector
        self.introduction: Introduction | None = None
        self.began = asyncio.get_running_loop().time()
        self._program = program
        self._ids = itertools.count(1)
        self._asked: dict[int, Asked] = {}
        self._reading = asyncio.create_task(self._read())

    @property
    def is_running(self) -> bool:
        """Whether it can be asked something."""
        return self._program.is_running and not self._reading.done()

    async def introduce(self) -> None:
        """Begin: agree on a version, or find that there is nothing to agree on.

        Raises:
            UpstreamFault: it doesn't answer, or speaks something else.
        """
        params = {
            "protocolVersion": LEGACY_NEWEST,
            "capabilities": {},
            "clientInfo": {"name": "aegis-gateway", "version": "1"},
        }
        number = next(self._ids)
        legacy = {"jsonrpc": "2.0", "id": number, "method": "initialize", "params": params}
        answer = await self._answer(number, encode(legacy))
        found = introduction_of(answer, "legacy")
        if found is not None:
            await self._program.send(encode({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        else:
            number = next(self._ids)
            answer = await self._answer(number, modern_request("server/discover", id_=number))
            found = introduction_of(answer, "modern")
        if found is None:
            raise UpstreamFault("the program does not speak MCP in a version that is known here", sent=True)
        self.introduction = found

    async def _answer(self, number: int, raw: bytes) -> ServerMessage | None:
        asked = self._asked[number] = Asked()
        try:
            await self._program.send(raw)
            return server_message(await asked.next(self.connector.deadlines.first_byte_s))
        finally:
            self._asked.pop(number, None)

    @asynccontextmanager
    async def send(self, request: Request, outgoing: Outgoing) -> AsyncIterator[Exchange]:
        """Send a caller's message and read what comes back for it.

        Raises:
            UpstreamFault: the program ended, or says nothing.
        """
        assert self.introduction is not None, "it was introduced"
        number, deadlines = next(self._ids), self.connector.deadlines
        asked = self._asked[number] = Asked()
        try:
            async with asyncio.timeout(deadlines.total_s):
                await self._program.send(
                    said_in(self.introduction.era, outgoing.message, outgoing.changed, number)
                )

                async def rest() -> AsyncIterator[bytes]:
                    while True:
                        raw = await asked.next(deadlines.idle_s)
                        yield heard_in(request.era, outgoing.message, raw)

                first = heard_in(request.era, outgoing.message, await asked.next(deadlines.first_byte_s))
                yield Told(first, rest())
        except TimeoutError as fault:
            raise UpstreamFault("the server did not answer in time", sent=True, timed_out=True) from fault
        finally:
            if self._asked.pop(number, None) is not None:
                self._cancel(number)

    def _cancel(self, number: int) -> None:
        """Tell it that nobody waits for an answer any more."""
        cancelled = {"requestId": number, "reason": "the caller has left"}
        message = encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        self._tell(message)

    def _tell(self, message: bytes) -> None:
        """Send what nobody waits for."""
        task = asyncio.ensure_future(self._program.send(message))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _read(self) -> None:
        """Give each message to who waits for it, until the program ends."""
        try:
            while (line := await self._program.next_line()) is not None:
                message = server_message(line)
                if message is None:
                    _log.warning("program `%s` said what is no message", self.connector.id)
                elif message.asks:
                    self._decline(message)
                else:
                    self._give(message, line)
        finally:
            self._program.kill()
            fault = UpstreamFault("the program ended before it answered", sent=True)
            for asked in self._asked.values():
                asked.take(fault)

    def _give(self, message: ServerMessage, line: bytes) -> None:
        number = _progress_of(message) if message.method is not None else message.id
        asked = self._asked.get(number) if isinstance(number, int) else None
        if asked is None:
            return
        asked.take(line)
        if message.is_response and isinstance(number, int):
            del self._asked[number]

    def _decline(self, message: ServerMessage) -> None:
        if message.method == "ping":
            self._tell(response(message.id, {}))
        else:
            self._tell(error_response(message.id, METHOD_NOT_FOUND, "the client can't be asked for this"))

    async def stop(self) -> None:
        """End it."""
        await self._program.stop()
        self._reading.cancel()


def _progress_of(message: ServerMessage) -> object:
    """The request that a notification is about, by its progress token, which is ours."""
    try:
        return msgspec.json.decode(members(message.params)["progressToken"])
    except (*UNREADABLE, KeyError):
        return None


class StdioServers:
    """The programs of one gateway worker."""

    def __init__(self, secrets: Secrets) -> None:
        """Start programs with secrets in their environment."""
        self._secrets = secrets
        self._running: OrderedDict[Place, StdioServer] = OrderedDict()
        self._starting: dict[Place, asyncio.Lock] = {}
        self._pauses: dict[Place, tuple[float, float]] = {}

    async def of(self, tenant: str, connector: Connector) -> StdioServer:
        """A server's program, started if it doesn't run.

        Raises:
            UpstreamFault: it can't be started, or ended so often that it is left alone for a while.
        """
        place = (tenant, connector.id)
        server = self._current(place, connector)
        if server is not None:
            return server
        async with self._starting.setdefault(place, asyncio.Lock()):
            server = self._current(place, connector)
            if server is not None:
                return server
            server = self._running.get(place)
            if server is not None:
                await self._ended(place, server)
            return await self._started(place, connector)

    def _current(self, place: Place, connector: Connector) -> StdioServer | None:
        """The program that runs, if it is the one that is configured by now."""
        server = self._running.get(place)
        if server is None or not server.is_running:
            return None
        before = (server.connector.command, server.connector.variables)
        if before != (connector.command, connector.variables):
            return None
        server.connector = connector  # its prices and deadlines may be others
        return server

    async def _ended(self, place: Place, server: StdioServer) -> None:
        """A program is no more, or is another one by now."""
        self._running.pop(place, None)
        loop = asyncio.get_running_loop()
        if server.is_running or loop.time() - server.began > STEADY_S:
            self._pauses.pop(place, None)
        else:
            self._left_alone(place)
        await server.stop()

    def _left_alone(self, place: Place) -> None:
        pause_s = min(self._pauses.get(place, (0.0, PAUSE_S / 2))[1] * 2, PAUSE_S_MAX)
        self._pauses[place] = (asyncio.get_running_loop().time() + pause_s, pause_s)

    async def _started(self, place: Place, connector: Connector) -> StdioServer:
        until = self._pauses.get(place, (0.0, 0.0))[0]
        pause_s = until - asyncio.get_running_loop().time()
        if pause_s > connector.deadlines.connect_s:
            words = f"program `{connector.id}` keeps ending, and is started again in {pause_s:.0f} s"
            raise UpstreamFault(words, sent=False)
        await asyncio.sleep(max(0.0, pause_s))
        program = await Program.start(connector.id, connector.command, self._variables(connector))
        server = StdioServer(connector, program)
        try:
            await server.introduce()
        except UpstreamFault as fault:
            self._left_alone(place)
            await server.stop()
            # Of the call that it was started for it has heard nothing.
            raise UpstreamFault(str(fault), sent=False) from fault
        except BaseException:
            program.kill()
            raise
        self._running[place] = server
        if len(self._running) > PROGRAMS_MAX:
            _, oldest = self._running.popitem(last=False)
            await oldest.stop()
        return server

    def _variables(self, connector: Connector) -> dict[str, str]:
        try:
            return {name: self._secrets.resolve(source) for name, source in connector.variables.items()}
        except ConfigurationError as fault:
            raise UpstreamFault(f"program `{connector.id}` lacks a secret: {fault}", sent=False) from fault

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(server.stop() for server in self._running.values()))
        self._running.clear()


class StdioWay:
    """To a server that is a program."""

    def __init__(self, servers: StdioServers, connector: Connector) -> None:
        """Pass messages on to a program."""
        self._servers = servers
        self.connector = connector

    @asynccontextmanager
    async def send(
        self, request: Request, outgoing: Outgoing, *, listens: bool = False
    ) -> AsyncIterator[Exchange]:
        """Send a message in the program's form of the protocol."""
        assert not listens, "a program is not listened to"
        server = await self._servers.of(request.who.tenant, self.connector)
        async with server.send(request, outgoing) as exchange:
            yield exchange

    async def reply(self, request: Request, answer: bytes) -> None:
        """Nothing: what a program asks is answered where it is heard."""

    async def introduction(self, request_tenant: str) -> Introduction:
        """How the program introduced itself."""
        server = await self._servers.of(request_tenant, self.connector)
        assert server.introduction is not None, "it was introduced"
        return server.introduction
