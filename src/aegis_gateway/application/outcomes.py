"""Outcomes under the lock: what agents report of runs, and what of a batch counts where.

Rule: what a tree cost when it was first reported is read; what of it settles afterwards, or in the same batch, is added
by the store, to the outcome and to its sums, if there is one by then. So settling a call reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from aegis_gateway.application.commands import Command, Failed, TellOutcome, Told
from aegis_gateway.application.ports import (
    CallRow,
    Changes,
    LateCost,
    LockedTenants,
    TreeSoFar,
    outcome_sum_rows,
)
from aegis_gateway.application.runs import recorded_run
from aegis_gateway.domain.money import NANO_USD_MAX
from aegis_gateway.domain.outcome import (
    CHANGES_MAX,
    Outcome,
    OutcomeKey,
    OutcomeSum,
    added,
    counted,
)
from aegis_gateway.domain.replication import RUN_LIFETIME_NS
from aegis_gateway.domain.usage import SPANS

_NOTHING = TreeSoFar()


class Outcomes:
    """What one transaction tells of runs. `now` is each tenant's clock."""

    def __init__(self, locked: LockedTenants, commands: Sequence[Command], now: Mapping[str, int]) -> None:
        """Read what the reports need."""
        self._now = now
        self._told: dict[tuple[str, str], Outcome] = {}
        self._trees: dict[tuple[str, str], TreeSoFar] = {}
        self._changed: dict[tuple[str, str], Outcome] = {}
        self._sums: dict[tuple[str, int, OutcomeKey], OutcomeSum] = {}
        self._late: dict[tuple[str, str], int] = {}
        reported = {
            (command.tenant, command.number)
            for command in commands
            if isinstance(command, TellOutcome) and command.tenant in now
        }
        if reported:
            self._told = locked.outcomes(reported)
            self._trees = {key: locked.tree_so_far(*key) for key in reported if key not in self._told}

    def tell(self, command: TellOutcome) -> tuple[Told | Failed, Outcome | None]:
        """Take a report. Returns the answer, and what it replaces."""
        key = (command.tenant, command.number)
        before = self._told.get(key)
        now_ns = self._now[command.tenant]
        if before is not None and before.report == command.report:
            return Told(call=command.call, state="same", is_counted=before.is_counted), before
        outcome = self._new(command) if before is None else before
        if now_ns - outcome.began_ns >= RUN_LIFETIME_NS:
            days = RUN_LIFETIME_NS // (86_400 * 1_000_000_000)
            message = f"it was begun more than {days} days ago, and is reported on no more"
            return Failed(call=command.call, kind="illegal_transition", message=message), None
        if outcome.changes >= CHANGES_MAX:
            message = f"what is reported of it was changed {CHANGES_MAX:,} times, which is the most"
            return Failed(call=command.call, kind="illegal_transition", message=message), None
        if before is not None:
            outcome = msgspec.structs.replace(
                before, report=command.report, told_ns=now_ns, changes=before.changes + 1
            )
            self._count(before, -1)
        self._count(outcome, 1)
        self._told[key] = self._changed[key] = outcome
        reply = Told(
            call=command.call,
            state="recorded" if before is None else "replaced",
            is_counted=outcome.is_counted,
        )
        return reply, before

    def settle(self, row: CallRow, cost_nano_usd: int) -> None:
        """Note what a call came to: it is part of what its tree cost."""
        if row.run is None or not cost_nano_usd:
            return
        key = (row.tenant, recorded_run(row.run).tree)
        self._late[key] = min(self._late.get(key, 0) + cost_nano_usd, NANO_USD_MAX)

    def write(self, changes: Changes) -> None:
        """Tell what is to be written."""
        changes.outcomes = list(self._changed.values())
        changes.outcome_sums = outcome_sum_rows(self._sums)
        changes.late_costs = [
            LateCost(tenant=tenant, run=run, cost=cost) for (tenant, run), cost in self._late.items()
        ]

    def _new(self, command: TellOutcome) -> Outcome:
        now_ns = self._now[command.tenant]
        so_far = self._trees.get((command.tenant, command.number), _NOTHING)
        first, by = so_far.first, command.by
        # As its calls were attributed, where there are some: the agent may be another team's by now.
        whose = by if first is None else first
        return Outcome(
            tenant=command.tenant,
            run=command.number,
            agent=whose.agent,
            team=whose.team,
            project=whose.project or "",
            cost_centre=whose.cost_centre,
            environment=whose.environment,
            is_counted=command.is_root,
            is_begun=bool(command.opened_ns) or (first is not None and first.effect == "allow"),
            began_ns=command.opened_ns or (now_ns if first is None else first.decided_ns),
            told_ns=now_ns,
            changes=0,
            cost=so_far.cost if command.is_root else 0,
            report=command.report,
        )

    def _count(self, outcome: Outcome, sign: int) -> None:
        if not outcome.is_counted:
            return
        key, sums = counted(outcome)
        hour_ns = outcome.began_ns - outcome.began_ns % SPANS["hour"]
        place = (outcome.tenant, hour_ns, key)
        self._sums[place] = added(self._sums.get(place, OutcomeSum()), sums, sign)
