"""Notices and windows' notes on every store: written with what happened, or not at all."""

from __future__ import annotations

import pytest

from aegis_gateway.application.ports import Changes, StandingRow, Store
from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.domain.ledger import Standing, WindowNotes
from aegis_gateway.domain.notice import Notice
from aegis_gateway.domain.window import Window
from tests.ledgers import DAY_NS, NOON_NS

NOTICE = Notice(
    tenant="acme",
    sequence=1,
    kind="budget_exhausted",
    subject="budget:day",
    at_ns=NOON_NS,
    body={"limit": "20000000000"},
)


def test_a_notice_is_written_once(store: Store, reader: Store) -> None:
    """It is there after the commit, waits to be passed on, and its place can't be taken by another."""
    with store.lock(["acme"]) as locked:
        locked.write(Changes(notices=[NOTICE]))
    (row,) = reader.query("select kind, subject, body, passed_ns from notice where tenant = ?", ("acme",))
    assert {
        "kind": "budget_exhausted",
        "subject": "budget:day",
        "body": '{"limit":"20000000000"}',
        "passed_ns": None,
    } == row
    with pytest.raises(LedgerUnavailable), store.lock(["acme"]) as locked:
        locked.write(Changes(notices=[NOTICE]))


def test_a_windows_notes_are_kept_with_its_balance(store: Store) -> None:
    """They come back as they were written, and a balance without any has none."""
    window = Window(label="2026-11-28", starts_ns=NOON_NS, ends_ns=NOON_NS + DAY_NS)
    noted, plain = Standing(pending=1, posted=2, notes=WindowNotes()), Standing(pending=3)
    rows = [
        StandingRow(tenant="acme", budget=budget, scope="", window=window, quantity="usd", standing=standing)
        for budget, standing in (("noted", noted), ("plain", plain))
    ]
    with store.lock(["acme"]) as locked:
        locked.write(Changes(standings=rows))
    keys = [("acme", (row.budget, "", window.label)) for row in rows]
    with store.lock(["acme"]) as locked:
        assert dict(zip(keys, (noted, plain), strict=True)) == locked.standings(keys)
