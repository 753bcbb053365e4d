"""How thresholds stand for those who look, on every store: what is left, what waits for whom, what is in grace."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_gateway import bootstrap
from aegis_gateway.adapters.holds import WordsAsked, passed_balances
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.commands import Settle
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.application.words import ask_for_words, word_given
from aegis_gateway.entrypoints.cli.budget_thresholds import next_words, thresholds_record
from tests.gateways import configuration
from tests.ledgers import HOUR_NS, TurnableClock, admission, budget, cost, quote

BUDGET = """limit: 0.000001, period: monthly, thresholds: [
    {at: 50%, do: [notify]}, {at: 60%, do: [block], grace: {time: 2h}},
    {at: 70%, do: [revoke_keys], waits_for_word: true}, {amount: 0.0000008, do: [block], grace: {amount: 0.0000001}},
    {at: 120%, of: forecast, do: [notify]}], on_exhaustion: {do: [notify]}"""


@pytest.fixture
def view() -> TenantView:
    """The tenant `acme` with a budget of many thresholds."""
    files = configuration("http://127.0.0.1:9", budgets={"month": BUDGET})
    return bootstrap.unstored_view(bootstrap.configuration(files), "acme")


class Looker:
    """Somebody who spends, and looks."""

    def __init__(self, store: Store, ledger: Ledger, view: TenantView, clock: TurnableClock) -> None:
        self.store, self.ledger, self.view, self.clock = store, ledger, view, clock
        self.calls = 0

    def spend(self, amount: int) -> None:
        """Spend so much, whatever measures say."""
        self.calls += 1
        name, claim = f"c{self.calls}", self.view.registry.budgets["month"]
        plain = budget("month", 1_000, thresholds=claim.thresholds)
        self.ledger.process([admission(name, budgets=(plain,), quoted=quote(amount))])
        self.ledger.process([Settle(call=name, tenant="acme", evidence=cost(amount))])

    def record(self) -> dict[str, dict[str, Any]]:
        """What programs read, by threshold."""
        (standing,) = self.standings()
        words = WordsAsked(self.store.query, "acme")
        found: Any = thresholds_record(standing, words, self.clock.now_ns())
        self.next = found["next_threshold"]
        return {each["threshold"]: each for each in found["thresholds"]}

    def standings(self) -> list[Any]:
        """The budget's balances."""
        wanted = [self.view.registry.budgets["month"]]
        return Reports(self.store.query).standings("acme", wanted, self.clock.now_ns())

    def states(self) -> dict[str, str]:
        """By threshold."""
        return {name: each["state"] for name, each in self.record().items()}


@pytest.mark.parametrize("is_granted", [True, False])
def test_each_state_is_told_as_it_comes(
    store: Store, ledger: Ledger, view: TenantView, clock: TurnableClock, is_granted: bool
) -> None:
    """Before anything is spent, at each step, in grace and after it, while a word is waited for and after it."""
    looker = Looker(store, ledger, view, clock)
    names = list(looker.states())
    half, sixty, seventy, most, exhausted, forecast = sorted(
        names, key=lambda name: (looker.record()[name]["of"] == "forecast", looker.record()[name]["amount"])
    )
    assert {"not_passed"} == set(looker.states().values())
    assert (500, 1_000, None) == (
        looker.record()[half]["left_amount"],
        looker.record()[exhausted]["left_amount"],
        looker.record()[forecast]["left_amount"],
    )
    looker.spend(550)
    looker.record()
    assert {"threshold": sixty, "left_amount": 50} == looker.next
    (quantity,) = [view.registry.quantities["usd"]]
    (words,) = next_words(looker.standings(), quantity, clock.now_ns())
    assert "next: at 60%, $0.00000005 before it is passed" == words
    looker.spend(160)
    assert ("passed", "grace", "waiting") == tuple(looker.states()[name] for name in (half, sixty, seventy))
    assert clock.now_ns() + 2 * HOUR_NS == looker.record()[sixty]["acts_from_ns"]
    assert looker.record()[seventy]["approval"] is None, "nobody was asked yet"
    ask_for_words(store, {"acme": view}, passed_balances(store.query), clock.now_ns())
    (row,) = store.query("select approval from approval")
    assert row["approval"] == looker.record()[seventy]["approval"]
    answers = Approvals(store, b"pepper", Caller(local_name="ann"), {"measure": word_given})
    answers.answer("acme", row["approval"], "grant" if is_granted else "refuse", "as agreed")
    assert ("agreed" if is_granted else "declined") == looker.states()[seventy]
    looker.spend(100)
    assert ("grace", 900) == (looker.states()[most], looker.record()[most]["acts_at_amount"])
    clock.turn(2 * HOUR_NS)
    assert "passed" == looker.states()[sixty]
    looker.record()
    assert {"threshold": exhausted, "left_amount": 190} == looker.next
