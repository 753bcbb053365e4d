"""The list of the steward's jobs. Whoever adds one adds a line here, and imports what it needs within `begin`."""

from __future__ import annotations

from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.jobs import Job, Work
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.settings import Settings

APPROVALS_AT_ONCE = 100


def jobs(settings: Settings) -> tuple[Job, ...]:
    """All jobs, for one steward."""
    return (
        Job(name="approvals", period_s=1.0, begin=_approvals),
        Job(name="holding", period_s=0.25, begin=lambda store: _holding(settings, store)),
    )


def _approvals(store: Store) -> Work:
    """Ask others about what nobody has decided, and end what is over."""
    from aegis_gateway.application.approvals import let_time_pass
    from aegis_gateway.bootstrap import approval_outcomes

    outcomes = approval_outcomes()
    return lambda: let_time_pass(store, outcomes, APPROVALS_AT_ONCE) == APPROVALS_AT_ONCE


def _holding(settings: Settings, store: Store) -> Work:
    """Look at passed thresholds besides calls, and hold and restore keys as they want."""
    from aegis_gateway.adapters.holds import passed_balances, tenants_with_held_keys

    views: Views | None = None

    def work() -> bool:
        nonlocal views
        balances, held = passed_balances(store.query), tenants_with_held_keys(store.query)
        if not balances and not held:
            return False
        from aegis_gateway.application.holding import hold_and_restore
        from aegis_gateway.application.words import ask_for_words

        views = views or Views(settings)
        in_force, now_ns = views.now(store.epochs()), store.clock_ns()
        ask_for_words(store, in_force, balances, now_ns)
        hold_and_restore(
            store,
            in_force,
            lambda: passed_balances(store.query),
            lambda: held,
            now_ns,
        )
        return False

    return work


class Views:
    """What is in force, read again where an epoch is another."""

    def __init__(self, settings: Settings) -> None:
        """Read as a gateway worker does."""
        from aegis_gateway.bootstrap import DirectoryLoader

        self._load = DirectoryLoader(settings)
        self._epochs: dict[str, int] = {}
        self._views: dict[str, TenantView] = {}

    def now(self, epochs: dict[str, int]) -> dict[str, TenantView]:
        """Each tenant's view."""
        if epochs != self._epochs:
            self._views, self._epochs = self._load().tenants, epochs
        return self._views
