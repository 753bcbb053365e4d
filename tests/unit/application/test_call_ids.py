"""Calls' ids prove where they are from and how deep."""

from __future__ import annotations

import os

import pytest

from aegis_gateway.application.call_ids import DEPTH_MAX, CallIds
from aegis_gateway.domain.errors import CallError

IDS = CallIds(b"pepper" * 8, os.urandom)
NOW_NS = 1_790_000_000_000_000_000


def test_a_call_is_one_deeper_than_its_parent() -> None:
    """Whichever gateway of one installation is asked; a call without a parent is not deep."""
    assert 0 == IDS.depth_below(None, "acme")
    for depth in (0, 1, 7, DEPTH_MAX - 1):
        parent = IDS.mint("acme", depth, NOW_NS)
        assert depth + 1 == CallIds(b"pepper" * 8, os.urandom).depth_below(parent, "acme")


def test_ids_differ_and_sort_by_time() -> None:
    """Two of one instant are two; a later one comes after."""
    ids = {IDS.mint("acme", 0, NOW_NS) for _ in range(1_000)}
    assert 1_000 == len(ids)
    assert max(ids) < IDS.mint("acme", 0, NOW_NS + 1_000_000)


def test_the_deepest_call() -> None:
    """Below it there is none, and the message says what is going on."""
    with pytest.raises(CallError, match="256 calls deep, and 255 is the most; an agent is calling itself"):
        IDS.depth_below(IDS.mint("acme", DEPTH_MAX, NOW_NS), "acme")


@pytest.mark.parametrize(
    "parent", ["", "call_", "call_x", "call_" + "0" * 32, "\xe9" * 37, "call_" + "a" * 500]
)
def test_made_up_parents(parent: str) -> None:
    """What was never given is no parent."""
    with pytest.raises(CallError, match="is no call of yours") as caught:
        IDS.depth_below(parent, "acme")
    assert "aegis-parent-id" == caught.value.field


def test_a_parent_that_was_changed() -> None:
    """Nobody makes himself shallower, or another tenant's call his own."""
    parent = IDS.mint("acme", 9, NOW_NS)
    for place in range(5, len(parent)):
        changed = parent[:place] + ("0" if parent[place] != "0" else "1") + parent[place + 1 :]
        with pytest.raises(CallError):
            IDS.depth_below(changed, "acme")
    with pytest.raises(CallError):
        IDS.depth_below(parent, "mill")
    with pytest.raises(CallError):
        CallIds(b"other" * 8, os.urandom).depth_below(parent, "acme")
