"""Measures: what of the thresholds that a call's budgets have passed holds for the call.

Rule 1: one function says it (`measures`), from claims, balances and time; the ledger asks it under its lock, and
        sends a call back that was judged with others.
Rule 2: a measure is judged as a policy of its name would be that matched (`with_measures`). It permits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from aegis_gateway.domain.admit import BudgetClaim, Standings
from aegis_gateway.domain.decision import Mode, Reason, Shadow, Throttle, Verdict
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.threshold import ACTS_ON_CALLS, Threshold, rule_of_threshold
from aegis_gateway.domain.watched import WatchedThreshold

MeasureKind = Literal["throttle", "downgrade", "require_approval", "block"]


class Measure(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one threshold of a budget does to a call: the budget and its balance, the threshold, and what is done.

    `text` is what people are told of it, `owner` whom they may ask.
    """

    budget: str
    scope: str
    threshold: str
    kind: MeasureKind
    text: str
    owner: str
    model: str = ""
    limit: int = 0
    period_ns: int = 0
    mode: Mode = "enforce"

    @property
    def rule(self) -> str:
        """What it is called where rules are told of."""
        return rule_of_threshold(self.budget, self.threshold)


def measures(budgets: tuple[BudgetClaim, ...], standings: Standings, now_ns: int) -> tuple[Measure, ...]:
    """What holds for a call that counts on these budgets, in their order. Balances are `with_thresholds`."""
    found: list[Measure] = []
    for claim, window in zip(budgets, standings.windows, strict=True):
        if claim.thresholds:
            standing = standings.balance(claim, window)
            for threshold in acting(claim.thresholds, standing, now_ns):
                found += _of(claim, threshold)
    return tuple(found)


def acting(thresholds: Iterable[Threshold], standing: Standing, now_ns: int) -> tuple[Threshold, ...]:
    """Those of some thresholds that act by what stands: passed, after their grace, and not waiting for a word."""
    watched = standing.notes.watched if standing.notes is not None else None
    if watched is None or not watched.passed:
        return ()
    return tuple(
        threshold
        for threshold in thresholds
        if (at := watched.find(threshold.id)) is not None and _acts(threshold, at, standing, now_ns)
    )


def _acts(threshold: Threshold, at: WatchedThreshold, standing: Standing, now_ns: int) -> bool:
    if at.state != "passed" or now_ns < at.since_ns + threshold.grace_ns:
        return False
    return not threshold.grace_amount or standing.posted >= min(at.amount, at.at) + threshold.grace_amount


def _of(claim: BudgetClaim, threshold: Threshold) -> Iterable[Measure]:
    for act in threshold.acts:
        if act.kind in ACTS_ON_CALLS:
            yield Measure(
                budget=claim.budget,
                scope=claim.scope,
                threshold=threshold.id,
                kind=act.kind,  # type: ignore[arg-type]  # one of those
                text=_text(claim, threshold),
                owner=claim.owner,
                model=act.model,
                limit=act.limit,
                period_ns=act.period_ns,
                mode=claim.mode,
            )


def _text(claim: BudgetClaim, threshold: Threshold) -> str:
    whose = f" of `{claim.scope}`" if claim.scope else ""
    if threshold.basis == "exhaustion":
        what = "is exhausted"
    elif threshold.amount:
        what = f"is past its threshold `{threshold.id}`"
    else:
        share = f"{threshold.share / 100:g}% of its limit"
        what = f"is expected to come to {share}" if threshold.basis == "forecast" else f"is past {share}"
    return f"budget `{claim.budget}`{whose} {what}"


def with_measures(verdict: Verdict, found: Iterable[Measure]) -> Verdict:
    """What the policies say of a call, with what its budgets want of it.

    To what a call is downgraded is another's to find out (`judgement.py`): here it is only told of in shadow.
    """
    acting = [each for each in found if each.mode == "enforce"]
    shadow = [each for each in found if each.mode == "shadow"]
    if not verdict.permits:
        return verdict
    blocks = [each for each in acting if each.kind == "block"]
    if blocks:
        return msgspec.structs.replace(
            verdict,
            effect="deny",
            reasons=tuple(_blocked(each) for each in blocks),
            shadow=tuple(each for each in verdict.shadow if each.would == "error"),
            throttles=(),
            asks=(),
            undecided=(),
            model=None,
            output_tokens_max=None,
            cost_max_nano_usd=None,
        )
    throttles = tuple(_throttle(each) for each in (*acting, *shadow) if each.kind == "throttle")
    would = tuple(
        Shadow(rule=each.rule, would=_WOULD[each.kind], message=each.text)
        for each in shadow
        if each.kind != "throttle" and not (each.kind == "require_approval" and verdict.asks)
    )
    return msgspec.structs.replace(
        verdict,
        reasons=(*verdict.reasons, *(_throttled(each) for each in acting if each.kind == "throttle")),
        shadow=(*verdict.shadow, *would),
        throttles=(*verdict.throttles, *throttles),
        asks=(
            *verdict.asks,
            *(_asked(each) for each in acting if each.kind == "require_approval"),
        ),
    )


_WOULD: dict[MeasureKind, Literal["deny", "throttle", "require_approval", "downgrade"]] = {
    "block": "deny",
    "throttle": "throttle",
    "require_approval": "require_approval",
    "downgrade": "downgrade",
}


def downgraded(measure: Measure) -> Reason:
    """Why a call is another model's."""
    return Reason(
        code="downgraded",
        subject=measure.rule,
        message=f"{measure.text}, so model `{measure.model}` is called instead",
    )


def _blocked(measure: Measure) -> Reason:
    return Reason(
        code="budget_measure",
        subject=measure.rule,
        message=f"{measure.text}, and its calls are blocked; ask its owner {measure.owner}",
    )


def _asked(measure: Measure) -> Reason:
    return Reason(
        code="approval_required",
        subject=measure.rule,
        message=f"{measure.text}, and somebody has to agree to each call; its owner is {measure.owner}",
    )


def _throttled(measure: Measure) -> Reason:
    return Reason(
        code="throttled",
        subject=measure.rule,
        message=f"{measure.text}, so {measure.limit} of its calls are let through in "
        f"{duration_text(measure.period_ns)}",
    )


def _throttle(measure: Measure) -> Throttle:
    return Throttle(
        policy=measure.rule,
        limit=measure.limit,
        period_ns=measure.period_ns,
        mode=measure.mode,
        scope=measure.scope,
    )
