"""What tests of the ledger are made of: databases, a clock that can be turned, and commands in few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import apsw
import psycopg

from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.commands import Admit, ArgumentsRecord, Attribution
from aegis_gateway.application.ports import Clock, Store
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Mode, Reason, Verdict
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import charge_line
from aegis_gateway.domain.quote import CALLS, USD, Quote
from aegis_gateway.domain.rate import RateClaim
from aegis_gateway.domain.threshold import EXHAUSTED, ActKind, Basis, Threshold, ThresholdAct
from aegis_gateway.domain.window import Window

Kind = Literal["sqlite", "postgres"]

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
NOON_NS = 1_795_435_200 * SECOND_NS
"""2026-11-23T12:00:00Z, a Monday."""

PERMITTED = Verdict(
    effect="allow", reasons=(Reason(code="permitted", message="policy `p` permits this", subject="p"),)
)
ATTRIBUTION = Attribution(
    agent="bot",
    team="lending",
    cost_centre="CC-1",
    owner="ann@example.com",
    purpose="answers questions",
    environment="production",
    key="key_1",
    connector="openai",
    tool="chat",
)


class TurnableClock:
    """A clock that stands until it is turned."""

    def __init__(self, now_ns: int = NOON_NS) -> None:
        self.at_ns = now_ns

    def now_ns(self) -> int:
        """What it was set to."""
        return self.at_ns

    def turn(self, by_ns: int) -> None:
        """Turn it forward, or back."""
        self.at_ns += by_ns


class Database:
    """One database of a kind, whose stores are opened, and closed at the end."""

    def __init__(self, kind: Kind, url: str) -> None:
        self.kind = kind
        self.url = url
        self._opened: list[Store] = []

    def open(self, clock: Clock | None, *, keep: bool = True, read_only: bool = False) -> Store:
        """Open a store, which keeps the ledger unless it is told not to."""
        store = open_store(self.url, clock, read_only=read_only)
        self._opened.append(store)
        if keep and not read_only:
            store.keep_ledger()
        return store

    def close(self) -> None:
        """Close all that was opened."""
        for store in self._opened:
            store.close()

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """What somebody does to the database without asking Aegis.

        Raises:
            apsw.Error, psycopg.Error: the database refused.
        """
        if self.kind == "sqlite":
            with closing(apsw.Connection(self.url.removeprefix("sqlite:"))) as connection:
                return connection.execute(sql).fetchall()
        with psycopg.connect(self.url, autocommit=True) as session:
            cursor = session.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def sqlite_database(directory: Path) -> Iterator[Database]:
    """A database in a file."""
    with closing(Database("sqlite", f"sqlite:{directory / 'aegis.db'}")) as database:
        yield database


@contextmanager
def postgres_database(url: str) -> Iterator[Database]:
    """A database on a server."""
    with closing(Database("postgres", url)) as database:
        yield database


def create_tenants(store: Store, *tenants: str) -> None:
    """Make tenants."""
    with store.change(tenants) as change:
        for tenant in tenants:
            change.create_tenant(tenant)


def budget(
    name: str = "month",
    limit: int = 1_000,
    *,
    hard: bool = True,
    quantity: str = USD,
    scope: str = "",
    period: Any = "monthly",
    zone: str = "UTC",
    once: Window | None = None,
    thresholds: tuple[Threshold, ...] = (),
    length_ns: int = 0,
    mode: Mode = "enforce",
) -> BudgetClaim:
    """A budget as it applies to a call."""
    return BudgetClaim(
        budget=name,
        scope=scope,
        quantity=quantity,
        scale=1,
        is_money=quantity == USD,
        limit=limit,
        hard=hard,
        period=period,
        zone=zone,
        owner="ann@example.com",
        once=once,
        thresholds=thresholds,
        length_ns=length_ns,
        mode=mode,
    )


def threshold(percent: int, *acts: ActKind, basis: Basis = "actual", **settings: Any) -> Threshold:
    """What is done at so many percent of a budget."""
    name = f"{percent}-forecast" if basis == "forecast" else f"{percent}"
    done = tuple(ThresholdAct(kind=kind) for kind in acts)
    return Threshold(id=name, share=100 * percent, basis=basis, acts=done, **settings)


def on_exhaustion(*acts: ActKind, **settings: Any) -> Threshold:
    """What is done when a budget is exhausted."""
    done = tuple(ThresholdAct(kind=kind) for kind in acts)
    return Threshold(id=EXHAUSTED, share=10_000, basis="exhaustion", acts=done, **settings)


def rate(name: str = "burst", limit: int = 2, period_ns: int = 10 * SECOND_NS, scope: str = "") -> RateClaim:
    """A rate limit as it applies to a call."""
    return RateClaim(rate=name, scope=scope, limit=limit, period_ns=period_ns, burst=limit)


def quote(maximum: int = 100, expected: int | None = None, **others: int) -> Quote:
    """A quote in nano-dollars, and of other quantities."""
    return Quote(
        expected={USD: maximum if expected is None else expected, CALLS: 1, **others},
        maximum={USD: maximum, CALLS: 1, **others},
        price_source="contract",
        price_version="c1",
    )


def admission(
    call: str,
    *,
    tenant: str = "acme",
    budgets: tuple[BudgetClaim, ...] = (budget(),),
    rates: tuple[RateClaim, ...] = (),
    quoted: Quote | None = None,
    epoch: int = 1,
    verdict: Verdict = PERMITTED,
    attribution: Attribution = ATTRIBUTION,
    reserve_for_ns: int | None = None,
    utilisation: int | None = None,
) -> Admit:
    """A judged call."""
    return Admit(
        call=call,
        tenant=tenant,
        epoch=epoch,
        attribution=attribution,
        verdict=verdict,
        arguments=ArgumentsRecord(salt=b"\x00\xff" * 8, digest="d1", hmac="h1", summary={"model": "m"}),
        policy_version="p1",
        config_version=1,
        quote=quoted or quote(),
        rates=rates,
        budgets=budgets,
        reserve_for_ns=reserve_for_ns,
        utilisation=utilisation,
    )


def cost(*nano_usd: int, **actual: int) -> Evidence:
    """Evidence of a cost, a line for each amount, and of other quantities."""
    lines = tuple(charge_line("input", amount, "token", UnitPrice(nano_usd=1), "c1") for amount in nano_usd)
    return Evidence(source="usage", lines=lines, actual=actual)


Opener = Callable[..., Store]
