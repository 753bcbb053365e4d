"""What stands in `bank/aegis.yaml`, by name."""

TENANT = "northbank"

LENDING, RESEARCH, PAYOUTS, FEES, GUEST_DAY = (
    "lending-day", "research-day", "payouts-day", "treasury-fees", "guest-day",
)  # fmt: skip
"""Budgets."""

LOAN_ADVISOR, RESEARCHER, FX_WATCH, PAYOUT_CLERK, GUEST = (
    "loan-advisor", "market-researcher", "fx-watch", "payout-clerk", "guest",
)  # fmt: skip
"""Agents."""

FX_PACE = "fx-pace"
"""A rate."""

FX, PAYMENTS = "/connect/fx", "/connect/payments"
"""Where the gateway serves the bank's connectors."""
