"""The report of a month: what changed adds up, plans call for what the ladder says, words follow from numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.domain.kpi import Figure
from aegis_gateway.domain.message import FACT_CHARACTERS_MAX, FACTS_MAX
from aegis_gateway.domain.report import (
    FigurePair,
    PlanLine,
    Point,
    Report,
    Stretch,
    changes_of,
)
from aegis_gateway.domain.report_message import report_message
from aegis_gateway.domain.report_points import ReportFacts, Shadowed, decisions_of, risks_of
from aegis_gateway.domain.report_words import compared, figure_text, percent_text, plan_text, signed_percent
from aegis_gateway.domain.rollout_facts import RolloutFacts
from aegis_gateway.domain.rollout_steps import rollout_of

DOLLAR = 1_000_000_000
AMOUNTS = st.dictionaries(st.text(max_size=3), st.integers(0, 2**60), max_size=30)
PLAN = PlanLine(
    budget="day",
    owner="ana@acme.example",
    mode="enforce",
    window="2026-11",
    windows=1,
    plan_nano_usd=100 * DOLLAR,
    spent_nano_usd=40 * DOLLAR,
)
NOV = Stretch(since_ns=0, until_ns=1, words="November 2026")
OCT = Stretch(since_ns=0, until_ns=1, words="October 2026")
REPORT = Report(
    tenant="acme",
    tenant_name="Acme",
    zone="UTC",
    month="2026-11",
    name="November 2026",
    at_ns=0,
    is_over=True,
    period=NOV,
    before=OCT,
    spent_nano_usd=12 * DOLLAR,
    before_nano_usd=10 * DOLLAR,
    whole_before_nano_usd=10 * DOLLAR,
    expected_nano_usd=None,
    low_nano_usd=None,
    high_nano_usd=None,
    calls=3,
    figures=(),
    savings=(),
    plans=(PLAN,),
    plans_split=0,
    changes=(),
    risks=(),
    decisions=(),
    days=(),
)
NONE = ReportFacts(
    tenant="acme",
    month="2026-11",
    is_over=False,
    spent_nano_usd=100,
    unattributed_nano_usd=0,
    unpriced_calls=0,
    plans=(),
    shadowed=(),
    open_incidents=0,
    doubtful_calls=0,
    doubtful_nano_usd=0,
    given_up_messages=0,
    waiting_approvals=0,
    waiting_proposals=0,
    rollout=msgspec.structs.replace(rollout_of(RolloutFacts(tenant="", now_ns=0, url="")), steps=()),
)


def facts(**changed: Any) -> ReportFacts:
    """Facts of a month in which all is well, but for some."""
    return msgspec.structs.replace(NONE, **changed)


@given(now=AMOUNTS, before=AMOUNTS, most=st.integers(0, 6))
def test_what_changed_adds_up(now: dict[str, int], before: dict[str, int], most: int) -> None:
    """Increases, decreases and the rest come to the whole change and to both wholes, to the nano-dollar."""
    found = changes_of("agent", now, before, most)
    assert sum(now.values()) - sum(before.values()) == found.total_nano_usd
    assert sum(now.values()) == sum(each.nano_usd for each in found.lines)
    assert sum(before.values()) == sum(each.before_nano_usd for each in found.lines)
    assert len(found.increases) <= most >= len(found.decreases)
    assert all(each.change_nano_usd > 0 for each in found.increases)
    assert all(each.change_nano_usd < 0 for each in found.decreases)
    assert len({*now, *before}) == len(found.increases) + len(found.decreases) + found.rest_count


def test_the_largest_changes_come_first() -> None:
    """The largest of either kind first, and of those that are as large the first by name."""
    now = {"a": 5, "b": 9, "c": 9, "d": 1, "e": 7}
    before = {"a": 5, "d": 8, "e": 9, "f": 1}
    found = changes_of("team", now, before, 1)
    assert ("b", "d", 4) == (found.increases[0].value, found.decreases[0].value, found.rest_count)


@pytest.mark.parametrize(
    ("comes_to", "calls"),
    [
        (100, "within"),
        (101, "note"),
        (105, "note"),
        (106, "investigate"),
        (110, "investigate"),
        (111, "corrective plan"),
        (120, "corrective plan"),
        (121, "executive review"),
    ],
)
def test_a_deviation_calls_for_what_the_ladder_says(comes_to: int, calls: str) -> None:
    """By what a budget comes to: what is expected of a month that goes on, what was spent in one that is over."""
    going = msgspec.structs.replace(PLAN, expected_nano_usd=comes_to * DOLLAR)
    over = msgspec.structs.replace(PLAN, spent_nano_usd=comes_to * DOLLAR)
    assert [calls, calls] == [going.calls_for, over.calls_for]
    assert Fraction(comes_to - 100, 100) == going.deviation
    assert msgspec.structs.replace(PLAN, plan_nano_usd=0).deviation is None


def pair(now: int, before: int | None, denominator: int | None = None) -> FigurePair:
    """A figure and the same before."""
    of = Figure(id="x", name="x", unit="usd", numerator=now, denominator=denominator, formula="", source="")
    then = None if before is None else msgspec.structs.replace(of, numerator=before)
    return FigurePair(now=of, before=then)


def test_trends_are_told_where_there_is_something_to_compare_with() -> None:
    """Up, down, the same; new where there was nothing before; nothing where there is nothing now."""
    pairs = (pair(3, 2), pair(2, 3), pair(2, 2), pair(2, 0), pair(2, None), pair(2, 1, 0), pair(0, 0))
    assert ["up", "down", "same", "new", "new", "", "same"] == [each.trend for each in pairs]
    assert [Fraction(1, 2), Fraction(-1, 3), 0, None] == [each.change for each in pairs[:4]]


def test_words_follow_from_numbers() -> None:
    """More, less, as much, nothing before; with what is expected and how sure that is."""
    assert "$2.00 more (20 %) than in October 2026, when $10.00 was spent." == compared(REPORT)
    less = msgspec.structs.replace(REPORT, spent_nano_usd=9 * DOLLAR)
    assert compared(less).startswith("$1.00 less (10 %) than in October 2026")
    same = msgspec.structs.replace(REPORT, spent_nano_usd=10 * DOLLAR)
    assert "As much as in October 2026, to the nano-dollar." == compared(same)
    new = msgspec.structs.replace(
        REPORT, before_nano_usd=0, expected_nano_usd=20 * DOLLAR, low_nano_usd=0, high_nano_usd=30 * DOLLAR
    )
    assert (
        "Nothing was spent in October 2026. $20.00 is expected at the month's end, "
        "between $0.00 and $30.00 in 80 of 100 months."
    ) == compared(new)
    assert ["0 %", "<1 %", "50 %"] == [percent_text(Fraction(n, 1_000)) for n in (0, 4, 500)]
    assert ["–", "+50 %", "-1 %", "0 %"] == [
        signed_percent(None if n is None else Fraction(n, 100)) for n in (None, 50, -1, 0)
    ]
    times = [pair(n * DOLLAR, None).now for n in (5, 150, 8_000, 400_000)]
    told = [figure_text(msgspec.structs.replace(each, unit="seconds")) for each in times]
    assert ["5 s", "2 min", "2 h", "5 d"] == told
    assert "$40.00 of $100.00 planned in 2026-11 (-60 %, within)" == plan_text(PLAN)


def test_a_month_in_which_all_is_well_has_no_risks() -> None:
    """Nothing to know and nothing to decide, whatever is below its plan or in shadow without effect."""
    allowed = Shadowed(rule="opens", would="allow", calls=9, maximum_nano_usd=9)
    calm = facts(plans=[PLAN], shadowed=[allowed])
    assert [[], []] == [list(risks_of(calm)), list(decisions_of(calm))]


def test_each_risk_is_told_with_its_number_and_its_page() -> None:
    """What exceeds its plan, is open, in doubt, untagged, unpriced, given up, stopped in shadow: urgent ones first."""
    over = msgspec.structs.replace(PLAN, budget="a/b", expected_nano_usd=115 * DOLLAR)
    empty = msgspec.structs.replace(PLAN, budget="tiny", is_exhausted=True)
    quiet = msgspec.structs.replace(over, mode="shadow")
    stops = [Shadowed(rule=f"rule-{n}", would="deny", calls=n + 1, maximum_nano_usd=DOLLAR) for n in range(8)]
    found = list(
        risks_of(
            facts(
                plans=[over, empty, quiet],
                open_incidents=1,
                doubtful_calls=2,
                doubtful_nano_usd=3 * DOLLAR,
                unattributed_nano_usd=25,
                unpriced_calls=4,
                given_up_messages=1,
                shadowed=stops,
            )
        )
    )
    told = [each.words for each in found]
    assert [
        "Budget a/b is expected to exceed its plan: $115.00 of $100.00 planned in 2026-11 (corrective plan)",
        "Budget tiny is exhausted now: $40.00 of $100.00 planned in 2026-11",
        "1 incident open now",
        "2 calls in doubt now, counted at the most that they can come to: $3.00",
        "$0.000000025 (25 %) spent by callers that nobody had registered",
        "4 calls without a price: what these cost is not known",
        "1 message given up: nobody was told",
        "rule-0, in shadow, would have refused 1 call of at most $1.00",
    ] == told[:8]
    assert "2 more rules in shadow would have stopped calls" == told[-1]
    assert "/budgets/acme/a%2Fb" == found[0].address
    tones = [each.tone for each in found]
    assert sorted(tones, key=["deny", "throttle", "shadow"].index) == tones


def test_decisions_are_those_that_are_open() -> None:
    """What waits for a word, what is expected to exceed its plan while that can be helped; the rollout's steps."""
    over = msgspec.structs.replace(PLAN, expected_nano_usd=115 * DOLLAR)
    open_steps = rollout_of(RolloutFacts(tenant="", now_ns=0, url=""))
    found = list(
        decisions_of(facts(plans=[over], waiting_approvals=2, waiting_proposals=1, rollout=open_steps))
    )
    assert [
        "Answer 2 approvals that wait",
        "Approve or refuse 1 proposed change of the configuration",
        "Budget day: spend less, or raise it by $15.00 (owner ana@acme.example)",
    ] == [each.words for each in found[:3]]
    assert 3 + len(open_steps.steps) == len(found)
    used_up = msgspec.structs.replace(PLAN, expected_nano_usd=40 * DOLLAR, is_exhausted=True)
    within_plan = next(iter(decisions_of(facts(plans=[used_up]))))
    assert (
        "Budget day: spend less, or raise the limit of its window (owner ana@acme.example)"
        == within_plan.words
    )
    past = decisions_of(facts(plans=[over], is_over=True))
    assert [] == list(past)


def test_a_message_is_bounded() -> None:
    """However much there is to tell, it fits into a message, and a link leads to all of it."""
    plans = tuple(msgspec.structs.replace(PLAN, budget=f"budget-{n}") for n in range(200))
    points = tuple(Point(kind="x", tone="deny", words="w" * 300, address="/") for _ in range(50))
    changes = tuple(
        changes_of(by, {f"{'v' * 60}{n}": n for n in range(99)}, {}) for by in ("team", "agent", "model")
    )
    full = msgspec.structs.replace(REPORT, plans=plans, risks=points, decisions=points, changes=changes)
    message = report_message(full, "https://aegis.example")
    assert "Acme, November 2026: $12.00 spent" == message.title
    assert len(message.facts) <= FACTS_MAX
    assert all(len(text) <= FACT_CHARACTERS_MAX for _, text in message.facts)
    assert "https://aegis.example/report?tenant=acme&month=2026-11" == message.links[0].url
    assert "attention" == message.tone
    assert {"risks", "decisions wanted"} <= {label for label, _ in message.facts}
