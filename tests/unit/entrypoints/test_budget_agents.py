"""What is said of where the table of a budget's agents comes from."""

from __future__ import annotations

import pytest

from aegis_gateway.adapters.budget_agents import BudgetAgents, LookedAt
from aegis_gateway.entrypoints.budget_agents import agents_words

BY_SETTINGS = ": the calls that count on it by today's settings."


@pytest.mark.parametrize(
    ("looked_at", "rest", "is_widened", "said"),
    [
        ("calls", None, False, []),
        (
            "newest_calls",
            None,
            False,
            [
                "Only calls since <7> were looked at, up to 5,000 of the tenant's: sums don't tell which calls count "
                "on this budget."
            ],
        ),
        ("sums", 0, False, [f"Added up by the hour{BY_SETTINGS}"]),
        (
            "sums",
            None,
            True,
            [
                f"Added up by the hour, from <7> on{BY_SETTINGS}",
                "Calls in runs that these agents delegated to others count on it too, and are not among them.",
            ],
        ),
        (
            "sums",
            1_230_000_000,
            False,
            [
                f"Added up by the hour{BY_SETTINGS}",
                "$1.23 more is spent of it: by calls in runs that these agents delegated to others, or by settings "
                "that it had before.",
            ],
        ),
        (
            "sums",
            -1_230_000_000,
            False,
            [
                f"Added up by the hour{BY_SETTINGS}",
                "$1.23 of that is not spent of it: it had other settings before.",
            ],
        ),
    ],
)
def test_what_was_looked_at_is_said(
    looked_at: LookedAt, rest: int | None, is_widened: bool, said: list[str]
) -> None:
    """Nothing where each call was; else what, since when, and what is spent besides."""
    found = BudgetAgents(
        agents=[], looked_at=looked_at, since_ns=7, rest_nano_usd=rest, is_widened=is_widened
    )
    assert said == agents_words(found, lambda at_ns: f"<{at_ns}>")
