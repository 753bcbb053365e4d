"""The demo's result for programs: one JSON object."""

from __future__ import annotations

from collections.abc import Sequence

from aegis_gateway.demo.accounts import Accounts
from aegis_gateway.demo.story import Outcome, Scene


def report(played: Sequence[tuple[Scene, Outcome]], accounts: Accounts) -> dict[str, object]:
    """What was played and what was counted. Calls are counted in the ledger, not by the clients."""
    return {
        "scenes": [{"name": scene.name, "passed": outcome.passed} for scene, outcome in played],
        "calls": sum(accounts.effects.values()),
        "allowed": accounts.effects.get("allow", 0),
        "denied": accounts.effects.get("deny", 0),
        "throttled": accounts.effects.get("throttle", 0),
        "asked": accounts.effects.get("ask", 0),
        "provider_bill_nano_usd": accounts.provider_bill_nano_usd,
        "ledger_nano_usd": accounts.ledger_nano_usd,
        "agents_nano_usd": accounts.by_agent_nano_usd,
        "overspent_nano_usd": accounts.overspent_nano_usd,
    }


def is_right(played: Sequence[tuple[Scene, Outcome]], accounts: Accounts) -> bool:
    """Whether every scene passed, the three numbers agree, and no hard budget was overspent."""
    passed = all(outcome.passed for _, outcome in played)
    return passed and accounts.agree and accounts.overspent_nano_usd == 0
