"""Budgets whose limits follow use, and budgets within others: how their settings have to fit together."""

from __future__ import annotations

from collections.abc import Mapping

from aegis_gateway.configuration.document import BudgetEntry
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.scaling import scaled
from aegis_gateway.configuration.words import shown
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.adapts import SPREADS, Adapts
from aegis_gateway.domain.registry import ON_THE_FLY


def compile_adapts(entry: BudgetEntry, scale: int, path: Path, problems: Problems) -> Adapts | None:
    """How a budget's limit follows use; `scale` smallest units of its quantity make one."""
    adapts = entry.adapts
    if adapts is None:
        return None
    path = (*path, "adapts")
    if entry.period not in ("daily", "weekly"):
        problems.add(path, f"is for daily and weekly budgets, and this one is {entry.period}; leave it out")
    elif (entry.period, adapts.every) == ("weekly", "daily"):
        problems.add((*path, "every"), "is `daily`, and the budget's windows are weekly; write weekly")
    if set(entry.per) & set(ON_THE_FLY):
        problems.add(path, "is for budgets that are not split by run or customer; leave it out")
    if adapts.floor > entry.limit:
        told = f"is {shown(adapts.floor)}, above the limit, {shown(entry.limit)}; write at most that"
        problems.add((*path, "floor"), told)
    if adapts.ceiling < entry.limit:
        told = f"is {shown(adapts.ceiling)}, below the limit, {shown(entry.limit)}; write at least that"
        problems.add((*path, "ceiling"), told)
    return Adapts(
        every=adapts.every,
        floor=scaled(adapts.floor, scale, (*path, "floor"), problems),
        ceiling=scaled(adapts.ceiling, scale, (*path, "ceiling"), problems),
        k_thousandths=int(adapts.k * SPREADS),
        most_change=adapts.most_change,
        applies=adapts.applies,
    )


def tell_of_odd_families(budgets: Mapping[str, BudgetEntry], path: Path, problems: Problems) -> None:
    """A budget is within one that counts the same, and never within itself, by whatever way."""
    for name, entry in budgets.items():
        parent = budgets.get(entry.within) if entry.within is not None else None
        if parent is None:
            continue
        if _leads_back(name, budgets):
            problems.add(
                (*path, name, "within"), f"is `{entry.within}`, which leads back here; name another, or none"
            )
        elif parent.counts != entry.counts:
            told = f"is `{entry.within}`, which counts {parent.counts}, and this one counts {entry.counts}"
            problems.add((*path, name, "within"), f"{told}; name one that counts the same")
        elif parent.currency != entry.currency:
            theirs, own = (each.currency or "USD" for each in (parent, entry))
            told = f"is `{entry.within}`, which is in {theirs}, and this one in {own}"
            problems.add((*path, name, "within"), f"{told}; name one in the same currency")


def _leads_back(name: str, budgets: Mapping[str, BudgetEntry]) -> bool:
    seen: set[str] = set()
    above = budgets[name].within
    while above is not None and above in budgets and above not in seen:
        if above == name:
            return True
        seen.add(above)
        above = budgets[above].within
    return False
