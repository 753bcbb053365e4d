"""Scene 7: the runaway loop again, now with Aegis."""

from __future__ import annotations

from aegis_gateway.demo import agents, without
from aegis_gateway.demo.names import RESEARCH, RESEARCHER
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller, dollars


def _play(stage: Stage, tell: Teller, day: Day) -> Outcome:
    assert day.without is not None, "the loop ran without Aegis before"
    books = stage.books()
    limit = books.registry.budgets[RESEARCH].limit
    tell.say(
        "Emeka's researcher and its loop again: the same questions, the same answers, now through Aegis."
    )
    loop = agents.look_for_reasons(stage.door(RESEARCHER), day.seed, lambda _loop: tell.watch())
    billed = without.billed(stage, RESEARCHER)
    standing = books.standing(RESEARCH)
    tell.say(
        f"It stops at {dollars(standing.spent)} of its {dollars(limit)} day: {loop.answered} rounds were answered, "
        f"the other {loop.refused} refused before they reached the provider."
    )
    if loop.first_refusal:
        tell.show(f"{loop.first_refusal.status} {loop.first_refusal.code}: {loop.first_refusal.message}")
    tell.say(f"Without Aegis the same {loop.turns} rounds had cost {dollars(day.without.loop_nano_usd)}.")
    return Outcome(
        checks=(
            Check(
                words=f"the loop stopped at {dollars(billed)} of its {dollars(limit)} day",
                holds=billed <= limit and billed == standing.spent and loop.refused > 0,
            ),
            Check(
                words=f"the same {loop.turns} rounds cost {dollars(day.without.loop_nano_usd)} without Aegis",
                holds=loop.turns == day.without.loop.turns and billed < day.without.loop_nano_usd,
            ),
        )
    )


SCENE = Scene(number=7, name="runaway-loop", title="The runaway loop, with Aegis", play=_play)
