"""What the table of a budget's dearest agents was read from, in words: for page and command alike."""

from __future__ import annotations

from collections.abc import Callable

from aegis_gateway.adapters.budget_agents import CALLS_READ_MAX, BudgetAgents
from aegis_gateway.domain.money import usd_short

_NOT_IN_SUMS = "Calls in runs that these agents delegated to others count on it too, and are not among them."


def agents_words(found: BudgetAgents, when: Callable[[int], str]) -> list[str]:
    """What has to be known about the table, a sentence each; nothing where each call of the window was looked at.

    `when` writes an instant.
    """
    match found.looked_at:
        case "calls":
            return []
        case "newest_calls":
            return [
                f"Only calls since {when(found.since_ns)} were looked at, up to {CALLS_READ_MAX:,} of the tenant's: "
                "sums don't tell which calls count on this budget."
            ]
        case "sums":
            widened = f", from {when(found.since_ns)} on" if found.is_widened else ""
            return [
                f"Added up by the hour{widened}: the calls that count on it by today's settings.",
                *_rest(found.rest_nano_usd),
            ]


def _rest(nano_usd: int | None) -> list[str]:
    """What is spent of the budget besides."""
    if nano_usd is None:
        return [_NOT_IN_SUMS]
    if nano_usd > 0:
        return [
            f"{usd_short(nano_usd)} more is spent of it: by calls in runs that these agents delegated to others, or by "
            "settings that it had before."
        ]
    if nano_usd < 0:
        return [f"{usd_short(-nano_usd)} of that is not spent of it: it had other settings before."]
    return []
