"""What the overview reads besides sums: today's alerts, and sums of several values of a dimension; on every store."""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.usage_reports import UsageReports
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, Store
from aegis_gateway.domain.notice import Notice
from aegis_gateway.entrypoints.people.overview.alerts import alerts_since
from tests.ledgers import ATTRIBUTION, HOUR_NS, TurnableClock, admission, cost, quote


def notice(sequence: int, kind: str, at_ns: int, tenant: str = "acme", **body: object) -> Notice:
    """A notice about a budget."""
    return Notice(tenant=tenant, sequence=sequence, kind=kind, subject="budget:day", at_ns=at_ns, body=body)  # type: ignore[arg-type]  # one of those that there are


def test_alerts_are_those_of_the_day(store: Store) -> None:
    """Passed thresholds and empty budgets since an instant, the newest first, of one tenant; nothing else."""
    found = [
        notice(1, "threshold_passed", 10, threshold="50"),
        notice(2, "threshold_passed", 20, threshold="80", scope="agent=a&b"),
        notice(3, "threshold_passed", 30, threshold="90-forecast"),
        notice(4, "threshold_passed", 40, threshold="amount-5"),
        notice(5, "approval_requested", 50),
        notice(6, "budget_exhausted", 60),
        notice(7, "threshold_passed", 70, tenant="zeta", threshold="80"),
    ]
    with store.change(["acme", "zeta"]) as change:
        change.write(Changes(notices=found))
    told = alerts_since(store.query, "acme", 20)
    assert [
        "day is exhausted",
        "day passed 5",
        "day is expected to pass 90 %",
        "day agent=a&b passed 80 %",
    ] == [each.words for each in told]
    assert [True, False, False, False] == [each.is_empty for each in told]
    assert "/budgets/acme/day?scope=agent%3Da%26b" == told[-1].address
    assert [] == alerts_since(store.query, "acme", 61)


def test_calls_may_have_one_of_several_values(store: Store, ledger: Ledger, clock: TurnableClock) -> None:
    """Of several values of a dimension a call has to have one; of none, no call does; all conditions hold."""
    for agent, team, amount in (("a", "x", 1), ("b", "x", 20), ("c", "y", 300)):
        who = msgspec.structs.replace(ATTRIBUTION, agent=agent, team=team)
        ledger.process([admission(agent, quoted=quote(amount, amount), attribution=who)])
        ledger.process([Settle(call=agent, tenant="acme", evidence=cost(amount))])
    usage = UsageReports(store.query)
    start_ns = clock.at_ns - clock.at_ns % HOUR_NS
    period = ("acme", start_ns, start_ns + HOUR_NS)
    assert 301 == usage.totals(*period, {"agent": ("a", "c")}).sums.cost
    assert 1 == usage.totals(*period, {"agent": ("a", "c"), "team": "x"}).sums.cost
    assert 0 == usage.totals(*period, {"agent": ()}).sums.cost
    assert [("b", 20), ("a", 1)] == [
        (each.values[0], each.sums.cost)
        for each in usage.by(*period, ("agent",), where={"agent": ("a", "b")})
    ]
    times = usage.over_time("acme", [period[1:]], "team", ["x"], {"agent": ("a", "b", "c")})
    assert {"x": [21], None: [300]} == times
