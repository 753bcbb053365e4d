from __future__ import annotations

import os

import pytest

from aegis_gateway.application.runs import Runs
from aegis_gateway.domain.errors import CallError

RUNS = Runs(b"pepper" * 8, os.urandom)
BOUND = ("acme", "bot", "key_1")


def test_a_run_is_known_again() -> None:
    """By every gateway that has the pepper, without looking anything up."""
    run = RUNS.mint(*BOUND)
    RUNS.read(run, *BOUND)
    Runs(b"pepper" * 8, os.urandom).read(run, *BOUND)
    assert run != RUNS.mint(*BOUND)


@pytest.mark.parametrize(
    "bound", [("zeta", "bot", "key_1"), ("acme", "other", "key_1"), ("acme", "bot", "key_2")]
)
def test_another_s_run(bound: tuple[str, str, str]) -> None:
    """A run is bound to tenant, agent and key."""
    with pytest.raises(CallError, match="no run of agent"):
        RUNS.read(RUNS.mint(*BOUND), *bound)


@pytest.mark.parametrize("run", ["", "run_", "run_x", "run_" + "0" * 36, "\xe9" * 40, "run_" + "a" * 500])
def test_made_up_runs(run: str) -> None:
    """Nobody makes one up."""
    with pytest.raises(CallError, match="leave `Aegis-Run-Id` out"):
        RUNS.read(run, *BOUND)


def test_a_run_that_was_changed() -> None:
    """Not by a digit."""
    run = RUNS.mint(*BOUND)
    for place in (4, 20, len(run) - 1):
        changed = run[:place] + ("0" if run[place] != "0" else "1") + run[place + 1 :]
        with pytest.raises(CallError):
            RUNS.read(changed, *BOUND)
