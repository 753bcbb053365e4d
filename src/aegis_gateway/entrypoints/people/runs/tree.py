"""A run as a tree: its agent, what that called, what those calls led to, and the runs that were delegated below.

Rule 1: every call of the run stands in it once, so that sums at the top are those of the ledger.
Rule 2: however deep calls or runs stand below each other, the tree is at most `LEVELS_MAX` deep; what is deeper stands
        beside what it is below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.domain.replication import Run

LEVELS_MAX = 8

Kind = Literal["model", "tool", "MCP"]


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """What calls come to. `nano_usd` counts open ones at their maximum; `unbounded` are open without one."""

    calls: int = 0
    refused: int = 0
    retries: int = 0
    open_calls: int = 0
    unbounded: int = 0
    nano_usd: int = 0

    def __add__(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in Sums.__struct_fields__})


class CallNode(msgspec.Struct, kw_only=True):
    """A call, with what was called below it. `attempt` is above 1 where a client's library tried again by itself."""

    call: CallReport
    attempt: int
    kind: Kind
    below: list[CallNode] = []
    runs: list[RunNode] = []

    @property
    def own(self) -> Sums:
        """The call's alone."""
        each = self.call
        counted = each.counted_nano_usd if each.effect == "allow" else 0
        return Sums(
            calls=1,
            refused=int(each.effect != "allow"),
            retries=int(self.attempt > 1),
            open_calls=int(each.is_open),
            unbounded=int(each.is_open and counted is None),
            nano_usd=counted or 0,
        )

    @property
    def sums(self) -> Sums:
        """With all below it."""
        return added((self.own, *(each.sums for each in self.below), *(each.sums for each in self.runs)))

    @property
    def groups(self) -> list[Group]:
        """What was called below it, by thing."""
        return grouped(self.below)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one model or tool beside each other, in order."""

    kind: Kind
    name: str
    calls: tuple[CallNode, ...]

    @property
    def sums(self) -> Sums:
        """With all below them."""
        return added(each.sums for each in self.calls)


class RunNode(msgspec.Struct, kw_only=True):
    """A run with its calls and what was delegated in it below none of them."""

    number: str
    agent: str
    opened_ns: int
    ended_ns: int | None
    calls: list[CallNode] = []
    runs: list[RunNode] = []

    @property
    def every_call(self) -> Iterator[CallReport]:
        """All calls in it and below."""
        nodes, runs = list(self.calls), list(self.runs)
        while nodes or runs:
            if runs:
                run = runs.pop()
                nodes, runs = nodes + run.calls, runs + run.runs
            else:
                node = nodes.pop()
                yield node.call
                nodes, runs = nodes + node.below, runs + node.runs

    @property
    def sums(self) -> Sums:
        """Of all calls in it and below."""
        return added((*(each.sums for each in self.calls), *(each.sums for each in self.runs)))

    @property
    def groups(self) -> list[Group]:
        """What was called in it, by thing."""
        return grouped(self.calls)


def run_node(
    run: Run | None,
    number: str,
    calls: Sequence[CallReport],
    attempts: Mapping[str, int],
    mcp: frozenset[str],
) -> RunNode:
    """A run's own calls as a tree, each below the call that it names. They are in the order of their decisions.

    `run` is None where it isn't kept; `attempts` says which attempt a call was, `mcp` which connectors are MCP servers.
    """
    node = RunNode(
        number=number,
        agent=run.agent if run is not None else calls[0].agent,
        opened_ns=run.opened_ns if run is not None else calls[0].decided_ns,
        ended_ns=run.ended_ns if run is not None else None,
    )
    placed: dict[str, tuple[list[CallNode], int]] = {}
    for each in calls:
        at, level = placed.get(each.parent or "", (node.calls, 0))
        kind: Kind = "MCP" if each.connector in mcp else "model" if each.model else "tool"
        made = CallNode(call=each, attempt=attempts.get(each.call, 0) + 1, kind=kind)
        at.append(made)
        placed[each.call] = (made.below, level + 1) if level < LEVELS_MAX else (at, level)
    return node


def delegate(top: RunNode, below: Iterable[tuple[RunNode, str, str | None]]) -> RunNode:
    """Put runs where they were delegated: each with the number of the run that it was in, and its call there."""
    nodes = {top.number: (top, 0)}
    waiting = list(below)
    while True:
        ready = [each for each in waiting if each[1] in nodes]
        if not ready:
            return top
        waiting = [each for each in waiting if each[1] not in nodes]
        for node, above, parent in ready:
            over, level = nodes[above]
            found = _call(over.calls, parent)
            (over if found is None else found).runs.append(node)
            nodes[node.number] = (node, level + 1) if level < LEVELS_MAX else (over, level)


def grouped(calls: Iterable[CallNode]) -> list[Group]:
    """Calls by what was called, in the order in which each was first."""
    found: dict[tuple[Kind, str], list[CallNode]] = {}
    for each in calls:
        name = each.call.model or each.call.tool
        found.setdefault((each.kind, name), []).append(each)
    return [Group(kind=kind, name=name, calls=tuple(each)) for (kind, name), each in found.items()]


def added(sums: Iterable[Sums]) -> Sums:
    """All together."""
    return sum(sums, Sums())


def _call(calls: Iterable[CallNode], name: str | None) -> CallNode | None:
    if name is None:
        return None
    waiting = list(calls)
    while waiting:
        each = waiting.pop()
        if each.call.call == name:
            return each
        waiting += each.below
    return None
