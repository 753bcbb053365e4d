"""How agents and keys stand, told by their keys and by when they last called."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.domain.agent_state import IDLE_NS, AgentState, KeyState, agent_state, key_state
from aegis_gateway.domain.hold import BY_HAND, Hold
from aegis_gateway.domain.registry import Key, Throttle

NOW_NS = 10 * IDLE_NS
KEY = Key(id="key_1", agent="bot", hash=b"", hint="aegis_live_…abcd", issued_ns=1)
HOLD = Hold(rule=BY_HAND, scope="", window="", since_ns=1, owner="", by="ana", reason="x")
HELD = msgspec.structs.replace(KEY, holds=(HOLD,))
REVOKED = msgspec.structs.replace(KEY, revoked_ns=5)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, "valid"),
        ({"revoked_ns": 5, "holds": (HOLD,)}, "revoked"),
        ({"expires_ns": NOW_NS}, "expired"),
        ({"expires_ns": NOW_NS + 1}, "expiring"),
        ({"holds": (HOLD,), "expires_ns": NOW_NS + 1}, "held"),
        ({"holds": (msgspec.structs.replace(HOLD, until_ns=NOW_NS),)}, "valid"),
        ({"holds": (msgspec.structs.replace(HOLD, lifted_ns=3),)}, "valid"),
        ({"holds": (msgspec.structs.replace(HOLD, limit=5, period_ns=1),)}, "throttled"),
        ({"holds": (msgspec.structs.replace(HOLD, limit=5, period_ns=1, until_ns=NOW_NS),)}, "valid"),
        ({"throttle": Throttle(limit=1, period_ns=1)}, "throttled"),
    ],
)
def test_keys(changed: dict[str, object], state: KeyState) -> None:
    """What is over is over, whatever holds it; a hold whose time is over holds nothing."""
    assert state == key_state(msgspec.structs.replace(KEY, **changed), NOW_NS)


@pytest.mark.parametrize(
    ("keys", "last_ns", "state"),
    [
        ([KEY], NOW_NS, "active"),
        ([KEY, HELD, REVOKED], NOW_NS - IDLE_NS + 1, "active"),
        ([KEY], NOW_NS - IDLE_NS, "idle"),
        ([KEY], None, "idle"),
        ([HELD, REVOKED], NOW_NS, "held"),
        ([REVOKED, msgspec.structs.replace(KEY, expires_ns=NOW_NS)], NOW_NS, "revoked"),
        ([], NOW_NS, "without key"),
    ],
)
def test_agents(keys: list[Key], last_ns: int | None, state: AgentState) -> None:
    """By the best of its keys."""
    assert state == agent_state(keys, is_registered=True, is_stranger=False, last_ns=last_ns, now_ns=NOW_NS)


def test_agents_that_are_not_registered() -> None:
    """Whoever was never registered, and whoever isn't any more, whatever keys are left."""
    for is_stranger, state in ((True, "unregistered"), (False, "removed")):
        found = agent_state(
            [KEY], is_registered=False, is_stranger=is_stranger, last_ns=NOW_NS, now_ns=NOW_NS
        )
        assert state == found
