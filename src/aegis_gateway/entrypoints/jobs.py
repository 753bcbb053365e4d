"""The list of the steward's jobs. Whoever adds one adds a line here, and imports what it needs within `begin`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aegis_gateway.application.jobs import Job, Work
from aegis_gateway.application.ports import Store
from aegis_gateway.application.tracing import Observer
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.registry import Budget
from aegis_gateway.entrypoints.delivery_jobs import delivery_jobs
from aegis_gateway.entrypoints.digest_jobs import digest_jobs
from aegis_gateway.entrypoints.in_force import InForce, has_word

if TYPE_CHECKING:
    from aegis_gateway.application.foreseeing import Foreseen

APPROVALS_AT_ONCE = 100
WAITING_MAX = 1_000


def jobs(
    settings: Settings, observer: Observer | None = None, in_force: InForce | None = None
) -> tuple[Job, ...]:
    """All jobs, for one steward; `observer` makes telemetry of what they see. `in_force` is shared with others."""
    in_force = in_force or InForce(settings)
    return (
        Job(name="approvals", period_s=1.0, begin=lambda store: _approvals(settings, store)),
        Job(name="holding", period_s=0.25, begin=lambda store: _holding(in_force, store)),
        Job(name="thresholds of forecasts", period_s=60.0, begin=lambda store: _forecasts(in_force, store)),
        Job(name="adaptive limits", period_s=60.0, begin=lambda store: _adapting(in_force, store)),
        *delivery_jobs(settings, in_force, observer),
        *digest_jobs(settings, in_force),
        Job(name="noting telemetry", period_s=600.0, begin=lambda store: _noting(settings, store)),
    )


def _noting(settings: Settings, store: Store) -> Work:
    """Keep that spans or metrics are sent, for `aegis rollout`."""

    def work() -> bool:
        if settings.telemetry:
            with store.change([]) as change:
                change.note_seen("telemetry", change.now_ns)
        return False

    return work


def _approvals(settings: Settings, store: Store) -> Work:
    """Ask others about what nobody has decided or can decide, and end what is over."""
    from aegis_gateway.adapters.attendance import may_be_away
    from aegis_gateway.application.approvals import let_time_pass
    from aegis_gateway.bootstrap import VerifiedRegistries, approval_outcomes

    outcomes = approval_outcomes(VerifiedRegistries(settings))

    def work() -> bool:
        count = let_time_pass(store, outcomes, APPROVALS_AT_ONCE)
        now_ns = store.clock_ns()
        if may_be_away(store, now_ns):
            _ask_others(store, now_ns)
        return count == APPROVALS_AT_ONCE

    return work


def _ask_others(store: Store, now_ns: int) -> None:
    """Ask others at once about what those who are asked can't decide, because they are away."""
    from aegis_gateway.adapters.approval_rows import ApprovalReports
    from aegis_gateway.adapters.attendance import read_attendance
    from aegis_gateway.application.approvals import escalate_unattended
    from aegis_gateway.domain.deputies import is_unattended

    waiting = ApprovalReports(store.rows).may_escalate(WAITING_MAX)
    if waiting:
        attendance = read_attendance(store, now_ns)
        escalate_unattended(store, [each for each in waiting if is_unattended(each, attendance)])


def _holding(in_force: InForce, store: Store) -> Work:
    """Look at passed thresholds besides calls, and hold and restore keys as they want."""
    from aegis_gateway.adapters.holds import passed_balances, tenants_with_held_keys, words_asked

    def work() -> bool:
        balances, held = passed_balances(store.query), tenants_with_held_keys(store.query)
        asked = words_asked(store.query)
        if not balances and not held and not asked:
            return False
        from aegis_gateway.application.holding import hold_and_restore
        from aegis_gateway.application.words import ask_for_words, withdraw_words

        views, now_ns = in_force(), store.clock_ns()
        ask_for_words(store, views, balances, now_ns)
        hold_and_restore(
            store,
            views,
            lambda: passed_balances(store.query),
            lambda: held,
            now_ns,
        )
        if asked:
            withdraw_words(store, asked, passed_balances(store.query))
        return False

    return work


def _forecasts(in_force: InForce, store: Store) -> Work:
    """Pass thresholds of forecasts, and undo them."""

    def foreseen(tenant: str, budget: Budget) -> Iterator[Foreseen]:
        from aegis_gateway.adapters.budget_use import BudgetUse, forecast_of
        from aegis_gateway.adapters.reports import Reports
        from aegis_gateway.application.foreseeing import Foreseen

        use, reports = BudgetUse(store.query), Reports(store.query)
        now_ns = store.clock_ns()
        for standing in reports.standings(tenant, [budget], now_ns):
            found = forecast_of(use.hourly(tenant, budget, standing.scope, now_ns), standing, now_ns)
            if found.expected is not None and found.days:
                yield Foreseen(
                    scope=standing.scope,
                    window=standing.window,
                    expected=found.expected,
                    balance=standing.balance,
                )

    def work() -> bool:
        if has_word(store, "forecast"):
            from aegis_gateway.application.foreseeing import pass_forecasts

            pass_forecasts(store, in_force(), foreseen, store.clock_ns())
        return False

    return work


def _adapting(in_force: InForce, store: Store) -> Work:
    """Change limits that follow use, once in a turn, or ask for a word on them."""

    def work() -> bool:
        if has_word(store, "adapts"):
            from aegis_gateway.adapters.budget_use import BudgetUse
            from aegis_gateway.application.adapting import adapt_limits

            adapt_limits(store, in_force(), BudgetUse(store.query))
        return False

    return work
