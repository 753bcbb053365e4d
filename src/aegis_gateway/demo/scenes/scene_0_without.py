"""Scene 0: the same agents without Aegis."""

from __future__ import annotations

from aegis_gateway.demo import agents, without
from aegis_gateway.demo.names import LENDING, LOAN_ADVISOR, RESEARCH, RESEARCHER
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller, dollars
from aegis_gateway.demo.without import Without
from aegis_gateway.domain.money import NANO_PER_USD

LAST_CENTS_NANO_USD = 3 * NANO_PER_USD // 100
_TOLD_EVERY = 60


def _play(stage: Stage, tell: Teller, day: Day) -> Outcome:
    budgets = stage.registry().budgets
    limit = budgets[RESEARCH].limit
    tell.say("North Bank before Aegis: agents hold the provider's key and call it directly.")
    tell.say(
        f"Emeka's researcher may spend {dollars(limit)} a day. It asks a model why the market moved, "
        "is never content with the answer, and asks again."
    )

    def told(loop: agents.Loop) -> None:
        tell.watch()
        if loop.turns % _TOLD_EVERY == 0:
            spent = without.billed(stage, RESEARCHER)
            tell.note("", RESEARCHER, f"round {loop.turns}, {dollars(spent)}")

    loop = without.run_loop(stage, day.seed, told)
    loop_nano_usd = without.billed(stage, RESEARCHER)
    tell.say(
        f"Nobody looked for {loop.turns:,} rounds. The provider bills {dollars(loop_nano_usd)} "
        f"for its {dollars(limit)} day."
    )

    lending_limit = budgets[LENDING].limit
    without.spend_the_morning(stage, day.seed, lending_limit - LAST_CENTS_NANO_USD)
    left = lending_limit - without.billed(stage, LOAN_ADVISOR)
    tell.say(
        "Ana's lending desk has a counter. It looks at the balance before a call and adds the cost after it. "
        f"{dollars(left)} is left of {dollars(lending_limit)}, and {agents.RUSH_CALLS} calls come at once."
    )
    counter = without.run_rush(stage, lending_limit)
    lending_nano_usd = without.billed(stage, LOAN_ADVISOR)
    over = lending_nano_usd - lending_limit
    tell.note("", "counter", f"let {counter.passed} of {agents.RUSH_CALLS} through")
    tell.say(
        f"All looked before any cost was added, so {counter.passed} of {agents.RUSH_CALLS} went through: "
        f"{dollars(over)} over the limit."
    )
    day.without = Without(
        loop=loop,
        loop_nano_usd=loop_nano_usd,
        lending_nano_usd=lending_nano_usd,
        lending_over_nano_usd=over,
    )
    return Outcome(
        checks=(
            Check(
                words=f"without Aegis the loop spent {dollars(loop_nano_usd)} of a {dollars(limit)} day",
                holds=loop_nano_usd > limit and loop.answered == loop.turns,
            ),
            Check(
                words=f"the check-then-spend counter let {dollars(over)} through that it should have stopped",
                holds=over > 0,
            ),
        )
    )


SCENE = Scene(number=0, name="without-aegis", title="The same agents without Aegis", play=_play)
