"""Scene 10: the end of the day, three ways of counting side by side."""

from __future__ import annotations

from aegis_gateway.demo.accounts import close_the_books
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller, dollars
from aegis_gateway.domain.money import usd_text


def _play(stage: Stage, tell: Teller, day: Day) -> Outcome:
    assert day.without is not None, "the day without Aegis came first"
    day.accounts = accounts = close_the_books(stage, day.without, day.payments_refused_nano_usd)
    allowed = accounts.effects.get("allow", 0)
    tell.say(
        f"The day is over. {sum(accounts.effects.values()):,} calls were decided, {allowed} of them allowed; "
        f"{accounts.arrived} reached the provider and its payments API."
    )
    tell.say(
        f"Over any hard budget: {dollars(accounts.overspent_nano_usd)}. The check-then-spend counter let "
        f"{dollars(accounts.counter_over_nano_usd)} through on the same calls."
    )
    tell.say(
        f"Not spent: {dollars(accounts.not_spent_nano_usd)} on models, and "
        f"{dollars(accounts.payments_refused_nano_usd)} of payments that nobody approved were not paid out."
    )
    tell.say("And three ways of counting what was, to the nano-dollar:")
    tell.settle(accounts)
    return Outcome(
        checks=(
            Check(
                words="provider's bill, ledger and sum over agents are equal to the nano-dollar",
                holds=accounts.agree,
            ),
            Check(
                words="agent by agent, too",
                holds=accounts.by_agent_nano_usd == accounts.billed_by_agent_nano_usd,
            ),
            Check(
                words=f"{allowed} calls were allowed, {accounts.arrived} reached a provider, nothing is reserved",
                holds=allowed == accounts.arrived and accounts.reserved == 0,
            ),
            Check(
                words=f"over any hard budget: {usd_text(accounts.overspent_nano_usd)}",
                holds=accounts.overspent_nano_usd == 0 < accounts.counter_over_nano_usd,
            ),
        )
    )


SCENE = Scene(number=10, name="accounts", title="The end of the day", play=_play)
