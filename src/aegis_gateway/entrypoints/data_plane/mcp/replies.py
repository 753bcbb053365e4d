"""What a server asks a caller within a session that the gateway has there: under an id that says where the answer goes.

Rule: the id is sealed for the agent, so its answer reaches the session it was asked in, from whatever worker, and no
      other.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.application.ports import Sealer
from aegis_gateway.entrypoints.data_plane.mcp.messages import Id
from aegis_gateway.entrypoints.data_plane.mcp.requests import Who
from aegis_gateway.entrypoints.data_plane.mcp.sessions import open_text, seal_text

_ABOUT = b"mcp-ask"


class Question(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A server's question: to which agent, in which of the gateway's sessions at which server, under which id."""

    agent: str
    connector: str
    session: str | None
    version: str
    id: Id


class Questions:
    """Names questions, and knows them again by their answers."""

    def __init__(self, sealer: Sealer) -> None:
        """Seal ids."""
        self._sealer = sealer

    def id_of(self, tenant: str, question: Question) -> str:
        """The id that a caller is asked under."""
        return seal_text(self._sealer, tenant, msgspec.msgpack.encode(question), _ABOUT)

    def find(self, who: Who, id_: Id | None) -> Question | None:
        """The question that an answer is to; None if this agent was asked none under that id."""
        data = open_text(self._sealer, who.tenant, id_, _ABOUT) if isinstance(id_, str) else None
        if data is None:
            return None
        try:
            question = msgspec.msgpack.decode(data, type=Question)
        except msgspec.MsgspecError:
            return None  # another version of the gateway gave it
        return question if question.agent == who.agent.id else None
