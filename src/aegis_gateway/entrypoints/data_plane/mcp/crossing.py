"""Ways to servers over HTTP that speak the other form of the protocol than their caller.

Rule 1: requests to a legacy server are of a session that the gateway has there for the agent, under ids of ours; no
        other agent's are. What the server asks in it goes to a legacy caller, under an id that says where from.
Rule 2: a legacy caller's requests to a modern server stand each for itself, as the server wants it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.registry import Connector
from aegis_gateway.entrypoints.data_plane.mcp.answering import Exchange
from aegis_gateway.entrypoints.data_plane.mcp.asked_back import CAPABILITIES
from aegis_gateway.entrypoints.data_plane.mcp.eras import modern_headers, modern_request, one_answer
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import ACCEPT, Asking, HttpServers
from aegis_gateway.entrypoints.data_plane.mcp.introductions import Introduction, introduction_of
from aegis_gateway.entrypoints.data_plane.mcp.messages import Id, encode, members, raw_json
from aegis_gateway.entrypoints.data_plane.mcp.replies import Question, Questions
from aegis_gateway.entrypoints.data_plane.mcp.requests import Request
from aegis_gateway.entrypoints.data_plane.mcp.translated import Translated, said_in
from aegis_gateway.entrypoints.data_plane.mcp.versions import (
    LEGACY_NEWEST,
    NAMED,
    SESSION_HEADER,
    VERSION_HEADER,
)
from aegis_gateway.entrypoints.data_plane.mcp.ways import (
    Outgoing,
    asking_for,
    before_sending,
    name_headers,
)
from aegis_gateway.entrypoints.data_plane.refusals import Headers

SESSIONS_MAX = 4_096

Repeated = Callable[[Request, Outgoing], Awaitable[Headers]]

Place = tuple[str, str, str, str, tuple[str, ...]]
"""Tenant, connector, address, agent, and what its client can be asked for."""


class ServerSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session of the gateway's at a server, for one agent."""

    name: str | None
    introduction: Introduction

    @property
    def headers(self) -> Headers:
        """What stands in the headers of its requests."""
        named = [(SESSION_HEADER, self.name)] if self.name is not None else []
        return [("accept", ACCEPT), (VERSION_HEADER, self.introduction.version), *named]


class ServerSessions:
    """The gateway's own sessions at legacy servers."""

    def __init__(self, servers: HttpServers) -> None:
        """Begin sessions at servers over HTTP."""
        self._servers = servers
        self._known: OrderedDict[Place, ServerSession] = OrderedDict()
        self._beginning: dict[Place, asyncio.Lock] = {}
        self.ids = itertools.count(1)

    async def of(self, place: Place, asking: Asking, connector: Connector) -> ServerSession:
        """The session for an agent, begun if there is none.

        Raises:
            UpstreamFault: the server has none, or doesn't answer.
        """
        found = self._known.get(place)
        if found is not None:
            return found
        lock = self._beginning.setdefault(place, asyncio.Lock())
        try:
            async with lock:
                found = self._known.get(place)
                if found is None:
                    found = self._known[place] = await self._begun(place, asking, connector)
                    if len(self._known) > SESSIONS_MAX:
                        self._known.popitem(last=False)
                return found
        finally:
            self._beginning.pop(place, None)

    def forget(self, place: Place) -> None:
        """A session is over."""
        self._known.pop(place, None)

    async def _begun(self, place: Place, asking: Asking, connector: Connector) -> ServerSession:
        params = {
            "protocolVersion": LEGACY_NEWEST,
            "capabilities": {name: {} for name in place[-1]},
            "clientInfo": {"name": "aegis-gateway", "version": "1"},
        }
        first = encode({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        async with self._servers.exchange(
            asking, connector, first, [("accept", ACCEPT)], fresh=True
        ) as answer:
            introduction = (
                introduction_of(await one_answer(answer), "legacy") if answer.status == 200 else None
            )
            if introduction is None:
                raise UpstreamFault(f"the server answered {answer.status} to `initialize`", sent=False)
            session = ServerSession(name=answer.session, introduction=introduction)
        then = encode({"jsonrpc": "2.0", "method": "notifications/initialized"})
        async with self._servers.exchange(asking, connector, then, session.headers, fresh=True):
            return session


class LegacyWay:
    """A way to a legacy server in the gateway's own sessions."""

    def __init__(
        self, servers: HttpServers, sessions: ServerSessions, questions: Questions, connector: Connector
    ) -> None:
        """Pass messages on in sessions."""
        self._questions = questions
        self._servers = servers
        self._sessions = sessions
        self.connector = connector

    @asynccontextmanager
    async def send(
        self, request: Request, outgoing: Outgoing, *, listens: bool = False
    ) -> AsyncIterator[Exchange]:
        """Send a message in the agent's session; in a new one if the server doesn't know that any more."""
        assert not listens, "a legacy server is not listened to"
        place = place_of(request, self.connector)
        asking = asking_for(request, outgoing)
        for is_last in (False, True):
            with before_sending():  # a session that was forgotten has done nothing either
                session = await self._sessions.of(place, asking, self.connector)
            number = next(self._sessions.ids)
            body = said_in("legacy", outgoing.message, outgoing.changed, number)
            async with self._servers.exchange(
                asking, self.connector, body, session.headers, fresh=True
            ) as exchange:
                if exchange.status == 404 and not is_last:
                    self._sessions.forget(place)
                    continue
                asked = self._asked(request, session) if request.era == "legacy" else None
                yield Translated(exchange, request.era, outgoing.message, asked)
                return

    def _asked(self, request: Request, session: ServerSession) -> Callable[[Id], Id]:
        """How the ids of the server's questions are written for the caller."""
        who = request.who

        def called(id_: Id) -> Id:
            question = Question(
                agent=who.agent.id,
                connector=self.connector.id,
                session=session.name,
                version=session.introduction.version,
                id=id_,
            )
            return self._questions.id_of(who.tenant, question)

        return called

    async def reply(self, request: Request, answer: bytes) -> None:
        """Answer a question of the server's."""
        found = members(answer)
        question = self._questions.find(request.who, msgspec.json.decode(found["id"]))
        if question is None:
            return
        headers = [("accept", ACCEPT), (VERSION_HEADER, question.version)]
        if question.session is not None:
            headers.append((SESSION_HEADER, question.session))
        raw = encode({**found, "id": raw_json(question.id)})
        asking = request.who.asking
        async with self._servers.exchange(asking, self.connector, raw, headers, fresh=True) as exchange:
            if exchange.status >= 400:
                raise UpstreamFault(f"the server answered {exchange.status}", sent=True)


class ModernWay:
    """A way to a modern server on which the gateway words the message: a legacy caller's, or one to all as one."""

    def __init__(self, servers: HttpServers, connector: Connector, repeated: Repeated) -> None:
        """Pass messages on, each by itself; `repeated` are the headers that repeat a call's arguments."""
        self._servers = servers
        self._repeated = repeated
        self.connector = connector

    @asynccontextmanager
    async def send(
        self, request: Request, outgoing: Outgoing, *, listens: bool = False
    ) -> AsyncIterator[Exchange]:
        """Send a message that stands for itself."""
        message = outgoing.message
        assert message.id is not None, "it is a request"
        asking = asking_for(request, outgoing)
        body = said_in("modern", message, outgoing.changed, message.id)
        headers = modern_headers(message.method)
        if message.method in NAMED:
            said = outgoing.changed.get(NAMED[message.method], message.params.get(NAMED[message.method]))
            headers += name_headers(message.method, msgspec.json.decode(said, type=str) if said else "")
        if message.method == "tools/call":
            with before_sending():
                headers += await self._repeated(request, outgoing)
        async with self._servers.exchange(
            asking, self.connector, body, headers, listens=listens, fresh=True
        ) as exchange:
            yield Translated(exchange, request.era, message)

    async def reply(self, request: Request, answer: bytes) -> None:
        """Nothing: a modern server can't ask."""


def place_of(request: Request, connector: Connector) -> Place:
    """Where an agent's session is."""
    who = request.who
    said = request.session.capabilities if request.session is not None else ()
    can = tuple(sorted(set(said) & set(CAPABILITIES.values())))
    return (who.tenant, connector.id, connector.base_url, who.agent.id, can)


async def discovered(asking: Asking, servers: HttpServers, connector: Connector) -> Introduction:
    """How a modern server introduces itself.

    Raises:
        UpstreamFault: it doesn't.
    """
    body, headers = modern_request("server/discover"), modern_headers("server/discover")
    async with servers.exchange(asking, connector, body, headers, fresh=True) as exchange:
        found = introduction_of(await one_answer(exchange), "modern") if exchange.status == 200 else None
    if found is None:
        raise UpstreamFault("the server did not say what it is", sent=False)
    return found
