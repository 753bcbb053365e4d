"""What stands in `bank/aegis.yaml`, by name."""

TENANT = "northbank"

LENDING, RESEARCH, PAYOUTS, FEES, GUEST_DAY, SCRIBE_RUN = (
    "lending-day", "research-day", "payouts-day", "treasury-fees", "guest-day", "scribe-run",
)  # fmt: skip
"""Budgets."""

LOAN_ADVISOR, RESEARCHER, FX_WATCH, PAYOUT_CLERK, SCRIBE, GUEST = (
    "loan-advisor", "market-researcher", "fx-watch", "payout-clerk", "meeting-scribe", "guest",
)  # fmt: skip
"""Agents."""

FX_PACE = "fx-pace"
"""A rate."""

FX, PAYMENTS = "/connect/fx", "/connect/payments"
"""Where the gateway serves the bank's connectors."""
