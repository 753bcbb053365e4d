from __future__ import annotations

from collections.abc import Callable

import pytest

from aegis_gateway.application.callers import NotIdentified
from aegis_gateway.application.pace import CallTimer, Pace
from aegis_gateway.domain.errors import AegisError, CallError, LedgerUnavailable, UpstreamFault
from aegis_gateway.domain.pace import number_of

MS = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.at_ns = 5_000 * MS

    def __call__(self) -> int:
        return self.at_ns


class Course:
    """One call, told in milliseconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock)
        self.timer: CallTimer = self.pace.begin("models", read_ns=2 * MS)

    def after(self, ms: int, act: Callable[..., None], *told: object) -> Course:
        self.clock.at_ns += ms * MS
        act(*told)
        return self

    def took_ms(self) -> dict[str, float]:
        return {row.measure: row.numbers[0] / MS for row in self.pace.sums.rows() if len(row.numbers) > 1}


def test_what_is_added_is_the_whole_without_the_upstream() -> None:
    """Reading, deciding and settling; a wait for a rate's turn is nobody's, and in the whole alone."""
    course = Course()
    timer = course.timer
    course.after(3, timer.decided, "acme", "openai", "allow").after(1_000, timer.waited)
    course.after(500, timer.answered).after(1, timer.answered).after(4, timer.ended)
    assert {"whole": 1_510.0, "added": 10.0, "upstream": 500.0} == course.took_ms()
    course.after(9, timer.ended)
    assert [1, 1, 1] == [number_of(row) for row in course.pace.sums.rows()], "it is over once"


@pytest.mark.parametrize("effect", ["deny", "throttle", "require_approval"])
def test_a_call_that_is_not_let_through_is_over_with_its_decision(effect: str) -> None:
    """It has no upstream."""
    course = Course()
    course.after(3, course.timer.decided, "acme", "openai", effect)
    assert {"whole": 5.0, "added": 5.0} == course.took_ms()
    assert {("acme", "models", effect)} == {row.labels for row in course.pace.take().rows}


def test_what_others_do_by_themselves_has_no_upstream() -> None:
    """Whether it is settled at once, or by who did it, at any time."""
    handed, settled = Course(), Course()
    handed.after(3, handed.timer.decided, "acme", "crm", "allow").after(1, handed.timer.handed_over)
    handed.after(60_000, handed.timer.ended)
    settled.after(3, settled.timer.decided, "acme", "crm", "allow").after(0, settled.timer.forwards_nothing)
    settled.after(2, settled.timer.ended)
    assert {"whole": 6.0, "added": 6.0} == handed.took_ms()
    assert {"whole": 7.0, "added": 7.0} == settled.took_ms()


@pytest.mark.parametrize(
    ("kind", "tell"),
    [
        ("timeout", lambda timer: timer.upstream_failed(UpstreamFault("late", sent=True, timed_out=True))),
        ("connection", lambda timer: timer.upstream_failed(UpstreamFault("gone", sent=False))),
        ("5xx", lambda timer: timer.upstream_answered(503)),
        ("429", lambda timer: timer.upstream_answered(429)),
        (None, lambda timer: timer.upstream_answered(404)),
    ],
)
def test_an_upstream_fails_once_a_call(kind: str | None, tell: Callable[[CallTimer], None]) -> None:
    """By kind; what the caller is to blame for is no failure."""
    course = Course()
    course.timer.decided("acme", "openai", "allow")
    for _ in range(2):
        tell(course.timer)
    course.timer.upstream_answered(200)
    expected = [] if kind is None else [(("acme", "openai", kind), 1)]
    assert expected == [(row.labels, number_of(row)) for row in course.pace.sums.rows()]


def test_what_is_taken_is_told_once() -> None:
    """But what is under way is told as it is, without what is over."""
    pace = Pace()
    pace.under_way.update({"models": 2, "mcp": 0})
    pace.refused("models", "overload")
    pace.settlement("acme", "late")
    told = pace.take()
    assert {("models", "overload"), ("acme", "late")} == {row.labels for row in told.rows}
    assert {"models": 2} == told.under_way == pace.take().under_way
    assert () == pace.take().rows


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (NotIdentified("who?", status=401), "not_identified"),
        (CallError("what?"), "not_understood"),
        (LedgerUnavailable("it is gone"), "unavailable"),
    ],
)
def test_a_fault_counts_once_on_its_way(fault: AegisError, why: str) -> None:
    """Whoever sees it first: many doors answer it themselves."""
    pace = Pace()
    for door in ("mcp", "other"):
        pace.undecided(door, fault)
    pace.undecided("models", CallError("another"))
    assert [(("mcp", why), 1), (("models", "not_understood"), 1)] == [
        (row.labels, number_of(row)) for row in pace.take().rows
    ]
