"""The rollout's five steps, measured from facts: how far, done or not, what is missing, and what to do next."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
import pytest

from aegis_gateway.domain.review import Review
from aegis_gateway.domain.rollout import Measure, Step, StepId
from aegis_gateway.domain.rollout_facts import (
    AlertChannel,
    MoneyBudget,
    RegisteredAgent,
    RolloutFacts,
    Rule,
    Stranger,
    Team,
)
from aegis_gateway.domain.rollout_steps import NAMED_MAX, rollout_of

DAY_NS = 86_400 * 1_000_000_000
NOW_NS = 20_000 * DAY_NS
BOT = RegisteredAgent(id="bot", missing=(), calls=9, has_key=True)
DAY = MoneyBudget(id="day", mode="enforce", tells=True)
TRIED = Rule(name="budget:day", kind="budget", mode="enforce")
DONE = RolloutFacts(
    tenant="acme",
    now_ns=NOW_NS,
    url="http://127.0.0.1:8700",
    teams=(Team(id="desk", owner="ana@acme.example", cost_centre="CC-1"),),
    agents=(BOT,),
    model="small",
    calls=9,
    spent_nano_usd=100,
    attributed_nano_usd=100,
    rules=(TRIED,),
    budgets=(DAY,),
    channels=(AlertChannel(id="desk", tested_ns=NOW_NS - DAY_NS),),
    notifies=True,
    seen={"metrics": NOW_NS - DAY_NS // 2},
    review=Review(sequence=1, at_ns=NOW_NS - DAY_NS, by="fin", note="seen", next_ns=NOW_NS + DAY_NS),
)


def step(name: StepId, **facts: Any) -> Step:
    """One step, where everything is done but for some facts."""
    found = rollout_of(msgspec.structs.replace(DONE, **facts))
    others = [each.id for each in found.steps if not each.is_done and each.id != name]
    assert [] == others
    return next(each for each in found.steps if each.id == name)


def test_all_is_done_where_all_is_there() -> None:
    """Five of five, nothing missing, nothing to do next, and when the next review is due."""
    found = rollout_of(DONE)
    assert (5, None, NOW_NS + DAY_NS) == (found.done, found.next_step, found.next_review_ns)
    assert [()] * 5 == [each.missing for each in found.steps]


def test_nothing_is_done_where_nothing_is() -> None:
    """Without a tenant no step is done, no measure reaches anything, and all name the same way to begin."""
    found = rollout_of(RolloutFacts(tenant="", now_ns=NOW_NS, url="http://x"))
    assert 0 == found.done
    assert {"aegis init my-gateway && aegis apply my-gateway"} == {
        each.then.command for each in found.steps if each.then is not None
    }
    assert not any(measure.numerator for each in found.steps for measure in each.measures)


@pytest.mark.parametrize(
    ("numerator", "denominator", "reached"),
    [(95, 100, True), (94, 100, False), (949, 1_000, False), (0, 0, False), (1, 1, True), (0, 1, False)],
)
def test_a_share_is_reached_exactly(numerator: int, denominator: int, reached: bool) -> None:
    """95 of a hundred are enough and not one less, however they are written; of nothing, nothing is enough."""
    assert reached == Measure(words="", numerator=numerator, denominator=denominator).reaches(95)


def test_who_is_not_registered_is_named_and_can_be_registered() -> None:
    """A caller without a key is missing by name, with what it spent; the command registers just that one."""
    found = step("tag", strangers=(Stranger(name="unregistered/1a2b", calls=3, nano_usd=2_000_000_000),))
    assert (1, 2) == (found.measures[0].numerator, found.measures[0].denominator)
    assert ("unregistered/1a2b: not registered, $2.00 in 3 calls",) == found.missing
    assert found.then is not None
    words = shlex.split(found.then.command)
    assert ["aegis", "agent", "add", "caller-1a2b", "--discovered", "unregistered/1a2b"] == words[:6]
    assert ["--cost-centre", "CC-1"] == words[words.index("--cost-centre") :][:2]


def test_missing_names_are_bounded() -> None:
    """Of a thousand that are missing some are named, and it is told how many they are."""
    many = tuple(Stranger(name=f"unregistered/{n}", calls=1, nano_usd=1) for n in range(1_000))
    found = step("tag", strangers=many)
    assert (NAMED_MAX, 1_000) == (len(found.missing), found.missing_count)


def test_agents_without_tags_are_told_what_to_write() -> None:
    """What an agent lacks is named, and written into the configuration."""
    found = step("tag", agents=(BOT, msgspec.structs.replace(BOT, id="odd", missing=("owner", "purpose"))))
    assert ("odd: no owner and no purpose",) == found.missing
    assert found.then is not None
    assert "odd: {…, owner: …, purpose: …}" in found.then.write


def test_the_gateway_is_there_when_spending_and_agents_are() -> None:
    """Too little of what is spent, or too few agents that call, keep the step open; some may rest."""
    assert not step("gateway", attributed_nano_usd=94).is_done
    quiet = msgspec.structs.replace(BOT, id="quiet", calls=0, has_key=False)
    resting = tuple(msgspec.structs.replace(BOT, id=f"bot-{n}") for n in range(4))
    assert step("gateway", agents=(*resting, quiet)).is_done
    found = step("gateway", agents=(BOT, quiet))
    assert ("quiet: no call yet, no key",) == found.missing
    assert found.then is not None
    assert 'Bearer $(aegis key issue quiet --tenant acme)"' in found.then.command
    assert step("gateway", spent_nano_usd=0, attributed_nano_usd=0).is_done
    assert not step("gateway", calls=0, spent_nano_usd=0, attributed_nano_usd=0).is_done


def test_rules_stay_in_shadow_no_longer_than_they_have_to() -> None:
    """One that was tried for long enough keeps the step open, one that is on trial doesn't; both are named."""
    rule = Rule(name="dear", kind="policy", mode="shadow", since_ns=NOW_NS - 8 * DAY_NS)
    found = step("policies", rules=(TRIED, rule), shadow_for_ns=7 * DAY_NS)
    assert (1, 2, False) == (found.measures[0].numerator, found.measures[0].denominator, found.is_done)
    assert ("dear: in shadow for 8 days, long enough to enforce it",) == found.missing
    assert found.then is not None
    assert "aegis rollout enforce dear --tenant acme" == found.then.command
    on_trial = step("policies", rules=(TRIED, rule), shadow_for_ns=14 * DAY_NS)
    assert on_trial.is_done
    assert ("dear: in shadow for 8 days of 14d",) == on_trial.missing
    untold = msgspec.structs.replace(rule, since_ns=None)
    assert step("policies", rules=(TRIED, untold), shadow_for_ns=DAY_NS).is_done


def test_proxy_mode_is_left_before_anything_holds() -> None:
    """In proxy mode no policy counts as enforced, and what is named is to leave it."""
    shadowed = msgspec.structs.replace(TRIED, mode="shadow")
    found = step("policies", in_proxy=True, rules=(shadowed,))
    assert not found.is_done
    assert found.then is not None
    assert ("aegis apply DIR", True) == (found.then.command, "`proxy:`" in found.then.words)


@pytest.mark.parametrize(
    ("facts", "missing", "command"),
    [
        ({"channels": ()}, "no alert channel", "aegis apply DIR"),
        ({"notifies": False}, "nobody is told of anything (`notify`)", "aegis apply DIR"),
        (
            {"budgets": (DAY, MoneyBudget(id="b", mode="enforce", tells=False))},
            "budget b: tells nobody",
            "aegis apply DIR",
        ),
        (
            {"channels": (AlertChannel(id="desk", tested_ns=NOW_NS - 92 * DAY_NS),)},
            "channel desk: last tested 92 days ago",
            "aegis notifications test desk --tenant acme",
        ),
        (
            {"channels": (AlertChannel(id="mail", tested_ns=None, wants_recipient=True),)},
            "channel mail: never tested",
            "aegis notifications test mail --to ana@acme.example --tenant acme",
        ),
        (
            {"seen": {"telemetry": NOW_NS - 2 * DAY_NS}, "has_people": True},
            "no dashboard: nobody asked for /metrics in 24 h",
            'curl -sS -o /dev/null http://127.0.0.1:8700/metrics -H "authorization: Bearer $AEGIS_TOKEN"',
        ),
    ],
)
def test_each_gap_in_alerts_has_its_own_way_on(facts: dict[str, Any], missing: str, command: str) -> None:
    """Each of what alerts need is missing by name, and has a command of its own."""
    found = step("alerts", **facts)
    assert ((missing,), False) == (found.missing, found.is_done)
    assert found.then is not None
    assert command == found.then.command


def test_a_review_that_is_overdue_is_due_again() -> None:
    """Once the next review should have been, the step is open again."""
    assert DONE.review is not None
    late = msgspec.structs.replace(DONE.review, next_ns=NOW_NS - 3 * DAY_NS)
    found = step("reviews", review=late)
    assert ("the review of 3 days ago is due",) == found.missing
    assert ("nothing was reviewed yet",) == step("reviews", review=None).missing


def test_odd_names_are_quoted() -> None:
    """What is named is copied into a shell: no name in it says anything to the shell."""
    odd = Stranger(name="unregistered/$(reboot); x", calls=1, nano_usd=1)
    found = step("tag", strangers=(odd,))
    assert found.then is not None
    assert odd.name in shlex.split(found.then.command)
