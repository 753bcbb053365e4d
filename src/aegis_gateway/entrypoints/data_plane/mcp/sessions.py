"""Sessions of the legacy form: our names for them, which say all there is to know of them.

Rule: a session is its agent's, at its server. Its name is sealed, so any worker knows it, after a restart too, and
      nobody can make one up or use another's.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from aegis_gateway.application.ports import Sealer
from aegis_gateway.domain.errors import StoreError

LASTS_NS = 24 * 3600 * 1_000_000_000
_TEXT_MAX = 16_384


class Session(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A client's session: of which agent, at which server (`""` is all of them), in which version.

    `upstream` is the server's own name for it; None where the server has none, or where the gateway speaks for it.
    `capabilities` are what the client can be asked for. `is_relayed`: messages pass as they are.
    """

    agent: str
    server: str
    version: str
    began_ns: int
    upstream: str | None = None
    capabilities: tuple[str, ...] = ()
    is_relayed: bool = True


class Sessions:
    """Names sessions, and knows them again."""

    def __init__(self, sealer: Sealer) -> None:
        """Seal names."""
        self._sealer = sealer

    def name(self, tenant: str, session: Session) -> str:
        """The name that a session gets, of letters, digits, `-` and `_`."""
        return seal_text(self._sealer, tenant, msgspec.msgpack.encode(session), _about(session.server))

    def find(self, tenant: str, agent: str, server: str, name: str, now_ns: int) -> Session | None:
        """The session of a name; None if it is none of this agent's at this server, or is over."""
        data = open_text(self._sealer, tenant, name, _about(server))
        if data is None:
            return None
        try:
            session = msgspec.msgpack.decode(data, type=Session)
        except msgspec.MsgspecError:
            return None  # another version of the gateway gave it
        is_good = session.agent == agent and session.server == server
        return session if is_good and now_ns - session.began_ns < LASTS_NS else None


def _about(server: str) -> bytes:
    return f"mcp-session:{server}".encode()


def seal_text(sealer: Sealer, tenant: str, data: bytes, about: bytes) -> str:
    """Encrypt into a text that fits in a header and in JSON."""
    return base64.urlsafe_b64encode(sealer.seal(tenant, data, about)).decode().rstrip("=")


def open_text(sealer: Sealer, tenant: str, text: str, about: bytes) -> bytes | None:
    """Decrypt what was sealed; None where it is something else."""
    if len(text) > _TEXT_MAX or not text.isascii():
        return None
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return sealer.open(tenant, sealed, about)
    except (binascii.Error, ValueError, StoreError):
        return None
