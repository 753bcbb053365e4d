"""One request of a caller: who asks, what, in which form of the protocol."""

from __future__ import annotations

import msgspec

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.directory import KnownKey, TenantView
from aegis_gateway.application.ports import Clock
from aegis_gateway.domain.registry import Agent
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope
from aegis_gateway.entrypoints.data_plane.mcp.http_servers import Asking
from aegis_gateway.entrypoints.data_plane.mcp.messages import CallerMessage
from aegis_gateway.entrypoints.data_plane.mcp.sessions import Session
from aegis_gateway.entrypoints.data_plane.mcp.versions import Era


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks over HTTP, as of now."""

    scope: Scope
    protocol: HttpProtocol
    key: str | None
    known: KnownKey
    agent: Agent
    now_ns: int

    @property
    def view(self) -> TenantView:
        """What the caller's tenant has configured."""
        return self.known.view

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.known.view.registry.tenant

    @property
    def asking(self) -> Asking:
        """The caller, as a server is asked for it."""
        return Asking(scope=self.scope, own_credential=self.known.key.is_own_credential)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a caller; in the legacy form it is of a session, but for the one that begins one."""

    who: Who
    message: CallerMessage
    era: Era
    session: Session | None = None


async def who_asks(
    calls: Calls,
    clock: Clock,
    scope: Scope,
    protocol: HttpProtocol,
    key: str | None,
    *,
    as_of_now: bool = True,
) -> Who:
    """Tell who asks; `as_of_now` may be left out where the call is decided on after that, which looks again.

    Raises:
        NotIdentified: the caller is unknown, or not allowed in any more.
    """
    known = await (calls.callers.caller(key) if as_of_now else calls.callers.identify(key))
    if known.agent is None:
        known = await calls.callers.caller(key)
    assert known.agent is not None, "whoever is allowed in is an agent"
    return Who(scope=scope, protocol=protocol, key=key, known=known, agent=known.agent, now_ns=clock.now_ns())
