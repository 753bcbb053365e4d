"""The rollout in five steps, as of thirty days: how far each is, what is missing by name, and what to do next.

    tag the agents → let calls through the gateway → set cost policies → alerts and dashboards → review every quarter

Rule 1: every step is measured by itself, from facts, each time anew. Nobody ticks anything off, and what was
        done may be undone again.
Rule 2: what is named next is one thing, and moves its step on: a command that can be run as it stands, or what to write
        into the configuration before it is applied.
"""

from __future__ import annotations

from typing import Literal

import msgspec

StepId = Literal["tag", "gateway", "policies", "alerts", "reviews"]
MeasureUnit = Literal["count", "usd"]

_WHOLE_PERCENT = 100


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """How far something is: so many of so many, or so many nano-USD of so many."""

    words: str
    numerator: int
    denominator: int
    unit: MeasureUnit = "count"

    def reaches(self, percent: int) -> bool:
        """Whether it is as far as so many percent; of nothing, nothing is."""
        return 0 < self.denominator <= self.numerator * _WHOLE_PERCENT // percent

    @property
    def percent(self) -> int:
        """How far, in whole percent, rounded down."""
        return _WHOLE_PERCENT * self.numerator // self.denominator if self.denominator else 0


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: in words, what to write into `aegis.yaml` before, if anything, and the command."""

    words: str
    command: str
    write: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `when` says in which days of thirty it belongs; `then` is what to do next, None where it is done.

    `missing` names at most so many things of `missing_count`.
    """

    id: StepId
    title: str
    when: str
    is_done_when: str
    measures: tuple[Measure, ...]
    is_done: bool
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    then: Next | None = None


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, for one tenant."""

    tenant: str
    at_ns: int
    steps: tuple[Step, ...]
    next_review_ns: int | None = None

    @property
    def done(self) -> int:
        """How many steps are done."""
        return sum(step.is_done for step in self.steps)

    @property
    def next_step(self) -> Step | None:
        """The first that isn't done."""
        return next((step for step in self.steps if not step.is_done), None)
