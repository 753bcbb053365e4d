"""Scene 5: ten payments just under the ceiling, and a budget that counts what is paid out."""

from __future__ import annotations

from aegis_gateway.demo import agents
from aegis_gateway.demo.names import PAYMENTS, PAYOUT_CLERK, PAYOUTS
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller, dollars
from aegis_gateway.domain.money import nano_usd

AMOUNT = "4999.00"
TIMES = 10


def _play(stage: Stage, tell: Teller, day: Day) -> Outcome:
    books = stage.books()
    limit = books.registry.budgets[PAYOUTS].limit
    amount = nano_usd(AMOUNT)
    tell.say(f"So it tries {TIMES} payments of {dollars(amount)} at once, each one under the ceiling.")
    answers = agents.pay_at_once(stage.door(PAYOUT_CLERK), PAYMENTS, AMOUNT, TIMES)
    paid = [answer for answer in answers if answer.is_success]
    refused = [answer for answer in answers if not answer.is_success]
    day.payments_refused_nano_usd += amount * len(refused)
    if paid:
        day.payment = str(paid[0].body["id"])
    out = stage.bill()["paid_out_nano_usd"]
    tell.say(
        f"Dana's second budget counts money paid out, {dollars(limit)} a day: {len(paid)} went through, "
        f"{dollars(out)} in all, and the other {len(refused)} were refused."
    )
    if refused:
        tell.show(f"{refused[0].status} {refused[0].code}: {refused[0].message}")
    return Outcome(
        checks=(
            Check(
                words=f"{len(paid)} of {TIMES} payments fitted into {dollars(limit)}",
                holds=len(paid) == limit // amount,
            ),
            Check(
                words=f"the other {len(refused)} were refused with 402",
                holds=all((answer.status, answer.code) == (402, "budget_exhausted") for answer in refused),
            ),
            Check(
                words=f"the payments API paid out {dollars(out)}, as the budget says",
                holds=out == books.standing(PAYOUTS).spent == amount * len(paid) <= limit,
            ),
        )
    )


SCENE = Scene(number=5, name="under-the-ceiling", title="Ten payments just under the ceiling", play=_play)
