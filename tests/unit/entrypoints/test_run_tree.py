"""A run as a tree, however deep calls and runs stand below each other: each once, and not deeper than a page bears."""

from __future__ import annotations

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.entrypoints.people.runs.tree import LEVELS_MAX, CallNode, RunNode, delegate, run_node

COUNT = 1_000


def call(place: int, parent: str | None) -> CallReport:
    """A settled call that cost one nano-dollar."""
    return CallReport(
        call=f"c{place}", state="settled", effect="allow", reason_code="", reason="", agent="bot", team="desk",
        project=None, cost_centre="CC", environment="test", connector="provider", tool="chat", model="m",
        api_key="k", run="r", policy_version="1", config_version=1, expected_nano_usd=1, maximum_nano_usd=1,
        cost_nano_usd=1, overrun=False, decided_ns=place, settled_ns=place, sequence=place, parent=parent,
    )  # fmt: skip


def depth(calls: list[CallNode]) -> int:
    """How many levels of calls there are."""
    return max((1 + depth(each.below) for each in calls), default=0)


def test_a_long_chain_of_calls() -> None:
    """Each below the one before; what names itself, or a call that isn't there, stands at the top."""
    chain = [call(place, f"c{place - 1}") for place in range(COUNT)]
    found = run_node(None, "r", [*chain, call(COUNT, f"c{COUNT}")], {"c5": 2}, frozenset())
    assert LEVELS_MAX + 1 == depth(found.calls)
    assert 2 == len(found.calls)
    sums = found.sums
    assert (COUNT + 1, COUNT + 1, 1) == (sums.calls, sums.nano_usd, sums.retries)


def test_a_long_chain_of_runs() -> None:
    """Each delegated in the one before, in whatever order they are read; none is lost."""
    top = RunNode(number="0", agent="bot", opened_ns=0, ended_ns=None, calls=[], runs=[])
    below = [
        (run_node(None, str(place), [call(place, None)], {}, frozenset()), str(place - 1), None)
        for place in range(1, 51)
    ]
    assert 50 == delegate(top, reversed(below)).sums.calls
