"""Scene 9: a rule is tried in shadow, on the day's own calls, before it refuses anybody; and taken back."""

from __future__ import annotations

import json
from typing import Any

from aegis_gateway.demo.doors import Door, HttpAnswer, call_http
from aegis_gateway.demo.names import SCRIBE
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller
from aegis_gateway.domain.money import nano_usd, usd_text

DEAR, CHEAP = "gpt-4.1", "gpt-4o-mini"
TIMES = 3
TOKENS_MAX = 300
RULE = "no-dear-models"

_POLICY = f"""\
@id("{RULE}")
@mode("shadow")
@reason("minutes are written by {CHEAP}")
forbid (
  principal == Agent::"{SCRIBE}",
  action == Action::"chat",
  resource == Model::"{DEAR}"
);
"""


def _play(stage: Stage, tell: Teller, _day: Day) -> Outcome:
    before = stage.store.state().config
    assert before is not None, "the bank's configuration is in force"
    tell.say(
        f"Dana wants the scribe off {DEAR}. First she tries the rule in shadow, where it refuses nobody."
    )
    (stage.bank / "policies" / "dear-models.cedar").write_text(_POLICY, encoding="utf-8")
    applied = stage.aegis(["apply", str(stage.bank), "--yes", "--note", f"{RULE}, in shadow"])
    door = stage.door(SCRIBE)
    answers = [(model, _ask(door, model)) for _ in range(TIMES) for model in (CHEAP, DEAR)]
    cost = sum(
        nano_usd(answer.headers["aegis-cost-usd"])
        for model, answer in answers
        if model == DEAR and answer.is_success
    )
    found = _findings(stage)
    report = stage.aegis(["shadow"]).said.splitlines()
    tell.say(
        f"The scribe works on: {len(answers)} calls, all answered. Then Dana asks what the rule would have done:"
    )
    tell.show("aegis shadow")
    for line in report[:2]:
        tell.show(line)
    tell.say("To the call and the nano-dollar. She'll talk to the scribe's owner first, and goes back.")
    undone = stage.aegis(["rollback", "--yes", "--note", "not before the owner knows"])
    after = stage.store.state().config
    return Outcome(
        checks=(
            Check(
                words=f"all {len(answers)} calls were answered while the rule was in shadow",
                holds=applied.exit_code == 0 and all(answer.is_success for _, answer in answers),
            ),
            Check(
                words=f"it would have refused {TIMES} of them, which cost {usd_text(cost)}",
                holds=[(RULE, "deny", TIMES, cost)] == found and cost > 0,
            ),
            Check(
                words="the configuration before it is in force again, as a version of its own",
                holds=undone.exit_code == 0
                and after is not None
                and (after.version, after.digest) == (before.version + 2, before.digest),
            ),
        )
    )


def _ask(door: Door, model: str) -> HttpAnswer:
    said = [{"role": "user", "content": "Who promised what in Tuesday's meeting?"}]
    body = {"model": model, "messages": said, "max_completion_tokens": TOKENS_MAX}
    return call_http(door, "POST", "/v1/chat/completions", body, {})


def _findings(stage: Stage) -> list[tuple[str, str, int, int]]:
    """What rules in shadow would have done, as the command tells programs."""
    record: dict[str, Any] = json.loads(stage.aegis(["shadow", "--json"]).said)
    return [(each["rule"], each["would"], each["calls"], each["nano_usd"]) for each in record["findings"]]


SCENE = Scene(number=9, name="in-shadow", title="A rule is tried before it acts", play=_play)
