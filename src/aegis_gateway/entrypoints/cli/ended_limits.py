"""What was done to limits for good, and a version would end, because it configures other limits of these budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from rich.text import Text

from aegis_gateway.domain.amounts import limit_text
from aegis_gateway.domain.budget_family import reconfigured
from aegis_gateway.domain.limit_change import lasting
from aegis_gateway.domain.registry import Budget, Registry
from aegis_gateway.entrypoints.cli.output import STRONG, WARNING, out, say
from aegis_gateway.entrypoints.cli.session import Session


class EndedLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A budget's lasting limit and the one that it was configured with, as people write them.

    `becomes` is what a version configures instead; None where it has no such budget any more.
    """

    tenant: str
    budget: str
    configured: str
    lasting: str
    becomes: str | None


def ended_limits(session: Session, new: Mapping[str, Registry]) -> tuple[EndedLimit, ...]:
    """What a version would end of what was done to limits for good."""
    now_ns = session.clock.now_ns()
    return tuple(
        each
        for tenant in sorted(set(new) & set(session.configuration.registries))
        for each in _ended(session.registry(tenant), new[tenant], now_ns)
    )


def _ended(old: Registry, new: Registry, now_ns: int) -> Iterator[EndedLimit]:
    for budget, after in reconfigured(old.budgets, new.budgets):
        limit = lasting(budget.limit, budget.changes, now_ns)
        if limit != budget.limit:
            yield EndedLimit(
                tenant=old.tenant,
                budget=budget.id,
                configured=_written(budget.limit, budget, old),
                lasting=_written(limit, budget, old),
                becomes=None if after is None else _written(after.limit, after, new),
            )


def _written(limit: int, budget: Budget, registry: Registry) -> str:
    return limit_text(limit, budget.unit, registry)


def show_ended(ended: Sequence[EndedLimit]) -> None:
    """Say what would end."""
    if not ended:
        return
    console = out()
    console.print(Text("what was done to limits for good, and would end:", style=STRONG))
    several = len({each.tenant for each in ended}) > 1
    for each in ended:
        where = f"{each.tenant}: " if several else ""
        becomes = "it is gone" if each.becomes is None else f"{each.becomes} is configured"
        told = f"{where}{each.budget}: {each.lasting} instead of {each.configured}; {becomes}"
        console.print(Text.assemble(("  ! ", WARNING), told))
    say("`aegis budget history BUDGET` tells who did it, and why")
