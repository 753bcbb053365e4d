"""Digests on every store: each once for a period and place, late but once after an outage; figures as the ledger's."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import pytest

from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.adapters.digest_figures import DigestFigures
from aegis_gateway.application.approval_requests import request
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.digesting import Digesting
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.approval import ApprovalAnswer
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.decision import Reason, Shadow, Verdict
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.message import Message
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Budget, Registry, Team
from aegis_gateway.domain.window import Window
from aegis_gateway.entrypoints.digests import message_of_digest
from tests.contract.test_approvals import ASKING
from tests.ledgers import (
    ATTRIBUTION,
    DAY_NS,
    HOUR_NS,
    PERMITTED,
    SECOND_NS,
    Database,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
    threshold,
)

PAGES = "https://aegis.example"
OPS = Channel(id="ops", kind="slack", place="C012")
MAIL = Channel(id="mail", kind="email", recipients=("fin@acme.example", "ana@acme.example"))
DAILY = Digest(id="day", every="daily", to=("ops", "mail"))
TIGHT = Budget(
    id="day", owner="ann@acme.example", deputy=None, quantity="usd", limit=1_000, period="daily", zone="UTC"
)


def registry(*digests: Digest, zone: str = "UTC", budget: Budget = TIGHT) -> Registry:
    """A tenant with channels and digests."""
    return Registry(
        tenant="acme",
        name="Acme",
        zone=zone,
        teams={
            ATTRIBUTION.team: Team(
                id=ATTRIBUTION.team, name="Desk", owner="lead@acme.example", cost_centre="1"
            )
        },
        projects={},
        agents={},
        connectors={},
        models={},
        quantities=BUILT_IN_QUANTITIES,
        budgets={"day": budget},
        rates={},
        channels={"ops": OPS, "mail": MAIL},
        digests={each.id: each for each in digests},
    )


def spend(
    ledger: Ledger,
    call: str,
    *lines: int,
    agent: str = "bot",
    team: str = ATTRIBUTION.team,
    verdict: Verdict = PERMITTED,
) -> None:
    """A call of at most 100 nano-dollars on a daily budget, settled at some lines, or open."""
    attribution = msgspec.structs.replace(ATTRIBUTION, agent=agent, team=team)
    claims = (budget("day", period="daily"),)
    ledger.process(
        [admission(call, budgets=claims, quoted=quote(100, 50), attribution=attribution, verdict=verdict)]
    )
    if lines:
        ledger.process([Settle(call=call, tenant="acme", evidence=cost(*lines))])


def digesting(store: Store, registry: Registry) -> Digesting:
    """What the steward does."""

    def content(registry: Registry, digest: Digest, window: Window, missing: Sequence[Window]) -> Message:
        return message_of_digest(store, registry, (), digest, window, PAGES, missing)

    return Digesting(store, lambda: {"acme": registry}, DeliveryReports(store.rows).last_digest, content)


def sent(store: Store) -> list[tuple[str, str, str]]:
    """Where digests went, with their titles."""
    found = DeliveryReports(store.rows).deliveries("acme", 100)
    return sorted((each.channel, each.recipient, each.message.title) for each in found)


def test_figures_are_the_ledgers(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """To the nano-dollar: of the tenant, a team and a budget, by agent; by admission, however late it settled."""
    spend(ledger, "yesterday", 7, agent="old")
    spend(ledger, "late")
    clock.turn(DAY_NS)
    spend(ledger, "a", 30, 5)
    spend(ledger, "b", 11, agent="other", team="risk")
    spend(ledger, "open", agent="other")
    ledger.process([Settle(call="late", tenant="acme", evidence=cost(13))])
    now_ns = clock.now_ns()
    window = DAILY.current("UTC", now_ns)
    figures = DigestFigures(store, registry(DAILY)).of(DAILY, window, now_ns)
    charged = store.query(
        "select sum(nano_usd) as sum from charge_line join call on call.call = charge_line.call"
        " where decided_ns >= ? and decided_ns < ?",
        (window.starts_ns, window.ends_ns),
    )
    posted = store.query("select sum(posted) as sum from standing where \"window\" = '2026-11-24'")
    assert 46 == figures.nano_usd == int(charged[0]["sum"]) == int(posted[0]["sum"])
    assert (20, 3, 1, 100) == (
        figures.before_nano_usd,
        figures.calls,
        figures.open_calls,
        figures.open_nano_usd,
    )
    assert [("bot", 35, 22), ("other", 11, 11), ("old", 0, -7)] == [
        (each.name, each.nano_usd, each.change_nano_usd) for each in figures.agents
    ]
    (standing,) = figures.budgets
    assert (46, 100, 1_000, 4) == (standing.spent, standing.reserved, standing.limit, standing.percent)
    for scope, name, spent in (("team", "risk", 11), ("budget", "day", 46), ("budget", "da_", 0)):
        digest = msgspec.structs.replace(DAILY, scope=scope, name=name)
        assert spent == DigestFigures(store, registry(DAILY)).of(digest, window, now_ns).nano_usd


def test_what_else_happened(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """Refusals by rule, what people were asked and how long it took, and what is saved apart from what was spent."""
    no = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="nothing permits this"),))
    for name in ("no", "no more"):
        spend(ledger, name, verdict=no)
    for number in range(12):
        spend(ledger, f"c{number}")
    cheaper = Verdict(effect="allow", reasons=(Reason(code="downgraded", message="a cheaper one"),))
    command = admission("cheap", quoted=quote(1), verdict=cheaper)
    who = msgspec.structs.replace(command.attribution, downgraded_from="gpt-4o", saved_nano_usd=40)
    ledger.process([msgspec.structs.replace(command, attribution=who)])
    with store.change(["acme"]) as change:
        recording = RegistryRecording(change, "aegis")
        asked = [
            request(recording, msgspec.structs.replace(ASKING, fingerprint=name)) for name in ("f1", "f2")
        ]
    clock.turn(90 * SECOND_NS)
    with store.change(["acme"]) as change:
        word = ApprovalAnswer(kind="grant", by="ben", behind=("ben",), at_ns=change.now_ns)
        change.save_approval_answer("acme", asked[0].id, word)
    window = DAILY.current("UTC", clock.now_ns())
    figures = DigestFigures(store, registry(DAILY)).of(DAILY, window, clock.now_ns())
    assert [("budget `day`", 2), ("nothing permits this", 2)] == [
        (each.rule, each.calls) for each in figures.refused
    ]
    words = figures.words
    assert (2, 1, 2, 90 * SECOND_NS) == (words.asked, words.answered, words.waiting, words.median_ns)
    assert (40, 0) == (figures.saved_nano_usd, figures.nano_usd)
    told = dict(message_of_digest(store, registry(DAILY), (), DAILY, window, PAGES).facts)
    assert "no part of what was spent" in told["saved"]
    assert "2 calls by budget `day`" in told["refused"]


def test_thresholds_and_the_window_that_ended(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """What a budget has passed and opened, and how its day ended, told the day after; of other budgets nothing."""
    claims = (budget("day", limit=100, period="daily", thresholds=(threshold(80, "notify", "incident"),)),)
    ledger.process([admission("a", quoted=quote(90), budgets=claims)])
    ledger.process([Settle(call="a", tenant="acme", evidence=cost(90))])
    clock.turn(DAY_NS)
    spend(ledger, "b", 7)
    now_ns = clock.now_ns()
    window = DAILY.last("UTC", now_ns)
    day = msgspec.structs.replace(DAILY, scope="budget", name="day")
    for digest in (DAILY, day):
        figures = DigestFigures(store, registry(DAILY)).of(digest, window, now_ns)
        assert (("day at 80",), 1, 1) == (
            figures.thresholds,
            figures.incidents_opened,
            figures.incidents_open,
        )
        (standing,) = figures.budgets
        assert ("2026-11-23", 90, None) == (standing.window, standing.spent, standing.expected)
    other = msgspec.structs.replace(DAILY, scope="team", name="risk")
    figures = DigestFigures(store, registry(DAILY)).of(other, window, now_ns)
    assert ((), 0, 0, ()) == (
        figures.thresholds,
        figures.incidents_opened,
        figures.incidents_open,
        figures.budgets,
    )
    (later,) = DigestFigures(store, registry(DAILY)).of(DAILY, DAILY.current("UTC", now_ns), now_ns).budgets
    assert ("2026-11-24", 7) == (later.window, later.spent)


def test_it_is_due_at_its_hour_of_the_tenants_day(store: Store, clock: TurnableClock) -> None:
    """And made once, for each place; the next one the day after."""
    there = registry(DAILY, zone="Pacific/Auckland")  # where it is 1 o'clock of the 24th
    make = digesting(store, there)
    assert (1, 0) == (make(), make())
    assert [
        ("mail", "ana@acme.example", "Acme, 2026-11-22: $0.00 spent"),
        ("mail", "fin@acme.example", "Acme, 2026-11-22: $0.00 spent"),
        ("ops", "", "Acme, 2026-11-22: $0.00 spent"),
    ] == sent(store)
    clock.turn(7 * HOUR_NS - 1)
    assert 0 == make()
    clock.turn(1)
    assert (1, 0) == (make(), make())
    assert 6 == len(sent(store))


def test_after_an_outage_the_newest_is_made(store: Store, clock: TurnableClock) -> None:
    """Once, and says which nobody made."""
    make = digesting(store, registry(DAILY))
    make()
    clock.turn(4 * DAY_NS)
    assert (1, 0) == (make(), make())
    newest = DeliveryReports(store.rows).deliveries("acme", 1)[0].message
    assert "2026-11-26" in newest.title
    assert "2026-11-25, 2026-11-24, 2026-11-23" in newest.text
    clock.turn(-2 * DAY_NS)
    assert 0 == make()
    weekly = msgspec.structs.replace(DAILY, every="weekly")
    assert 1 == digesting(store, registry(weekly))()


def test_many_stewards_make_one(store: Store, database: Database, clock: TurnableClock) -> None:
    """Whoever comes second finds it made."""
    stores = [database.open(clock, keep=False) for _ in range(4)]
    together = threading.Barrier(len(stores))
    made: list[int] = []

    def work(own: Store) -> None:
        together.wait()
        made.append(digesting(own, registry(DAILY))())

    threads = [threading.Thread(target=work, args=(own,)) for own in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [0, 0, 0, 1] == sorted(made)
    assert 3 == len(sent(store))
    for own in stores:
        own.close()


@pytest.mark.parametrize(
    ("scope", "name", "owner"),
    [("team", ATTRIBUTION.team, "lead@acme.example"), ("budget", "day", "ann@acme.example")],
)
def test_an_owner_is_told_by_mail(store: Store, scope: str, name: str, owner: str) -> None:
    """Of what is theirs."""
    digest = msgspec.structs.replace(DAILY, scope=scope, name=name, to=("owner",))
    assert 1 == digesting(store, registry(digest))()
    assert [("mail", owner)] == [(channel, recipient) for channel, recipient, _ in sent(store)]


def test_rules_in_shadow(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """What they would have done, what speaks against enforcing them, and how that would be done; not by a link."""
    finding = Shadow(rule="budget:day", would="deny")
    for name in ("a", "b"):
        verdict = msgspec.structs.replace(PERMITTED, shadow=(finding,))
        spend(ledger, name, 30, verdict=verdict)
    quiet = msgspec.structs.replace(TIGHT, mode="shadow")
    digest = Digest(id="quiet", every="daily", what="shadow", to=("ops",))
    clock.turn(DAY_NS)
    assert 1 == digesting(store, registry(digest, budget=quiet))()
    message = DeliveryReports(store.rows).deliveries("acme", 1)[0].message
    told = dict(message.facts)["budget:day"]
    assert "would have refused 2 calls that cost $0.00000006: bot 2" in told
    assert "it would stop nearly all that bot does (2 of 2 calls)" in told
    assert "To enforce: write mode: enforce under budgets: day:" in told
    assert "aegis plan DIR" in message.text
    assert [f"{PAGES}/shadow/acme"] == [link.url for link in message.links]
