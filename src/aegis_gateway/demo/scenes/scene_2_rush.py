"""Scene 2: 256 calls at once on the last cents of a budget."""

from __future__ import annotations

import openai

from aegis_gateway.demo import agents, without
from aegis_gateway.demo.names import LENDING, LOAN_ADVISOR
from aegis_gateway.demo.scenes.scene_0_without import LAST_CENTS_NANO_USD
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller, dollars


def _play(stage: Stage, tell: Teller, day: Day) -> Outcome:
    books = stage.books()
    limit = books.registry.budgets[LENDING].limit
    door = stage.door(LOAN_ADVISOR)
    tell.say("Ana's lending desk has its morning again, now through Aegis: the same memos, the same prices.")
    agents.spend_until(door, day.seed, limit - LAST_CENTS_NANO_USD, lambda: books.standing(LENDING).spent)
    left = books.standing(LENDING).left
    tell.say(
        f"{dollars(left)} is left of its {dollars(limit)} day when the same {agents.RUSH_CALLS} calls come at once."
    )
    before = _billed_calls(stage)
    replies = agents.rush(door)
    answered = [reply for reply in replies if reply.is_answer]
    refused = [reply for reply in replies if not reply.is_answer]
    cut = sum(reply.completion_tokens < agents.RUSH_TOKENS for reply in answered)
    shorter = f", {cut} of them with an answer cut to what was left" if cut else ""
    tell.say(
        f"{len(answered)} fitted{shorter}. The other {len(refused)} were refused before anything was sent:"
    )
    if refused:
        tell.show(f"openai.{refused[0].error} {refused[0].status} {refused[0].code}: {refused[0].message}")
    reached = _billed_calls(stage) - before
    billed = sum(without.billed(stage, agent) for agent in stage.desk(LENDING))
    return Outcome(
        checks=(
            Check(
                words=f"{len(answered)} of {len(replies)} calls got through, and {reached} reached the provider",
                holds=0 < len(answered) == reached < len(replies),
            ),
            Check(
                words=f"the other {len(refused)} got the official client's typed error, with status 402",
                holds=bool(refused)
                and all(
                    (reply.status, reply.code, reply.error)
                    == (402, "budget_exhausted", openai.APIStatusError.__name__)
                    for reply in refused
                ),
            ),
            Check(
                words=f"the provider billed the desk {dollars(billed)}, at most its {dollars(limit)}",
                holds=billed <= limit and billed == books.standing(LENDING).spent,
            ),
        )
    )


def _billed_calls(stage: Stage) -> int:
    line = stage.bill()["by_agent"].get(LOAN_ADVISOR)
    return int(line["requests"]) if line else 0


SCENE = Scene(number=2, name="256-at-once", title="256 calls at once on the last cents", play=_play)
