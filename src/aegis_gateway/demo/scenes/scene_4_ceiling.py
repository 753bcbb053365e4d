"""Scene 4: a payment over the ceiling."""

from __future__ import annotations

from aegis_gateway.demo import agents
from aegis_gateway.demo.names import PAYMENTS, PAYOUT_CLERK, PAYOUTS
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller, dollars
from aegis_gateway.domain.money import nano_usd

AMOUNT = "6000.00"


def _play(stage: Stage, tell: Teller, day: Day) -> Outcome:
    books = stage.books()
    before = stage.bill()
    amount = nano_usd(AMOUNT)
    tell.say(
        f"Dana's payout clerk wants to pay an invoice of {dollars(amount)}. Its ceiling is a line of Cedar."
    )
    answer = agents.pay(stage.door(PAYOUT_CLERK), PAYMENTS, AMOUNT, "invoice 0")
    tell.show(f"{answer.status} {answer.code}: {answer.message}")
    after = stage.bill()
    if not answer.is_success:
        day.payments_refused_nano_usd += amount
    held = books.standing(PAYOUTS)
    tell.say("The payments API was never asked, and the refused payment takes nothing from the day's budget.")
    return Outcome(
        checks=(
            Check(
                words=f"{dollars(amount)} was refused by policy: {answer.message}",
                holds=(answer.status, answer.code) == (403, "denied_by_policy")
                and "$5,000" in answer.message,
            ),
            Check(
                words="nothing reached the payments API, nothing is reserved or spent",
                holds=after["arrived"] == before["arrived"] and held.spent == held.reserved == 0,
            ),
        )
    )


SCENE = Scene(number=4, name="payment-ceiling", title="A payment over the ceiling", play=_play)
