"""What became of an agent's work, as the agent reports it: of a run, and with it of the tree of runs that began there.

Rule 1: a report replaces the one before it, as a whole; the record keeps both. The same again changes nothing.
Rule 2: a tree counts once, in the hour in which it was begun, however late it is reported and whatever settles after;
        what it cost is the sum of all its settled calls. A report on a delegated run is kept, and counts nowhere: whose
        work it was part of reports on the whole.
Rule 3: what is claimed is the agent's word. It stands beside what was spent and is never taken off it.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from aegis_gateway.domain.money import NANO_USD_MAX

Result = Literal["success", "partial", "failure", "cancelled"]
RESULTS: tuple[Result, ...] = get_args(Result)
"""It did what it was for; a part of it; not; or nobody wanted it any more."""

WASTED: tuple[Result, ...] = ("failure", "cancelled")
"""Whose work came to nothing."""

NAME_CHARACTERS_MAX = 255
NOTE_CHARACTERS_MAX = 2_000
NAMES_MAX = 100
NAMES_CHARACTERS_MAX = 8_000
"""Of all names together: a report has to fit into an entry."""
TRANSACTIONS_MAX = 1_000_000
VALUE_NANO_USD_MAX = 1_000_000_000 * 1_000_000_000
CHANGES_MAX = 1_000
"""How often what is reported of one run may be changed: each time is an entry in the record."""


class Report(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What an agent says became of a run.

    `result` is empty while it isn't told, and only transactions are. `name` says what the work was, `value_nano_usd`
    what it is claimed to be worth. `transactions` is how many were finished in all, None where the run is one; `names`
    are those of them that have one.
    """

    result: Result | Literal[""]
    name: str = ""
    note: str = ""
    value_nano_usd: int | None = None
    transactions: int | None = None
    names: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a run that was reported on: whose it was, when it was begun, what its tree has cost.

    `run` is the number with which its id begins. `is_counted` of those that a tree of runs began with; `is_begun` where
    beginning it was counted as a transaction. `cost` is in nano-USD. `changes` is how often it was reported otherwise.
    """

    tenant: str
    run: str
    agent: str
    team: str
    project: str
    cost_centre: str
    environment: str
    is_counted: bool
    is_begun: bool
    began_ns: int
    told_ns: int
    changes: int
    cost: int
    report: Report


class OutcomeKey(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Which trees are added up together: those of one agent with one result."""

    agent: str
    team: str
    project: str
    cost_centre: str
    environment: str
    result: str


class OutcomeSum(msgspec.Struct, array_like=True):
    """What they come to: how many trees, how many of them were counted as begun, how many transactions they are, what
    they cost and what they are claimed to be worth, in nano-USD. Differences, where a report replaced another.
    """

    trees: int = 0
    begun: int = 0
    transactions: int = 0
    cost: int = 0
    claimed: int = 0


def counted(outcome: Outcome) -> tuple[OutcomeKey, OutcomeSum]:
    """Where a reported tree counts, and as what."""
    report = outcome.report
    key = OutcomeKey(
        agent=outcome.agent,
        team=outcome.team,
        project=outcome.project,
        cost_centre=outcome.cost_centre,
        environment=outcome.environment,
        result=report.result,
    )
    return key, OutcomeSum(
        trees=1,
        begun=int(outcome.is_begun),
        transactions=1 if report.transactions is None else report.transactions,
        cost=outcome.cost,
        claimed=report.value_nano_usd or 0,
    )


def added(one: OutcomeSum, other: OutcomeSum, sign: int = 1) -> OutcomeSum:
    """Sums or differences together, within 64 bits."""
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return OutcomeSum(*(max(-NANO_USD_MAX, min(mine + sign * its, NANO_USD_MAX)) for mine, its in pairs))
