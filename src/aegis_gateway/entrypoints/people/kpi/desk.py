"""What the page of key figures shows, put together from what `aegis kpi` reads, with where each number leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from aegis_gateway.domain.kpi import (
    Deviation,
    Figure,
    Group,
    calls_for,
    succeeded,
    transactions,
    wasted,
)
from aegis_gateway.domain.outcome import RESULTS, OutcomeSum
from aegis_gateway.domain.usage import UsageSum
from aegis_gateway.domain.usage_cube import Slice
from aegis_gateway.entrypoints.figures import BudgetFigures, KeyFigures, Violator
from aegis_gateway.entrypoints.people.kpi.view import FiguresView
from aegis_gateway.entrypoints.people.overview.desk import name_of

GROUP_WORDS: tuple[tuple[Group, str, str], ...] = (
    ("spending", "Spending", "What settled calls cost, and what that is for each of something."),
    (
        "work",
        "Work and what it came to",
        "What agents report became of their runs, with all that those cost.",
    ),
    ("control", "Control", "How much of it is somebody’s, and what was stopped."),
    (
        "not spent",
        "Savings, kept apart",
        "What wasn’t spent, or needn’t have been. None of it is ever taken off spending.",
    ),
)
STEP_MARKS: dict[Deviation, tuple[str, str]] = {
    "within": ("allow", "✓"),
    "note": ("gone", "–"),
    "investigate": ("throttle", "!"),
    "corrective plan": ("throttle", "!!"),
    "executive review": ("deny", "✗"),
}
"""How a step of the ladder looks: its colour's class, and its sign; its word stands beside them."""

_SETTLED = ("spent", "cost_per_agent", "cost_per_call", "cost_per_transaction")
_STOPPED = ("violations", "not_spent")


class FigureCard(msgspec.Struct, frozen=True, kw_only=True):
    """A figure, and where what it is made of is seen: an address, and what stands there."""

    figure: Figure
    address: str
    leads_to: str


class PartLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent, team, model… came to. `into` leads to what it is made of."""

    value: str
    name: str
    sums: UsageSum
    transactions: int
    good: OutcomeSum
    wasted: int
    is_reported: bool
    into: str

    @property
    def per_success(self) -> int | None:
        """What one success cost, in nano-USD."""
        return self.good.cost // self.good.trees if self.good.trees else None


class WorkLine(msgspec.Struct, frozen=True, kw_only=True):
    """Work by what it came to."""

    result: str
    sums: OutcomeSum
    address: str


class BudgetLine(msgspec.Struct, frozen=True, kw_only=True):
    """A budget on the ladder of deviations."""

    of: BudgetFigures
    step: Deviation


class ViolatorLine(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a rule stopped, or would have, and where those calls are seen."""

    of: Violator
    address: str


class FiguresDesk:
    """The page of one view, of figures that were read."""

    def __init__(self, view: FiguresView, found: KeyFigures, now_ns: int) -> None:
        """Nothing is read here."""
        self._view = view
        self._found = found
        self._now_ns = now_ns

    def groups(self) -> list[tuple[str, str, list[FigureCard]]]:
        """Figures by what they are about: its name, what it is, and they."""
        return [
            (words, about, [self._card(each) for each in self._found.figures if each.group == group])
            for group, words, about in GROUP_WORDS
        ]

    def parts(self) -> list[PartLine]:
        """What spending is made of."""
        return [self._part(each) for each in self._found.parts]

    def work(self) -> list[WorkLine]:
        """Work by what it came to, where there is any."""
        work = self._found.totals.work
        return [
            WorkLine(result=each, sums=work[each], address=self._view.work(each))
            for each in (*RESULTS, "")
            if each in work and work[each].trees
        ]

    def budgets(self) -> list[BudgetLine]:
        """Budgets of money, those that deviate most first."""
        lines = [BudgetLine(of=each, step=calls_for(each.deviation)) for each in self._found.budgets]
        return sorted(lines, key=lambda line: (line.of.deviation is None, -(line.of.deviation or 0)))

    def violators(self) -> list[ViolatorLine]:
        """Who was stopped or would have been, most calls first."""
        return list(
            self._violators(sorted(self._found.violators, key=lambda each: (-each.calls, each.agent)))
        )

    def _violators(self, found: Sequence[Violator]) -> Iterator[ViolatorLine]:
        for each in found:
            if each.mode == "shadow":
                yield ViolatorLine(of=each, address=self._view.rule(each.rule))
            else:
                of = {"agent": each.agent, "effect": each.did, **({"rule": each.rule} if each.rule else {})}
                yield ViolatorLine(of=each, address=self._calls(**of))

    def _part(self, each: Slice) -> PartLine:
        (value,) = each.values
        by = self._view.by
        into = self._calls(agent=value) if by == "agent" else ""
        if by not in ("agent", "connector"):
            into = self._view.overview(**{"by": "agent", by: value})
        return PartLine(
            value=value,
            name=name_of(by, value),
            sums=each.sums,
            transactions=transactions(each.sums, each.work),
            good=succeeded(each.work),
            wasted=wasted(each.work).cost,
            is_reported=bool(each.work),
            into=into,
        )

    def _card(self, figure: Figure) -> FigureCard:
        view = self._view
        address, leads_to = "#parts", f"by {view.by.replace('_', ' ')}"
        if figure.id in _SETTLED:
            address, leads_to = self._calls(state="settled"), "the calls"
        elif figure.id in _STOPPED:
            address, leads_to = self._calls(state="refused"), "the calls"
        elif figure.id in ("cost_per_1k_tokens", "saved_by_downgrades"):
            address, leads_to = view.overview(by="model"), "by model"
        elif figure.id == "allocation_coverage":
            address, leads_to = view.overview(by="team"), "by team"
        elif figure.id in ("time_to_detect", "time_to_close"):
            address, leads_to = f"/incidents?tenant={view.tenant}", "the incidents"
        elif figure.id in ("wasted", "waste_share"):
            address, leads_to = view.work("failure"), "the work"
        elif figure.group == "work":
            address, leads_to = view.work("success"), "the work"
        elif figure.id == "unpriced_calls":
            address, leads_to = self._calls(rule=""), "the calls"
        return FigureCard(figure=figure, address=address, leads_to=leads_to)

    def _calls(self, **of: str) -> str:
        return self._view.calls(self._found.since_ns, self._now_ns, **of)
