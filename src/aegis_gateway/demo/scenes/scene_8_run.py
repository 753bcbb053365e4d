"""Scene 8: one run in three APIs, with a purse of its own; a call that is made once, however often it is sent; and what
became of the work, in its agent's words.
"""

from __future__ import annotations

from typing import Any

from aegis_gateway.demo.doors import Door, HttpAnswer, call_http
from aegis_gateway.demo.names import SCRIBE, SCRIBE_RUN
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller
from aegis_gateway.domain.money import nano_usd, usd_text

QUESTION = "Who promised what in Monday's meeting, and by when?"
TOKENS_MAX = 300
CALLS_MAX = 40
NAME = "minutes-of-monday"

_SAID = [{"role": "user", "content": QUESTION}]
_ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "/v1/chat/completions",
        {"model": "gpt-4o-mini", "messages": _SAID, "max_completion_tokens": TOKENS_MAX},
    ),
    ("/v1/responses", {"model": "gpt-4.1", "input": QUESTION, "max_output_tokens": TOKENS_MAX}),
    ("/v1/messages", {"model": "claude-haiku-4-5", "messages": _SAID, "max_tokens": TOKENS_MAX}),
)


def _play(stage: Stage, tell: Teller, _day: Day) -> Outcome:
    door = stage.door(SCRIBE)
    purse = stage.books().registry.budgets[SCRIBE_RUN].limit
    tell.say(
        f"A scribe asks models in three APIs, with one key. Each of its runs has {usd_text(purse)} and no more."
    )
    run, answers = _spend(door)
    spent = sum(nano_usd(answer.headers["aegis-cost-usd"]) for answer in answers if answer.is_success)
    last = answers[-1]
    allowed = sum(answer.is_success for answer in answers)
    tell.say(f"{allowed} calls in, the run has spent {usd_text(spent)}, and the next one is refused:")
    tell.note("deny", SCRIBE, f"{last.status} its run's purse is empty")
    tell.show(f"{last.status} {_words(last)}")
    fresh = _ask(door, 0, {})
    tell.say(
        "A new run begins with a full purse. The scribe's network is bad: it sends one call three times."
    )
    before = stage.bill()["requests"]
    again = [_ask(door, 1, {"idempotency-key": NAME}) for _ in range(3)]
    charged = stage.bill()["requests"] - before
    tell.say(
        f"It named it, so the provider saw {charged} call, and the scribe got the same answer three times."
    )
    tell.say("And it says what became of its work: the first run got nowhere, the last one has the minutes.")
    told = [
        _report(door, run, "failure"),
        _report(door, again[0].headers["aegis-run-id"], "success"),
    ]
    return Outcome(
        checks=(
            Check(
                words=f"{allowed} calls of one run fitted into {usd_text(purse)}: {usd_text(spent)}",
                holds=allowed > len(_ASKED) and 0 < spent <= purse,
            ),
            Check(
                words=f"the next one was refused with {last.status}, naming the run",
                holds=last.status == 402 and run in _words(last),
            ),
            Check(words=f"a new run went on: {fresh.status}", holds=fresh.is_success),
            Check(
                words="a call that was sent three times under one name was made once and answered alike",
                holds=charged == 1 and len({str(answer.body) for answer in again}) == 1,
            ),
            Check(
                words="what became of both runs is recorded, with what they cost",
                holds=all(answer.is_success and answer.body["state"] == "recorded" for answer in told),
            ),
        )
    )


def _spend(door: Door) -> tuple[str, list[HttpAnswer]]:
    """Ask in turn in each API, all in one run, until it may not any more."""
    answers = [_ask(door, 0, {})]
    run = answers[0].headers["aegis-run-id"]
    while answers[-1].is_success and len(answers) < CALLS_MAX:
        answers.append(_ask(door, len(answers), {"aegis-run-id": run}))
    return run, answers


def _ask(door: Door, turn: int, headers: dict[str, str]) -> HttpAnswer:
    path, body = _ASKED[turn % len(_ASKED)]
    return call_http(door, "POST", path, body, {"anthropic-version": "2023-06-01", **headers})


def _report(door: Door, run: str, outcome: str) -> HttpAnswer:
    """Say what became of a run."""
    return call_http(door, "POST", f"/v1/runs/{run}/outcome", {"outcome": outcome, "name": NAME})


def _words(answer: HttpAnswer) -> str:
    """A refusal's words, in whichever API's form."""
    return answer.message or str(answer.body)


SCENE = Scene(number=8, name="run-purse", title="A run with a purse, in three APIs", play=_play)
