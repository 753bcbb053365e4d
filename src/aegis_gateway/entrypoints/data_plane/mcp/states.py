"""What a server wants to be given back with a request that it asked input for (`requestState`).

Rule: it goes through the caller sealed, and comes back only from the same agent, for the same request of the same
      server, within its time. So a server that trusts what it gets back is right to.
"""

from __future__ import annotations

import hashlib

import msgspec

from aegis_gateway.application.ports import Sealer
from aegis_gateway.entrypoints.data_plane.mcp.messages import CallerMessage
from aegis_gateway.entrypoints.data_plane.mcp.sessions import open_text, seal_text

LASTS_NS = 3600 * 1_000_000_000
_canonical = msgspec.json.Encoder(order="deterministic", decimal_format="string").encode
_OF_A_ROUND = ("_meta", "inputResponses", "requestState")


class _State(msgspec.Struct, frozen=True, array_like=True):
    agent: str
    until_ns: int
    request: bytes
    state: str


class States:
    """Seals servers' states, and opens them."""

    def __init__(self, sealer: Sealer, purpose: str = "mcp-state") -> None:
        """Seal states; one of another purpose is none."""
        self._sealer = sealer
        self._purpose = purpose

    def seal(
        self, tenant: str, agent: str, server: str, message: CallerMessage, state: str, now_ns: int
    ) -> str:
        """What the caller gets in place of a server's state."""
        held = _State(agent, now_ns + LASTS_NS, _digest(message), state)
        return seal_text(self._sealer, tenant, msgspec.msgpack.encode(held), self._about(server))

    def open(
        self, tenant: str, agent: str, server: str, message: CallerMessage, sealed: str, now_ns: int
    ) -> str | None:
        """The server's state; None if it was given to another, for another request, or too long ago."""
        data = open_text(self._sealer, tenant, sealed, self._about(server))
        if data is None:
            return None
        try:
            held = msgspec.msgpack.decode(data, type=_State)
        except msgspec.MsgspecError:
            return None  # another version of the gateway gave it
        is_good = held.agent == agent and held.request == _digest(message) and now_ns < held.until_ns
        return held.state if is_good else None

    def _about(self, server: str) -> bytes:
        return f"{self._purpose}:{server}".encode()


def _digest(message: CallerMessage) -> bytes:
    """What tells a request from others: its method and parameters, but for what differs from round to round.

    Clients may write the same parameters otherwise the second time, so it is of what they mean.
    """
    params = message.values.get("params") or {}
    asked = {name: value for name, value in params.items() if name not in _OF_A_ROUND}
    return hashlib.sha256(_canonical([message.method, asked])).digest()
