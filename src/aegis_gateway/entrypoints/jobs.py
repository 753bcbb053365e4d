"""The list of the steward's jobs. Whoever adds one adds a line here, and imports what it needs within `begin`."""

from __future__ import annotations

from aegis_gateway.application.jobs import Job, Work
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.settings import Settings

APPROVALS_AT_ONCE = 100


def jobs(_settings: Settings) -> tuple[Job, ...]:
    """All jobs, for one steward."""
    return (Job(name="approvals", period_s=1.0, begin=_approvals),)


def _approvals(store: Store) -> Work:
    """Ask others about what nobody has decided, and end what is over."""
    from aegis_gateway.application.approvals import let_time_pass
    from aegis_gateway.bootstrap import approval_outcomes

    outcomes = approval_outcomes()
    return lambda: let_time_pass(store, outcomes, APPROVALS_AT_ONCE) == APPROVALS_AT_ONCE
