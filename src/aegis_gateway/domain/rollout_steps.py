"""How far each step of a rollout is, measured from facts; what is missing, by name."""

from __future__ import annotations

import msgspec

from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.rollout import Measure, Next, Rollout, Step, StepId
from aegis_gateway.domain.rollout_facts import PERIOD_DAYS, TESTED_DAYS, RolloutFacts, Rule, is_fresh
from aegis_gateway.domain.rollout_next import BEGIN, next_alert, next_call, next_policy, next_review, next_tag

NAMED_MAX = 8
"""So many missing things are named; of the others it is told how many they are."""
SPEND_PERCENT = 95
"""So much of what is spent has to be of registered agents."""
AGENTS_PERCENT = 80
"""So many of a hundred registered agents have to have called lately: some rest."""
SEEN_DAYS = 1
"""So long ago a dashboard may have asked for figures, and still be taken for connected."""

_DAY_NS = 86_400 * 1_000_000_000


def rollout_of(facts: RolloutFacts) -> Rollout:
    """How far a tenant is."""
    steps: tuple[Step, ...] = (
        _tag(facts),
        _gateway(facts),
        _policies(facts),
        _alerts(facts),
        _reviews(facts),
    )
    if not facts.tenant:
        steps = tuple(msgspec.structs.replace(step, then=BEGIN) for step in steps)
    review = facts.review
    return Rollout(
        tenant=facts.tenant,
        at_ns=facts.now_ns,
        steps=steps,
        next_review_ns=None if review is None else review.next_ns,
    )


def _tag(facts: RolloutFacts) -> Step:
    untagged = [each for each in facts.agents if each.missing]
    tagged = len(facts.agents) - len(untagged)
    missing = [
        f"{each.name}: not registered, {usd_text(each.nano_usd)} in {_calls(each.calls)}"
        for each in facts.strangers
    ]
    missing += [f"{each.id}: no {' and no '.join(each.missing)}" for each in untagged]
    measure = Measure(
        words="callers with owner, team, cost centre and purpose",
        numerator=tagged,
        denominator=len(facts.agents) + len(facts.strangers),
    )
    return _step(
        "tag",
        "Tag the agents",
        "days 1 to 5",
        "every caller of the last 30 days is a registered agent with owner, team, cost centre and purpose",
        (measure,),
        missing,
        next_tag(facts) if missing or not facts.agents else None,
    )


def _gateway(facts: RolloutFacts) -> Step:
    spend = Measure(
        words=f"spent in {PERIOD_DAYS} days by agents that are registered by now",
        numerator=facts.attributed_nano_usd,
        denominator=facts.spent_nano_usd,
        unit="usd",
    )
    quiet = [each for each in facts.agents if not each.calls]
    called = Measure(
        words=f"agents that have called in {PERIOD_DAYS} days",
        numerator=len(facts.agents) - len(quiet),
        denominator=len(facts.agents),
    )
    # Where nothing had a price, there is nothing to divide.
    is_attributed = spend.reaches(SPEND_PERCENT) or (facts.calls > 0 and not spend.denominator)
    is_done = facts.calls > 0 and is_attributed and called.reaches(AGENTS_PERCENT)
    then = None
    if not is_done:
        then = next_tag(facts) if facts.strangers and not is_attributed else next_call(facts)
    return _step(
        "gateway",
        "Let calls through the gateway",
        "days 3 to 10",
        f"{SPEND_PERCENT} % of what is spent is of registered agents, and {AGENTS_PERCENT} % of them have called",
        (spend, called),
        [f"{each.id}: no call yet" + ("" if each.has_key else ", no key") for each in quiet],
        then,
    )


def _policies(facts: RolloutFacts) -> Step:
    quiet = [each for each in facts.rules if each.mode == "shadow"]
    measures = (
        Measure(
            words="rules, budgets and rates that are enforced",
            numerator=len(facts.rules) - len(quiet),
            denominator=len(facts.rules),
        ),
    )
    ready = [each for each in quiet if _is_tried(each, facts)]
    is_held = any(each.mode == "enforce" for each in facts.budgets) and not facts.in_proxy
    missing = [] if is_held else ["no budget of money is enforced"]
    missing += [
        f"{each.name}: {_trial(each, facts)}" for each in (*ready, *(r for r in quiet if r not in ready))
    ]
    is_done = is_held and not ready
    return _step(
        "policies",
        "Set cost policies",
        "days 8 to 15",
        "a budget of money is enforced, and no rule stays in shadow that was tried for long enough",
        measures,
        missing,
        None if is_done else next_policy(facts, ready),
    )


def _is_tried(rule: Rule, facts: RolloutFacts) -> bool:
    """Whether a rule in shadow has been there for as long as its tenant demands."""
    since_ns = rule.since_ns if rule.since_ns is not None else facts.now_ns
    return since_ns + facts.shadow_for_ns <= facts.now_ns


def _trial(rule: Rule, facts: RolloutFacts) -> str:
    shadowed = "" if rule.since_ns is None else f" for {_days(facts.now_ns - rule.since_ns)}"
    how_long = f"in shadow{shadowed}"
    if facts.in_proxy:
        return f"{how_long}, as all is in proxy mode"
    if _is_tried(rule, facts):
        return f"{how_long}, long enough to enforce it"
    return f"{how_long} of {duration_text(facts.shadow_for_ns)}"


def _alerts(facts: RolloutFacts) -> Step:
    silent = [each for each in facts.budgets if not each.tells]
    untested = [each for each in facts.channels if not is_fresh(each.tested_ns, TESTED_DAYS, facts.now_ns)]
    is_watched = any(is_fresh(at_ns, SEEN_DAYS, facts.now_ns) for at_ns in facts.seen.values())
    measures = (
        Measure(
            words="budgets that tell somebody before they are empty",
            numerator=len(facts.budgets) - len(silent),
            denominator=len(facts.budgets),
        ),
        Measure(
            words=f"alert channels tested in {TESTED_DAYS} days",
            numerator=len(facts.channels) - len(untested),
            denominator=len(facts.channels),
        ),
        Measure(words="dashboards that ask for figures", numerator=int(is_watched), denominator=1),
    )
    missing = [] if facts.channels else ["no alert channel"]
    missing += [] if facts.notifies or not facts.channels else ["nobody is told of anything (`notify`)"]
    missing += [f"budget {each.id}: tells nobody" for each in silent]
    missing += [f"channel {each.id}: {_tested(each.tested_ns, facts.now_ns)}" for each in untested]
    missing += [] if is_watched else [f"no dashboard: nobody asked for /metrics in {SEEN_DAYS * 24} h"]
    is_done = not missing and bool(facts.budgets)
    return _step(
        "alerts",
        "Alerts and dashboards",
        "days 14 to 21",
        "every budget of money tells somebody, every channel was tested, and a dashboard asks for figures",
        measures,
        missing,
        None if is_done else next_alert(facts, [each.id for each in silent], is_watched=is_watched),
    )


def _reviews(facts: RolloutFacts) -> Step:
    review = facts.review
    is_done = review is not None and not review.is_overdue(facts.now_ns)
    missing = []
    if review is None:
        missing = ["nothing was reviewed yet"]
    elif not is_done:
        missing = [f"the review of {_days(facts.now_ns - review.next_ns)} ago is due"]
    return _step(
        "reviews",
        "Review every quarter",
        "day 30, and every quarter",
        "there was a review, and the next one isn't due yet",
        (Measure(words="reviews that are up to date", numerator=int(is_done), denominator=1),),
        missing,
        None if is_done else next_review(facts),
    )


def _tested(tested_ns: int | None, now_ns: int) -> str:
    return "never tested" if tested_ns is None else f"last tested {_days(now_ns - tested_ns)} ago"


def _step(
    id_: StepId,
    title: str,
    when: str,
    is_done_when: str,
    measures: tuple[Measure, ...],
    missing: list[str],
    then: Next | None,
) -> Step:
    return Step(
        id=id_,
        title=title,
        when=when,
        is_done_when=is_done_when,
        measures=measures,
        is_done=then is None,
        missing=tuple(missing[:NAMED_MAX]),
        missing_count=len(missing),
        then=then,
    )


def _days(span_ns: int) -> str:
    days, rest = divmod(max(0, span_ns), _DAY_NS)
    if days:
        return "1 day" if days == 1 else f"{days} days"
    return f"{rest * 24 // _DAY_NS} h"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"
