"""A house whose people change limits while a configuration is in force."""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.adapters.spending import StoredSpending
from aegis_gateway.application.amending import InForce
from aegis_gateway.application.budget_changes import BudgetChanges
from aegis_gateway.application.ports import Store
from aegis_gateway.application.seeding import Seeding
from aegis_gateway.application.versions import verify
from aegis_gateway.domain.budget_family import with_changes
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.limit_change import changed
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Budget, Registry
from aegis_gateway.domain.risk import Appraisal
from tests.houses import ADMIN, PEPPER, House, grant

MONTH = Budget(
    id="month", owner="own", deputy="dep", quantity="usd", limit=1_000, period="monthly", zone="UTC"
)


def like_month(name: str, **what: Any) -> Budget:
    """Another budget that is counted the same."""
    return msgspec.structs.replace(MONTH, id=name, **what)


def registry(*budgets: Budget, **more: Any) -> Registry:
    """A tenant with some budgets."""
    return Registry(
        tenant="acme",
        name="Acme",
        zone="UTC",
        teams={},
        projects={},
        agents=more.pop("agents", {}),
        connectors={},
        models={},
        quantities=BUILT_IN_QUANTITIES,
        rates={},
        budgets={each.id: each for each in budgets},
        **more,
    )


class Treasury(House):
    """acme's people: ana, an admin; fin of finance; own, who owns its budgets; dep, the deputy; vic, who only looks."""

    def __init__(self, store: Store, *budgets: Budget, **more: Any) -> None:
        super().__init__(store)
        self.add("ana", ADMIN, by="")
        self.add_apart("fin", grant("finops"))
        for looking in ("own", "dep", "vic"):
            self.add_apart(looking, grant("viewer"))
        self.by_version: dict[int, Registry] = {}
        self.registry = registry()
        self.configure(*budgets, **more)

    def configure(self, *budgets: Budget, **more: Any) -> None:
        """Put other budgets in force."""
        old, self.registry = self.registry, registry(*budgets, **more)
        seeding = Seeding(StoredSpending(self.store.query), old, self.registry, {}, self.store.clock_ns())
        files = {"aegis.yaml": repr(self.registry)}
        applied = self.administration("ana").apply(
            files,
            ["acme"],
            appraisal=Appraisal(based_on=self.version()),
            seeding=[seeding],
            note="as planned",
        )
        assert isinstance(applied, ConfigVersion)
        self.by_version[applied.version] = self.registry

    def registries(self, version: ConfigVersion) -> dict[str, Registry]:
        """What a version says of tenants, if it is as it was signed."""
        verify(version, self.signatures)
        return {"acme": self.by_version[version.version]}

    def in_force(self) -> InForce:
        """What is in force, as whoever acts has read it."""
        return InForce(registry=self.registry, version=self.version(), newest=self.version())

    def changes(self, who: str = "fin", store: Store | None = None) -> BudgetChanges:
        """The use cases about limits, as somebody."""
        return BudgetChanges(store or self.store, PEPPER, self.caller(who), self.in_force())

    def limits(self, at_ns: int | None = None) -> dict[str, int]:
        """What the limits are, as workers see them."""
        budgets = with_changes(self.registry.budgets, self.store.state().tenants["acme"].limit_changes)
        now_ns = self.store.clock_ns() if at_ns is None else at_ns
        return {name: changed(budget.limit, budget.changes, now_ns) for name, budget in budgets.items()}
