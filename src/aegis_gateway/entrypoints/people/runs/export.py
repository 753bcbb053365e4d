"""A run's tree as files have it: a row for each call, from the top down, with what it comes to and all below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aegis_gateway.entrypoints.people.columns import Column, Row
from aegis_gateway.entrypoints.people.runs.tree import CallNode, RunNode

RUN_COLUMNS = (
    Column("level", "count"),
    *(Column(each) for each in ("run", "agent", "call", "parent", "kind", "connector", "tool", "model")),
    *(Column(each) for each in ("effect", "state", "reason")),
    Column("attempt", "count"),
    *(Column(each, "time") for each in ("decided", "settled")),
    Column("counted_usd", "usd"),
    # What an open call counts as is the most that it can come to.
    Column("open", "flag"),
    Column("with_below_usd", "usd"),
    Column("calls_with_below", "count"),
)


def run_rows(run: RunNode, level: int = 0) -> Iterator[Row]:
    """The calls of a run, and of what was delegated in it."""
    yield from _calls(run, run.calls, level)
    for below in run.runs:
        yield from run_rows(below, level + 1)


def _calls(run: RunNode, calls: Iterable[CallNode], level: int) -> Iterator[Row]:
    for node in calls:
        each, sums = node.call, node.sums
        yield [
            level,
            run.number,
            each.agent,
            each.call,
            each.parent,
            node.kind,
            each.connector,
            each.tool,
            each.model,
            each.effect,
            each.state,
            each.reason,
            node.attempt,
            each.decided_ns,
            each.settled_ns,
            each.counted_nano_usd if each.effect == "allow" else None,
            each.is_open,
            sums.nano_usd,
            sums.calls,
        ]
        yield from _calls(run, node.below, level + 1)
        for below in node.runs:
            yield from run_rows(below, level + 1)
