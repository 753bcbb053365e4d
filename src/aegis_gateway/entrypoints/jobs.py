"""The list of the steward's jobs. Whoever adds one adds a line here, and imports what it needs within `begin`."""

from __future__ import annotations

from aegis_gateway.application.jobs import Job
from aegis_gateway.configuration.settings import Settings


def jobs(_settings: Settings) -> tuple[Job, ...]:
    """All jobs, for one steward."""
    return ()
