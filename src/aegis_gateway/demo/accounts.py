"""The end of the day in numbers: the provider's bill, the ledger, and the sum over agents, side by side."""

from __future__ import annotations

import msgspec

from aegis_gateway.demo.names import LENDING, RESEARCH
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.without import Without
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.quote import USD

_EXACT = 9


class HardBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A hard budget of money: its limit, what the ledger spent on it, and what the provider's bill says it was."""

    id: str
    limit_nano_usd: int
    ledger_nano_usd: int
    billed_nano_usd: int

    @property
    def over_nano_usd(self) -> int:
        """Dollars over the limit, by whichever of the two says more."""
        return max(0, self.ledger_nano_usd - self.limit_nano_usd, self.billed_nano_usd - self.limit_nano_usd)


class Accounts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was counted. `by_agent` is the ledger's, `billed_by_agent` the provider's."""

    provider_bill_nano_usd: int
    ledger_nano_usd: int
    by_agent_nano_usd: dict[str, int]
    billed_by_agent_nano_usd: dict[str, int]
    effects: dict[str, int]
    arrived: int
    reserved: int
    budgets: tuple[HardBudget, ...]
    not_spent_nano_usd: int
    counter_over_nano_usd: int
    payments_refused_nano_usd: int

    @property
    def agents_nano_usd(self) -> int:
        """The sum over agents."""
        return sum(self.by_agent_nano_usd.values())

    @property
    def overspent_nano_usd(self) -> int:
        """Dollars over any hard budget."""
        return sum(budget.over_nano_usd for budget in self.budgets)

    @property
    def agree(self) -> bool:
        """Whether bill, ledger and the sum over agents are the same to the nano-dollar, and more than nothing."""
        same = self.provider_bill_nano_usd == self.ledger_nano_usd == self.agents_nano_usd
        return same and self.ledger_nano_usd > 0

    def side_by_side(self) -> dict[str, str]:
        """The three ways of counting, by name, to the nano-dollar."""
        numbers = {
            "provider's bill": self.provider_bill_nano_usd,
            "Aegis's ledger": self.ledger_nano_usd,
            "sum over agents": self.agents_nano_usd,
        }
        return {name: usd_text(amount, at_least=_EXACT) for name, amount in numbers.items()}


def close_the_books(stage: Stage, without: Without, payments_refused_nano_usd: int) -> Accounts:
    """Read everything once: the provider's bill over HTTP, the rest from the ledger."""
    books, bill = stage.books(), stage.bill()
    billed = {agent: int(line["nano_usd"]) for agent, line in bill["by_agent"].items() if line["nano_usd"]}
    standings = books.standings(tuple(books.registry.budgets))
    hard = [each for each in standings if each.budget.hard and books.is_money(each.budget)]
    with_aegis = sum(billed.get(agent, 0) for agent in (*stage.desk(LENDING), *stage.desk(RESEARCH)))
    return Accounts(
        provider_bill_nano_usd=int(bill["total_nano_usd"]),
        ledger_nano_usd=books.cost_nano_usd(),
        by_agent_nano_usd=books.cost_by_agent_nano_usd(),
        billed_by_agent_nano_usd=billed,
        effects=books.effects(),
        arrived=int(bill["arrived"]),
        reserved=sum(each.reserved for each in standings),
        budgets=tuple(
            HardBudget(
                id=each.budget.id,
                limit_nano_usd=each.limit,
                ledger_nano_usd=each.spent,
                billed_nano_usd=sum(billed.get(agent, 0) for agent in stage.desk(each.budget.id))
                if each.budget.quantity == USD
                else int(bill["paid_out_nano_usd"]),
            )
            for each in hard
        ),
        not_spent_nano_usd=without.nano_usd - with_aegis,
        counter_over_nano_usd=without.lending_over_nano_usd,
        payments_refused_nano_usd=payments_refused_nano_usd,
    )
