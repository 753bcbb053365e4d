"""What is told of agents is what their calls add up to, on every store, by the indexes that there are for it."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.adapters.agent_reports import AgentReports
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.commands import Lose, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.ledger import Evidence
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import charge_line
from tests.houses import House
from tests.ledgers import (
    ATTRIBUTION,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    SECOND_NS,
    TurnableClock,
    admission,
    cost,
    quote,
)

EVER = (0, 2**62)
RUNS = {name: f"run_{name * 20}.x" for name in "ab"}
REFUSED = Verdict(
    effect="deny", reasons=(Reason(code="denied_by_policy", message="policy `p` refuses this", subject="p"),)
)


def make(
    ledger: Ledger,
    call: str,
    agent: str = "bot",
    *,
    run: str | None = None,
    hmac: str = "h",
    retry: int = 0,
    verdict: Verdict = PERMITTED,
    evidence: Evidence | None = None,
    key: str = "key_1",
) -> None:
    """A call of at most 100 nano-dollars, settled if there is evidence."""
    who = msgspec.structs.replace(ATTRIBUTION, agent=agent, run=run, model="m", retry=retry, key=key)
    asked = admission(call, quoted=quote(100, 60), attribution=who, verdict=verdict)
    arguments = msgspec.structs.replace(asked.arguments, hmac=hmac)
    ledger.process([msgspec.structs.replace(asked, arguments=arguments)])
    if evidence is not None:
        ledger.process([Settle(call=call, tenant="acme", evidence=evidence)])


@pytest.fixture
def reports(reader: Store) -> AgentReports:
    """Reports through a connection that only reads."""
    return AgentReports(reader.query)


def test_runs_calls_and_refusals(ledger: Ledger, reports: AgentReports, clock: TurnableClock) -> None:
    """Runs with open calls at their maximum, the dearest first; refusals by rule; when each last called."""
    make(ledger, "c1", run=RUNS["a"], evidence=cost(30))
    make(ledger, "c2", run=RUNS["a"])
    make(ledger, "c3", run=RUNS["a"], verdict=REFUSED)
    clock.turn(HOUR_NS)
    make(ledger, "c4", run=RUNS["b"], evidence=cost(90), key="key_2")
    make(ledger, "c5", "other", run=RUNS["b"], evidence=cost(99))
    ledger.process([Lose(call="c2", tenant="acme", reason="gone")])
    runs = reports.runs("acme", "bot", *EVER, 5)
    found = [(each.number, each.calls, each.refused, each.open_calls, each.nano_usd) for each in runs.dearest]
    assert (2, 220) == (runs.count, runs.nano_usd)
    assert (1, 2, 220) == (
        len(reports.runs("acme", "bot", *EVER, 1).dearest),
        *msgspec.structs.astuple(reports.runs("acme", "bot", *EVER, 1))[1:],
    )
    assert [("a" * 20, 3, 1, 1, 130), ("b" * 20, 1, 0, 0, 90)] == found
    early = reports.runs("acme", "bot", NOON_NS, NOON_NS + HOUR_NS, 5)
    assert ["a" * 20] == [each.number for each in early.dearest]
    assert (0, 0) == (
        reports.runs("acme", "nobody", *EVER, 5).count,
        len(reports.refused("acme", "nobody", *EVER)),
    )
    assert ["c4", "c1"] == [each.call for each in reports.dearest("acme", "bot", *EVER, 5)]
    (refused,) = reports.refused("acme", "bot", *EVER)
    assert ("c3", "deny", "denied_by_policy", "p", "policy `p` refuses this") == (
        refused.call,
        refused.effect,
        refused.code,
        refused.rule,
        refused.words,
    )
    last = reports.last_calls("acme", ["bot", "other", "nobody"])
    assert {"bot": NOON_NS + HOUR_NS, "other": NOON_NS + HOUR_NS} == last
    assert {} == reports.last_calls("zeta", ["bot"])
    assert {"key_1": NOON_NS, "key_2": NOON_NS + HOUR_NS} == reports.keys_used("acme", "bot")


def test_requests_and_what_they_used(ledger: Ledger, reports: AgentReports, clock: TurnableClock) -> None:
    """Settled calls alone, with what tells one request from others, and what was counted of each kind."""
    price = UnitPrice(nano_usd=2)

    def bill(read: int, written: int) -> Evidence:
        lines = (
            charge_line("input", read, "token", price, "c1"),
            charge_line("output", written, "token", price, "c1"),
        )
        return Evidence(source="usage", lines=lines)

    make(ledger, "c1", evidence=bill(5, 7))
    clock.turn(SECOND_NS)
    make(ledger, "c2", hmac="i", retry=1, evidence=bill(5, 7))
    make(ledger, "c3", "other", evidence=bill(1, 1))
    make(ledger, "c4")
    found = {each.call: each for each in reports.requests("acme", "bot", *EVER)}
    assert {"c1": ("h", 0, 24), "c2": ("i", 1, 24)} == {
        call: (each.digest, each.attempt, each.cost_nano_usd) for call, each in found.items()
    }
    assert NOON_NS + SECOND_NS == found["c2"].settled_ns
    assert {"c1", "c2", "c3"} == {each.call for each in reports.requests("acme", None, *EVER)}
    traffic = reports.traffic("acme", "bot", *EVER)[("m", "chat")]
    assert ({"input": 10, "output": 14}, 2, 48) == (traffic.units, traffic.calls, traffic.cost_nano_usd)
    assert 3 == reports.traffic("acme", None, *EVER)[("m", "chat")].calls
    assert (2, 3) == (
        reports.settled_count("acme", "bot", *EVER),
        reports.settled_count("acme", None, *EVER),
    )


def test_keys_and_who_did_what_to_them(store: Store, reports: AgentReports) -> None:
    """All keys of the tenant, and each act with who did it, the newest first."""
    house = House(store)
    administration: Administration = house.administration()
    one = administration.issue_key("acme", "bot").key
    administration.revoke_key("acme", one.id, "leaked")
    administration.issue_key("zeta", "bot")
    assert [one.id] == [key.id for key in reports.keys("acme")]
    assert [("revoke", "leaked"), ("issue", "")] == [
        (each.act, each.reason) for each in reports.key_acts("acme")
    ]
    assert {"local:os-user"} == {each.actor for each in reports.key_acts("acme")}


def test_an_agent_s_calls_are_found_by_an_index(reader: Store) -> None:
    """Not among those of all others; who did what to keys not in the whole record."""
    asked: list[str] = []

    def query(sql: str, values: tuple[object, ...] = ()) -> list[dict[str, object]]:
        is_sqlite = "sqlite" in type(reader).__module__
        written = sql
        for value in values:
            written = written.replace("?", f"'{value}'" if isinstance(value, str) else str(value), 1)
        asked.extend(
            str(row) for row in reader.query(f"explain {'query plan ' if is_sqlite else ''}{written}")
        )
        return []

    reports = AgentReports(query)
    reports.runs("acme", "bot", *EVER, 5)
    reports.last_calls("acme", ["bot"])
    assert any("call_by_agent" in each for each in asked), asked
    asked.clear()
    reports.key_acts("acme")
    assert any("entry_by_kind" in each for each in asked), asked
