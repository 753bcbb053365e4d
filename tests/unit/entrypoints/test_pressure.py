"""When a worker takes itself to be overloaded."""

from __future__ import annotations

import asyncio

from aegis_gateway.entrypoints.data_plane.pressure import (
    CALM_S,
    LATE_S,
    MEMORY_S,
    PATIENCE_S,
    QUESTIONS_UNDER_PRESSURE_MAX,
    SHORT_PATIENCE_S,
    Pressure,
)

TICK_S = 0.05


def late_from(pressure: Pressure, start_s: float, for_s: float) -> list[bool]:
    """What it says at each tick of a stretch in which the loop is late."""
    ticks = round(for_s / TICK_S)
    said = []
    for tick in range(ticks + 1):
        pressure.note(start_s + tick * TICK_S, 2 * LATE_S)
        said.append(pressure.is_high)
    return said


def test_a_burst_is_let_through() -> None:
    """A loop that is late for less than its patience refuses nothing."""
    pressure = Pressure()
    assert not any(late_from(pressure, 100.0, PATIENCE_S - 2 * TICK_S))
    pressure.note(200.0, 0.0)
    assert not pressure.is_high


def test_lateness_that_lasts_is_pressure_until_it_ends() -> None:
    """After its patience it refuses, and takes calls again with the first tick in time."""
    pressure = Pressure()
    said = late_from(pressure, 100.0, PATIENCE_S + 1.0)
    assert [False, True] == [said[0], said[-1]]
    pressure.note(110.0, 0.0)
    assert not pressure.is_high


def test_lateness_that_comes_back_is_believed_sooner() -> None:
    """Within its memory the short patience holds; after it the long one."""
    pressure = Pressure()
    late_from(pressure, 100.0, PATIENCE_S + 1.0)
    end_s = 100.0 + PATIENCE_S + 1.0
    pressure.note(end_s + 1.0, 0.0)
    assert late_from(pressure, end_s + 1.5, 2 * SHORT_PATIENCE_S)[-1]
    pressure.note(end_s + 2.0, 0.0)
    assert not late_from(pressure, end_s + 2.5 + MEMORY_S, 2 * SHORT_PATIENCE_S)[-1]


def test_a_short_calm_does_not_end_lateness() -> None:
    """Patience goes on through a moment in time, not through a calm."""
    for calm_s, is_high in ((CALM_S / 2, True), (2 * CALM_S, False)):
        pressure = Pressure()
        late_from(pressure, 100.0, PATIENCE_S - 1.0)
        pressure.note(100.0 + PATIENCE_S - 1.0 + TICK_S, 0.0)
        late_from(pressure, 100.0 + PATIENCE_S - 1.0 + calm_s, 1.0)
        assert is_high == pressure.is_high


class Queue:
    """A ledger's queue of a given length, in which nothing waits."""

    open_questions = 0

    def wait_s(self) -> float:
        """Not at all."""
        return 0.0


def test_under_pressure_a_few_calls_go_in() -> None:
    """What is refused is what would wait for the ledger behind many others."""
    pressure, queue = Pressure(), Queue()
    loop = asyncio.new_event_loop()
    pressure.watch(loop, queue)
    loop.close()
    late_from(pressure, 100.0, PATIENCE_S + 1.0)
    assert not pressure.refuses
    queue.open_questions = QUESTIONS_UNDER_PRESSURE_MAX
    assert pressure.refuses
