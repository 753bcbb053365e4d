"""Scene 3: a rate limit, and a Retry-After that is true."""

from __future__ import annotations

import time

from aegis_gateway.demo import agents
from aegis_gateway.demo.names import FX, FX_PACE, FX_WATCH
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller

PAIR = "EUR-USD"
CALLS_MAX = 20


def _play(stage: Stage, tell: Teller, _day: Day) -> Outcome:
    rate = stage.registry().rates[FX_PACE]
    door = stage.door(FX_WATCH)
    per_second = rate.limit * 1_000_000_000 // rate.period_ns
    tell.say(
        f"The exchange-rate API takes {per_second} calls a second. Dana's watcher asks as fast as it can."
    )
    passed = 0
    answer = agents.look_up_rate(door, FX, PAIR)
    while answer.is_success and passed < CALLS_MAX:
        passed += 1
        answer = agents.look_up_rate(door, FX, PAIR)
    wait_ms = int(answer.headers.get("retry-after-ms", "0"))
    wait_s = answer.headers.get("retry-after", "")
    # At once: the wait is true for the moment of the refusal, not for when a sentence has been read.
    time.sleep(wait_ms / 1000)
    after = agents.look_up_rate(door, FX, PAIR)
    tell.say(f"{passed} calls passed. The next one was told how long to wait, to the millisecond:")
    tell.show(f"{answer.status} {answer.code}: {answer.message}")
    said = f"{PAIR} is {after.body['rate']}" if after.is_success else after.message
    tell.say(f"It waited those {wait_ms} ms and asked again: {after.status}, {said}.")
    interval_ms = rate.period_ns // rate.limit // 1_000_000
    return Outcome(
        checks=(
            Check(
                words=f"{passed} calls passed, the limit lets {rate.burst} through at once",
                holds=passed >= rate.burst,
            ),
            Check(
                words=f"the next was refused with {answer.status}, Retry-After {wait_s} s ({wait_ms} ms)",
                holds=(answer.status, answer.code) == (429, "rate_limited")
                and wait_s.isdecimal()
                and 0 < wait_ms <= min(interval_ms, int(wait_s) * 1000),
            ),
            Check(words=f"after the {wait_ms} ms it was told to wait it passed", holds=after.status == 200),
        )
    )


SCENE = Scene(number=3, name="rate-limit", title="A rate limit that says how long to wait", play=_play)
