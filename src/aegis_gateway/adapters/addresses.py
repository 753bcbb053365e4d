"""The addresses of upstreams: looked up, vetted, remembered for a moment.

Rule: the address that was vetted is the one that is connected to. A name that leads elsewhere a moment later (DNS
rebinding) leads nowhere.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aegis_gateway.domain.errors import UpstreamFault
from aegis_gateway.domain.network import Network, literal, may_connect

REMEMBERED_S = 30.0
HOSTS_MAX = 1_024
LOCAL_NAME = "localhost"

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name, for a port; raises OSError where there are none."""


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses as the system knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Addresses:
    """Vetted addresses by host and network."""

    def __init__(self, resolve: Resolve = system_resolver) -> None:
        """Look names up by a resolver."""
        self._resolve = resolve
        self._known: dict[tuple[str, Network], tuple[float, tuple[str, ...]]] = {}

    async def of(self, host: str, port: int, network: Network) -> tuple[str, ...]:
        """The addresses to connect to; none for a host that is written as an address, which is its own.

        Raises:
            UpstreamFault: there are none, or none that an upstream may have. Nothing was sent.
        """
        if literal(host) is not None:
            if not may_connect(host, "private"):  # the operator wrote it; some are no upstreams all the same
                raise _refused("is an address that no upstream has")
            return ()
        now_s = asyncio.get_running_loop().time()
        known = self._known.get((host, network))
        if known is not None and known[0] > now_s:
            return known[1]
        try:
            found = await self._resolve(host, port)
        except OSError as fault:
            raise UpstreamFault(
                "the upstream's name cannot be resolved; nothing was sent", sent=False
            ) from fault
        # `localhost` is the machine's own, and says so.
        vetted = tuple(
            each for each in found if may_connect(each, "private" if host == LOCAL_NAME else network)
        )
        if not vetted:
            raise _refused(
                "resolves to no address that an upstream may have; if it is on your own network, state "
                "`network: private` for its connector"
            )
        if len(self._known) >= HOSTS_MAX:
            self._known.clear()
        self._known[host, network] = (now_s + REMEMBERED_S, vetted)
        return vetted


def _refused(why: str) -> UpstreamFault:
    return UpstreamFault(f"the upstream's host {why}; nothing was sent", sent=False)
