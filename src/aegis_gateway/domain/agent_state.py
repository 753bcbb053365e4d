"""How agents and their keys stand: may it call, does it call, and if not, why not.

Rule: the states are told here alone, for pages, commands and programs alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from aegis_gateway.domain.registry import Key

KeyState = Literal["valid", "throttled", "expiring", "held", "expired", "revoked"]
AgentState = Literal["active", "idle", "held", "without key", "revoked", "unregistered", "removed"]
AGENT_STATES: tuple[AgentState, ...] = get_args(AgentState)

AGENT_STATE_WORDS: dict[AgentState, str] = {
    "active": "has a key that holds, and called something lately",
    "idle": "has a key that holds, and called nothing lately",
    "held": "all its keys are held, by a budget or by a person",
    "without key": "is registered, and was never given a key",
    "revoked": "all its keys are revoked or have run out",
    "unregistered": "calls with a credential of its own, and nobody has registered it",
    "removed": "has called lately, and is not registered any more",
}
"""What each state says."""

IDLE_NS = 30 * 24 * 3_600 * 1_000_000_000
"""An agent that called nothing for so long is idle."""


def key_state(key: Key, now_ns: int) -> KeyState:
    """How one key stands at an instant."""
    if key.revoked_ns is not None:
        return "revoked"
    if key.is_over(now_ns):
        return "expired"
    if key.held(now_ns) is not None:
        return "held"
    if key.expires_ns is not None:
        return "expiring"
    is_throttled = any(hold.limit and hold.acts and not hold.is_over(now_ns) for hold in key.holds)
    return "throttled" if key.throttle is not None or is_throttled else "valid"


def agent_state(
    keys: Sequence[Key], *, is_registered: bool, is_stranger: bool, last_ns: int | None, now_ns: int
) -> AgentState:
    """How an agent stands, by its keys and by when it last called; `is_stranger`: it never was registered."""
    if is_stranger:
        return "unregistered"
    if not is_registered:
        return "removed"
    if not keys:
        return "without key"
    there = [key for key in keys if not key.is_over(now_ns)]
    if not there:
        return "revoked"
    if not any(key.is_valid(now_ns) for key in there):
        return "held"
    return "active" if last_ns is not None and last_ns > now_ns - IDLE_NS else "idle"
