"""A house whose limits follow what is used of them."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.budget_use import BudgetUse
from aegis_gateway.application.adapting import adapt_limit, limit_given, proposal_seen
from aegis_gateway.application.amending import InForce
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Changes, StandingRow, Store
from aegis_gateway.domain.adaptation import ProposedLimit
from aegis_gateway.domain.adapts import Adapts, AdaptsBy
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.budget_family import with_changes
from aegis_gateway.domain.incident import Incident
from aegis_gateway.domain.judge import Policies
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.registry import Budget
from tests.amendments import Treasury
from tests.houses import PEPPER, grant
from tests.ledgers import DAY_NS


def adapting(name: str = "day", applies: AdaptsBy = "automatic", **what: Any) -> Budget:
    """A budget of a thousand a day, whose limit follows use between 100 and 5,000, by a fifth at one time."""
    adapts = Adapts(every="daily", floor=100, ceiling=5_000, applies=applies)
    wanted = {"limit": 1_000, "period": "daily", "adapts": adapts, **what}
    return Budget(id=name, owner="own", deputy="dep", quantity="usd", zone="UTC", **wanted)


class Follower(Treasury):
    """acme's people and budgets, with `ben` who approves, and what the steward does about limits."""

    def __init__(self, store: Store, *budgets: Budget, **more: Any) -> None:
        super().__init__(store, *budgets, **more)
        self.add_apart("ben", grant("approver"))

    def spend(self, name: str, *amounts: int) -> None:
        """Have so much used of a budget on the days before now, the last one first."""
        budget = self.registry.budgets[name]
        now_ns = self.store.clock_ns()
        self._spend(budget, {now_ns - (back + 1) * DAY_NS: amount for back, amount in enumerate(amounts)})

    def spend_now(self, name: str, amount: int) -> None:
        """Have so much used of a budget in the present window."""
        self._spend(self.registry.budgets[name], {self.store.clock_ns(): amount})

    def _spend(self, budget: Budget, amounts: dict[int, int]) -> None:
        rows = [
            StandingRow(
                tenant="acme",
                budget=budget.id,
                scope="",
                window=budget.window(at_ns),
                quantity="usd",
                standing=Standing(posted=amount),
            )
            for at_ns, amount in amounts.items()
        ]
        with self.store.change(["acme"]) as change:
            change.write(Changes(standings=rows))

    def seen(self, newest: int | None = None) -> InForce:
        """What is in force as the steward sees it, with what was done to limits."""
        stored = self.store.state().tenants["acme"].limit_changes
        budgets = with_changes(self.registry.budgets, stored)
        in_force = self.in_force()
        registry = msgspec.structs.replace(self.registry, budgets=budgets)
        return msgspec.structs.replace(in_force, registry=registry, newest=newest or in_force.newest)

    def view(self) -> TenantView:
        """The tenant as the steward has it; policies have no say in limits."""
        in_force = self.seen()
        return TenantView(
            epoch=1,
            config_version=in_force.version,
            registry=in_force.registry,
            policies=cast(Policies, None),
            arguments_key=b"",
        )

    def steward(self, *names: str, store: Store | None = None) -> None:
        """A steward looks at limits."""
        store = store or self.store
        for name in names or sorted(self.registry.budgets):
            if self.registry.budgets[name].adapts is not None:
                adapt_limit(store, self.seen(), BudgetUse(store.query), name)

    def proposed(self, name: str = "day", newest: int | None = None) -> ProposedLimit:
        """What a limit should be, as it is shown."""
        used, now_ns = BudgetUse(self.store.query), self.store.clock_ns()
        use = used.use("acme", self.registry.budgets[name], now_ns)
        return proposal_seen(self.seen(newest), used, name, use, now_ns)

    def approvals(self, who: str = "ben") -> Approvals:
        """What somebody does about requests."""
        outcome = limit_given(lambda _: {"acme": self.registry})
        return Approvals(self.store, PEPPER, self.caller(who), {"limit": outcome})

    def asked(self) -> list[Approval]:
        """What people were asked, in order."""
        reports = ApprovalReports(self.store.rows)
        rows = self.store.rows("select approval from approval order by sequence")
        return [found for (name,) in rows if (found := reports.approval("acme", name)) is not None]

    def open_incident(self, name: str, closed_ns: int | None = None, **facts: object) -> None:
        """Have an incident of a budget opened."""
        incident = Incident(
            tenant="acme",
            id=f"incident_{name}",
            kind="budget_exhausted",
            subject=f"budget:{name}@exhausted",
            severity="high",
            opened_ns=self.store.clock_ns(),
            closed_ns=closed_ns,
            facts=facts,
        )
        with self.store.change(["acme"]) as change:
            change.write(Changes(incidents=[incident]))

    def history(self, name: str = "day") -> list[tuple[Any, ...]]:
        """What was done to a limit: kind, old, new, whose wish, whose word."""
        return self.store.rows(
            "select kind, limit_before, limit_after, asked_by, approver from budget_change"
            " where budget = ? order by number",
            (name,),
        )
