from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.application.runs import (
    RUN_CHARACTERS,
    Delegator,
    KnownRun,
    Runs,
    recorded_run,
    refuse_over,
)
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.replication import RUN_LIFETIME_NS

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


NOW_NS = 1_795_435_200 * 10**9
DELEGATOR = Delegator(agent="boss", key="key_9")
PARENT = "call_" + "0" * 32


def delegated(by: Delegator = DELEGATOR, agent: str = "bot", above: KnownRun | None = None) -> KnownRun:
    """A run that is delegated below a call."""
    root = above or recorded_run(RUNS.mint("acme", by.agent, by.key))
    return RUNS.delegate("acme", root, by, agent, parent=PARENT, depth=2, now_ns=NOW_NS)


def test_an_opened_run_says_what_it_is() -> None:
    """Under its proof: when it was opened, for whom; it is its agent's under its key alone."""
    run = RUNS.open("acme", "bot", "key_1", NOW_NS)
    assert run == RUNS.read(run.id, *BOUND)
    assert (True, NOW_NS, "bot", run.id[:RUN_CHARACTERS]) == (
        run.is_opened,
        run.opened_ns,
        run.agent,
        run.scope,
    )
    for bound in (("zeta", "bot", "key_1"), ("acme", "other", "key_1"), ("acme", "bot", "key_2")):
        with pytest.raises(CallError, match="no run of agent"):
            RUNS.read(run.id, *bound)
    refuse_over(run, NOW_NS + RUN_LIFETIME_NS - 1)
    with pytest.raises(CallError, match="opened more than 30 days ago"):
        refuse_over(run, NOW_NS + RUN_LIFETIME_NS)


def test_a_delegated_run_is_its_agent_s_under_any_key() -> None:
    """It says in which tree it is, below which call, and who stands above it, each once and no more than eight."""
    first = delegated()
    assert first == RUNS.read(first.id, "acme", "bot", "any key")
    assert (2, PARENT, (DELEGATOR,)) == (first.depth, first.parent, first.delegators)
    assert first.root == first.above == first.scope[4:24] != first.number
    with pytest.raises(CallError, match="no run of agent"):
        RUNS.read(first.id, "acme", "boss", "key_9")
    second = delegated(Delegator(agent="bot", key="key_1"), "boss", first)
    assert (first.scope, first.number, first.root) == (second.scope, second.above, second.root)
    assert ["boss", "bot"] == [each.agent for each in second.delegators]
    again = delegated(DELEGATOR, "bot", second)
    assert second.delegators == again.delegators
    for number in range(6):
        again = delegated(Delegator(agent="a" * 64, key=f"key_{number}" + "k" * 20), "bot", again)
    assert again == RUNS.read(again.id, "acme", "bot", "key")
    with pytest.raises(CallError, match="8 is the most"):
        delegated(Delegator(agent="one", key="more"), "bot", again)


def test_what_is_delegated_is_over_with_what_it_was_delegated_in() -> None:
    """However often it is delegated again, by whomever, and whatever it is below."""
    first = delegated()
    assert NOW_NS + RUN_LIFETIME_NS == first.over_ns
    later = NOW_NS + RUN_LIFETIME_NS - 1_000_000
    for _ in range(3):
        by = Delegator(agent="bot", key="key_1")
        again = RUNS.delegate("acme", first, by, "bot", parent=PARENT, depth=3, now_ns=later)
        assert (later, first.over_ns) == (again.opened_ns, again.over_ns)
        refuse_over(again, later)
        with pytest.raises(CallError, match="what it was delegated in"):
            refuse_over(again, NOW_NS + RUN_LIFETIME_NS)
        first = again


def test_who_may_end_it() -> None:
    """Its agent, and any of those who stand above it."""
    run = delegated(Delegator(agent="bot", key="key_1"), "worker", delegated())
    for agent in ("worker", "bot", "boss"):
        assert run == RUNS.to_end(run.id, "acme", agent, "key")
    for tenant, agent in (("acme", "other"), ("zeta", "boss")):
        with pytest.raises(CallError, match="no run of agent"):
            RUNS.to_end(run.id, tenant, agent, "key")


def test_a_name_is_one_number() -> None:
    """For its caller; another's of the same name is another."""
    numbers = [
        RUNS.open("acme", agent, "key_1", NOW_NS + turn, "job").number for turn, agent in enumerate("aab")
    ]
    assert numbers[0] == numbers[1] != numbers[2]


@given(st.data())
def test_not_a_letter_of_it_can_be_changed(data: st.DataObject) -> None:
    """Nor anything added or left out: it is then nobody's, and nothing else happens."""
    run = data.draw(st.sampled_from([RUNS.open(*BOUND, NOW_NS), delegated()])).id
    place = data.draw(st.integers(0, len(run)))
    length = data.draw(st.integers(0, 3))
    instead = data.draw(st.text(st.characters(codec="ascii"), max_size=3) | st.text(max_size=2))
    changed = run[:place] + instead + run[place + length :]
    if changed != run:
        for agent in ("bot", "boss"):
            for read in (RUNS.read, RUNS.to_end):
                with pytest.raises(CallError):
                    read(changed, "acme", agent, "key_1")


@given(st.text(st.characters(codec="ascii"), max_size=80), st.binary(max_size=60))
def test_made_up_payloads(text: str, data: bytes) -> None:
    """Whatever stands behind a number and a proof, it is no run."""
    head = RUNS.mint(*BOUND)
    for payload in (text, base64.urlsafe_b64encode(data).decode().rstrip("=")):
        if payload:
            with pytest.raises(CallError):
                RUNS.read(f"{head}_{payload}", *BOUND)
