"""Weeks of calls in a gateway's ledger, made up and always the same: as a bank's agents spend, by day and by night."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import msgspec

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import Admit, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import charge_line
from tests.gateways import TENANT, Gateway
from tests.ledgers import ATTRIBUTION, HOUR_NS, TurnableClock, admission, budget, create_tenants, quote

DOLLAR = 1_000_000_000
_NANO_PER_TOKEN = 2_000
_WHO = (
    ("loan-advisor", "lending", "gpt-4.1", "chat", 9),
    ("credit-memo", "lending", "gpt-5-mini", "chat", 5),
    ("market-researcher", "research", "gpt-4.1", "chat", 6),
    ("news-reader", "research", "gpt-4o-mini", "chat", 3),
    ("payout-clerk", "treasury", None, "api.pay", 2),
    ("fx-watch", "treasury", None, "api.rate", 1),
    ("meeting-scribe", "operations", "gpt-4o-mini", "chat", 2),
)
_DAY = (0, 0, 0, 0, 0, 0, 1, 2, 4, 5, 5, 4, 3, 4, 5, 5, 4, 2, 1, 1, 0, 0, 0, 0)
"""How busy agents are in each hour of a day, of five."""
_WEEKEND = (2, 3)
"""1970 began on a Thursday."""


def spend_for_weeks(gateway: Gateway, days: int, *, limit: int = 20 * DOLLAR, seed: int = 1) -> int:
    """Calls of so many days until an hour ago, on a daily budget `day`; what they came to, in nano-USD.

    The gateway has not been started, and nothing was applied.
    """
    chance = random.Random(seed)
    now = time.time_ns() // HOUR_NS
    clock = TurnableClock((now - 24 * days) * HOUR_NS)
    total = 0
    with contextlib.closing(open_store(gateway.settings.store, clock)) as store:
        store.keep_ledger()
        create_tenants(store, TENANT)
        ledger = Ledger(store)
        for hour in range(now - 24 * days, now):
            made = list(_calls(chance, hour, limit))
            clock.at_ns = hour * HOUR_NS + HOUR_NS // 2
            ledger.process([call for call, _ in made])
            ledger.process([settlement for _, settlement in made])
            total += sum(settlement.evidence.lines[0].nano_usd for _, settlement in made)
    return total


def _calls(chance: random.Random, hour: int, limit: int) -> Iterator[tuple[Admit, Settle]]:
    busy = _DAY[hour % 24] * (0.25 if hour // 24 % 7 in _WEEKEND else 1)
    claims = (budget("day", limit, hard=False, period="daily"),)
    for place, (agent, team, model, tool, dear) in enumerate(_WHO):
        if chance.random() * 5 > busy:
            continue
        who = msgspec.structs.replace(ATTRIBUTION, agent=agent, team=team, model=model, tool=tool)
        tokens = round(chance.lognormvariate(0, 0.5) * dear * DOLLAR / 60 / _NANO_PER_TOKEN)
        line = charge_line("input", tokens, "token", UnitPrice(nano_usd=_NANO_PER_TOKEN), "c1")
        name = f"spent-{hour}-{place}"
        quoted = quote(2 * line.nano_usd, line.nano_usd)
        yield (
            admission(name, tenant=TENANT, quoted=quoted, budgets=claims, attribution=who),
            Settle(call=name, tenant=TENANT, evidence=Evidence(source="usage", lines=(line,))),
        )
