"""What reports of a month ask of every store, and how they are sent."""

from __future__ import annotations

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.adapters.month_reports import MonthReports
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.application.report_sending import ReportSending
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.message import Message
from tests.ledgers import DAY_NS, HOUR_NS, TurnableClock, admission, budget, cost, quote


def test_what_was_used_of_a_budget_is_its_windows(store: Store, ledger: Ledger, clock: TurnableClock) -> None:
    """Spent and reserved of the windows that began in a stretch, and of whole hours: exactly, of no other."""
    start_ns = clock.at_ns - clock.at_ns % DAY_NS
    claims = (budget("day", 1_000, period="daily"), budget("other", 1_000, period="daily"))
    for day, amount in ((0, 3), (1, 40), (2, 500)):
        clock.at_ns = start_ns + day * DAY_NS + HOUR_NS
        name = f"call-{day}"
        ledger.process([admission(name, quoted=quote(amount, amount), budgets=claims)])
        ledger.process([Settle(call=name, tenant="acme", evidence=cost(amount))])
    ledger.process([admission("open", quoted=quote(7, 7), budgets=claims[:1])])
    found = MonthReports(store.query)
    assert (43, 0) == found.used("acme", "day", start_ns, start_ns + 2 * DAY_NS)
    assert (500, 7) == found.used("acme", "day", start_ns + 2 * DAY_NS, start_ns + 3 * DAY_NS)
    assert (0, 0) == found.used("acme", "day", start_ns + 3 * DAY_NS, start_ns + 9 * DAY_NS)
    assert (0, 0) == found.used("zeta", "day", start_ns, start_ns + 9 * DAY_NS)
    first = start_ns // HOUR_NS
    assert [43, 540] == [found.used_in_hours("acme", "day", first + n, first + n + 26) for n in (0, 24)]


def test_what_is_in_doubt_counts_at_its_most(store: Store, ledger: Ledger) -> None:
    """Nothing is in doubt at first; calls that are, count with the most that they can come to."""
    assert (0, 0) == MonthReports(store.query).in_doubt("acme")
    assert (0, 0) == MonthReports(store.query).in_doubt("nobody")


def test_a_report_is_sent_to_each_place_of_a_channel(store: Store) -> None:
    """Each gets one message that waits for the steward, each time it is asked for; who asked is in the record."""
    mail = Channel(id="mail", kind="email", recipients=("fin@acme.example", "ana@acme.example"))
    sending = ReportSending(store, b"pepper", Caller(local_name="ann"))
    message = Message(title="Acme, November 2026: $1.00 spent", tenant="acme")
    first = sending.send("acme", "2026-11", mail, message)
    second = sending.send("acme", "2026-11", mail, message)
    assert 4 == len({each.id for each in (*first, *second)})
    found = DeliveryReports(store.rows).deliveries("acme", 10, "waiting")
    assert {each.id for each in (*first, *second)} == {each.id for each in found}
    assert {("report", "fin@acme.example"), ("report", "ana@acme.example")} == {
        (each.kind, each.recipient) for each in found
    }
