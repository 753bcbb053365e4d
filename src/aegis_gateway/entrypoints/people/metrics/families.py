"""The metrics: names, labels and what they say. Money in dollars, as a metric's unit has to be a base unit.

Rule 1: names and units as Prometheus wants them; what only grows is a counter and ends in `_total`.
Rule 2: they are the ledger's, and the same on each gateway of a store: whoever scrapes several takes the maximum, and
        doesn't add them up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aegis_gateway.adapters.metrics_reports import MetricsReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.money import NANO_PER_USD
from aegis_gateway.domain.registry import Registry

_WHOSE = ("tenant", "team", "agent", "connector", "model")
_OUTCOME = ("tenant", "agent", "result")
_UNTOLD = "untold"
"""Of runs of which only transactions are told yet."""
_BUDGET = ("tenant", "budget", "scope")


class LedgerMetrics(Collector):
    """What the ledger says of some tenants, at each scrape."""

    def __init__(self, store: Store, registries: Iterable[Registry]) -> None:
        """Read through a store."""
        self._store = store
        self._registries = tuple(registries)

    def collect(self) -> Iterator[Metric]:
        """All families."""
        reports = MetricsReports(self._store.query)
        yield from self._calls(reports)
        yield from self._outcomes(reports)
        yield from self._budgets(reports)
        yield from self._waiting(reports)

    def _calls(self, reports: MetricsReports) -> Iterator[Metric]:
        cost = CounterMetricFamily("aegis_cost_usd", "Cost of settled calls, in dollars.", labels=_WHOSE)
        tokens = CounterMetricFamily("aegis_tokens", "Tokens of settled calls, in and out.", labels=_WHOSE)
        calls = CounterMetricFamily("aegis_calls", "Calls that were decided.", labels=(*_WHOSE, "effect"))
        begun = CounterMetricFamily(
            "aegis_transactions", "Trees of runs that were begun.", labels=("tenant", "agent")
        )
        unpriced = CounterMetricFamily("aegis_unpriced_calls", "Calls without a price.", labels=("tenant",))
        saved = CounterMetricFamily(
            "aegis_saved_usd", "Dollars that were expected and not spent, by why.", labels=("tenant", "why")
        )
        again = CounterMetricFamily(
            "aegis_repeated_calls",
            "Calls whose same request was settled within a day before.",
            labels=("tenant", "agent"),
        )
        again_cost = CounterMetricFamily(
            "aegis_repeated_cost_usd", "What those calls cost, in dollars.", labels=("tenant", "agent")
        )
        violations = CounterMetricFamily(
            "aegis_policy_violations",
            "Calls that a rule refused, throttled or put before a person; in shadow, would have.",
            labels=("tenant", "rule", "effect", "mode"),
        )
        for registry in self._registries:
            tenant = registry.tenant
            sums: dict[tuple[str, ...], list[int]] = {}
            agents: dict[str, list[int]] = {}
            without, downgraded, refused = 0, 0, 0
            read = reports.sums(tenant)
            for (*whose, effect), each in read.calls.items():
                found = sums.setdefault(tuple(whose), [0, 0])
                found[0] += each.cost
                found[1] += each.tokens
                calls.add_metric((tenant, *whose, effect), each.calls)
                agent = agents.setdefault(whose[1], [0, 0, 0])
                agent[0] += each.transactions
                agent[1] += each.repeats
                agent[2] += each.repeated
                without += each.unpriced
                downgraded += each.saved
                refused += 0 if effect == "allow" else each.expected
            for labels, (spent, used) in sums.items():
                cost.add_metric((tenant, *labels), spent / NANO_PER_USD)
                tokens.add_metric((tenant, *labels), used)
            for name, (trees, repeats, repeated) in agents.items():
                begun.add_metric((tenant, name), trees)
                again.add_metric((tenant, name), repeats)
                again_cost.add_metric((tenant, name), repeated / NANO_PER_USD)
            unpriced.add_metric((tenant,), without)
            saved.add_metric((tenant, "cheaper_model"), downgraded / NANO_PER_USD)
            saved.add_metric((tenant, "refused"), refused / NANO_PER_USD)
            for labels, number in read.violations.items():
                violations.add_metric((tenant, *labels), number)
        yield from (cost, tokens, calls, begun, unpriced, saved, again, again_cost, violations)

    def _outcomes(self, reports: MetricsReports) -> Iterator[Metric]:
        # Gauges: a report may be replaced by another, and then counts elsewhere.
        trees = GaugeMetricFamily(
            "aegis_outcomes",
            "Trees of runs that agents reported on, by what became of them.",
            labels=_OUTCOME,
        )
        cost = GaugeMetricFamily(
            "aegis_outcome_cost_usd", "What those trees have cost, in dollars.", labels=_OUTCOME
        )
        for registry in self._registries:
            for (agent, result), (number, spent) in reports.outcomes(registry.tenant).items():
                labels = (registry.tenant, agent, result or _UNTOLD)
                trees.add_metric(labels, number)
                cost.add_metric(labels, spent / NANO_PER_USD)
        yield from (trees, cost)

    def _budgets(self, reports: MetricsReports) -> Iterator[Metric]:
        limit, spent, reserved = (
            GaugeMetricFamily(
                f"aegis_budget_{name}_usd", f"{words} in its window, in dollars.", labels=_BUDGET
            )
            for name, words in (
                ("limit", "What may be spent of a budget of money"),
                ("spent", "What is spent of it"),
                ("reserved", "What calls under way can yet spend of it"),
            )
        )
        used = GaugeMetricFamily(
            "aegis_budget_utilization_ratio",
            "Spent and reserved of a budget, as a share of its limit.",
            labels=_BUDGET,
        )
        burn = GaugeMetricFamily(
            "aegis_budget_burn_rate",
            "Spending of the last whole hour against an even spending of the limit over the window; 1 uses it up.",
            labels=("tenant", "budget"),
        )
        now_ns = self._store.clock_ns()
        for registry in self._registries:
            for each in reports.budgets(registry, now_ns):
                standing, seen = each.standing, each.seen
                labels = (seen.tenant, seen.budget, seen.scope)
                if registry.quantities[standing.budget.quantity].is_money:
                    limit.add_metric(labels, standing.limit / NANO_PER_USD)
                    spent.add_metric(labels, standing.spent / NANO_PER_USD)
                    reserved.add_metric(labels, standing.reserved / NANO_PER_USD)
                if seen.utilization is not None:
                    used.add_metric(labels, seen.utilization)
                if seen.burn_rate is not None:
                    burn.add_metric(labels[:2], seen.burn_rate)
        yield from (limit, spent, reserved, used, burn)

    def _waiting(self, reports: MetricsReports) -> Iterator[Metric]:
        calls = GaugeMetricFamily(
            "aegis_open_calls", "Calls that are not settled yet.", labels=("tenant", "state")
        )
        approvals = GaugeMetricFamily(
            "aegis_approvals_waiting",
            "Requests for a person's word that nobody has answered.",
            labels=("tenant",),
        )
        incidents = GaugeMetricFamily(
            "aegis_incidents_open", "Incidents that are open.", labels=("tenant", "severity")
        )
        deliveries = GaugeMetricFamily(
            "aegis_deliveries",
            "Messages that wait to be delivered, or never will be.",
            labels=("tenant", "state"),
        )
        held = GaugeMetricFamily(
            "aegis_keys_held", "Keys that a budget or a person holds.", labels=("tenant",)
        )
        for registry in self._registries:
            tenant = registry.tenant
            for state, number in Reports(self._store.query).open_calls(tenant).items():
                calls.add_metric((tenant, state), number)
            approvals.add_metric((tenant,), reports.waiting_approvals(tenant))
            for severity, number in reports.open_incidents(tenant).items():
                incidents.add_metric((tenant, severity), number)
            undelivered = reports.deliveries(tenant)
            for state in ("waiting", "dead"):
                deliveries.add_metric((tenant, state), undelivered.get(state, 0))
            held.add_metric((tenant,), reports.held_keys(tenant))
        yield from (calls, approvals, incidents, deliveries, held)
