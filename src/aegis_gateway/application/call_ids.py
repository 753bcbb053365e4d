"""Calls' ids: they sort by time, say how many calls deep a call is, and prove that they are from here.

Rule: an id proves by itself of which tenant and how deep its call is, so nothing is looked up, and nobody passes as
shallower than they are by naming a parent that there never was. Who names none begins a tree of calls.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable

from aegis_gateway.domain.errors import CallError

DEPTH_MAX = 255

_PREFIX = "call_"
_RANDOM_BYTES = 5
_PROOF_BYTES = 4
_ID = re.compile(_PREFIX + r"([0-9a-f]{12})([0-9a-f]{2})([0-9a-f]{10})([0-9a-f]{8})")


class CallIds:
    """Mints calls' ids and knows them again."""

    def __init__(self, pepper: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """`pepper` is the installation's secret; ids are known by all gateways that have it."""
        self._secret = hmac.digest(pepper, b"calls", "sha256")
        self._random_bytes = random_bytes

    def mint(self, tenant: str, depth: int, now_ns: int) -> str:
        """The id of a new call."""
        body = f"{now_ns // 1_000_000:012x}{depth:02x}{self._random_bytes(_RANDOM_BYTES).hex()}"
        return f"{_PREFIX}{body}{self._proof(tenant, body)}"

    def depth_below(self, parent: str | None, tenant: str) -> int:
        """How deep a call is that is made for another one: 0 where it is made for none.

        Raises:
            CallError: the parent is no call of the tenant, or is as deep as any call may be.
        """
        if parent is None:
            return 0
        match = _ID.fullmatch(parent)
        body = "".join(match.groups()[:3]) if match else ""
        if match is None or not hmac.compare_digest(match[4], self._proof(tenant, body)):
            raise CallError(
                f"`{parent[:64]}` is no call of yours; send on what `Aegis-Decision-Id` said of the calling one",
                field="aegis-parent-id",
            )
        depth = int(match[2], 16) + 1
        if depth > DEPTH_MAX:
            raise CallError(
                f"the call is {depth} calls deep, and {DEPTH_MAX} is the most; an agent is calling itself",
                field="aegis-parent-id",
            )
        return depth

    def _proof(self, tenant: str, body: str) -> str:
        return hmac.digest(self._secret, f"{tenant}\n{body}".encode(), "sha256")[:_PROOF_BYTES].hex()
