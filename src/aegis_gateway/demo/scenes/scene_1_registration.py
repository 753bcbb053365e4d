"""Scene 1: an agent without a purpose is refused, and so is a caller nobody knows."""

from __future__ import annotations

import secrets
import shlex

import openai

from aegis_gateway.demo import agents
from aegis_gateway.demo.doors import Door
from aegis_gateway.demo.names import LENDING
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller
from aegis_gateway.domain.keys import key_from_random
from aegis_gateway.domain.money import usd_short

AGENT = "affordability-checker"
MODEL = "gpt-4o-mini"
_REGISTRATION = [
    "agent", "add", AGENT,
    "--team", "lending",
    "--cost-centre", "CC-1001",
    "--owner", "ana@northbank.example",
    "--environment", "production",
]  # fmt: skip
_PURPOSE = ["--purpose", "checks what a customer can afford"]
_REFUSED = 3


def _play(stage: Stage, tell: Teller, _day: Day) -> Outcome:
    stage.open_the_gateway()
    tell.note("", "Aegis", "decides from here on")
    tell.say("Now with Aegis: each agent has a key of its own, and only the gateway has the provider's.")
    tell.say("Somebody registers a new agent and leaves out what it is for:")
    tell.show(f"$ aegis {shlex.join(_REGISTRATION)}")
    refused = stage.aegis(_REGISTRATION)
    tell.show(refused.said)
    tell.note("deny", AGENT, "no purpose")
    tell.say("The message names the tag; the command that mends it is the same one with a purpose:")
    tell.show(f"$ aegis {shlex.join(_REGISTRATION + _PURPOSE)}")
    registered = stage.aegis(_REGISTRATION + _PURPOSE)
    tell.show(registered.said.partition("\n")[0])
    stage.issue_key(AGENT)
    reply = agents.ask_streaming(stage.door(AGENT), MODEL, "What can a customer on $3,200 a month afford?")
    spent = stage.books().standing(LENDING).spent
    tell.say(
        f"Its first answer streams in, for {usd_short(spent)}, on Ana's budget: it named none, so it "
        "lives on its team's."
    )
    stranger = Door(
        agent="nobody", base_url=stage.url, api_key=key_from_random(secrets.randbits(178) % 62**30)
    )
    unknown = agents.ask_streaming(stranger, MODEL, "May I?")
    tell.note("deny", "unknown caller", f"{unknown.status} {unknown.code}")
    tell.say("A key that nobody issued gets the official client's own error:")
    tell.show(f"openai.{unknown.error} {unknown.status}: {unknown.message}")
    return Outcome(
        checks=(
            Check(
                words="the registration without a purpose was refused, and the message names the tag",
                holds=refused.exit_code == _REFUSED and "`purpose` is missing" in refused.said,
            ),
            Check(
                words=f"mended, it works: {reply.completion_tokens} tokens streamed for {usd_short(spent)}",
                holds=registered.exit_code == 0 and reply.is_answer and bool(reply.answer) and spent > 0,
            ),
            Check(
                words=f"an unknown caller was refused with {unknown.status} {unknown.code}",
                holds=unknown.error == openai.AuthenticationError.__name__
                and unknown.code == "invalid_api_key",
            ),
        )
    )


SCENE = Scene(number=1, name="missing-tag", title="A missing tag, and a caller nobody knows", play=_play)
