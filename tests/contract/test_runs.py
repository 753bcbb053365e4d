"""Runs under the lock: how many are open, what is ended, and how long anything is remembered; in every store."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    Command,
    Ended,
    EndRun,
    Known,
    Opened,
    OpenRun,
    Reply,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.decision import Mode, Reason, Verdict
from aegis_gateway.domain.replication import RUN_LIFETIME_NS, RunClaim
from tests.ledgers import ATTRIBUTION, SECOND_NS, TurnableClock, admission, rate

IDLE_NS = 60 * SECOND_NS


def claim(
    number: str,
    *,
    most: int | None = 2,
    owner: str = "ann",
    kept: bool = False,
    above: str = "",
    root: str = "",
    mode: Mode = "enforce",
) -> RunClaim:
    """A run as it is claimed."""
    return RunClaim(
        number=number,
        run=f"run_{number}",
        agent="bot",
        owner=owner,
        idle_ns=IDLE_NS,
        runs_max=most,
        mode=mode,
        is_kept=kept,
        root=root or above,
        above=above,
    )


def call(name: str, run: RunClaim, **more: Any) -> Admit:
    """A call in a run."""
    return msgspec.structs.replace(admission(name, **more), run=run)


def opening(run: RunClaim, **more: Any) -> OpenRun:
    """An opening of a run."""
    return OpenRun(
        call=run.run,
        tenant="acme",
        epoch=1,
        claim=msgspec.structs.replace(run, is_kept=True),
        by=ATTRIBUTION,
        policy_version="p1",
        config_version=1,
        **more,
    )


def ending(run: RunClaim) -> EndRun:
    """An end of a run."""
    return EndRun(call=run.run, tenant="acme", claim=run, actor="bot")


def told(replies: list[Reply]) -> list[str]:
    """What was decided, and where that is a refusal, why."""
    found: list[str] = []
    for reply in replies:
        match reply:
            case Admitted() | Opened():
                found.append(reply.effect if reply.effect == "allow" else reply.reasons[0].code)
            case _:
                found.append(type(reply).__name__)
    return found


def numbers(store: Store) -> list[str]:
    """The runs that are kept."""
    return [row["number"] for row in store.query("select number from run order by number")]


def entries(store: Store) -> list[dict[str, Any]]:
    """What the record says of runs."""
    rows = store.query("select body from entry where type = 'run' order by sequence")
    return [json.loads(bytes(row["body"])) for row in rows]


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_as_many_as_may_be_open(ledger: Ledger, store: Store, *, is_one_batch: bool) -> None:
    """In one transaction as in many; a run that is open goes on, and others' runs are others'."""
    commands: list[Command] = [
        call("c1", claim("a")),
        opening(claim("b")),
        call("c2", claim("c")),
        opening(claim("d")),
        call("c3", claim("a")),
        call("c4", claim("b", kept=True)),
        call("c5", claim("e", owner="ben")),
        call("c6", claim("f", most=3)),
        ending(claim("a")),
        call("c7", claim("a")),
        call("c8", claim("g", most=3)),
        opening(claim("h")),
    ]
    replies = ledger.process(commands) if is_one_batch else [ledger.process([each])[0] for each in commands]
    assert [
        *("allow", "allow", "too_many_runs", "too_many_runs", "allow", "allow", "allow", "allow"),
        *("Ended", "run_ended", "allow", "too_many_runs"),
    ] == told(replies)
    assert ["a", "b", "e", "f", "g"] == numbers(store)
    assert {"ann": 3, "ben": 1} == Reports(store.query).open_run_counts("acme", store.clock_ns())
    assert ["opened", "refused", "ended", "refused"] == [each["event"] for each in entries(store)]


def test_a_refused_call_opens_none(ledger: Ledger, store: Store) -> None:
    """Whoever refused it."""
    denied = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="no"),))
    ledger.process([call("c1", claim("a"), verdict=denied), call("c2", claim("b"), epoch=7)])
    assert [] == numbers(store)


def test_idle_runs_are_forgotten(ledger: Ledger, store: Store, clock: TurnableClock) -> None:
    """To the nanosecond: then others may be opened. One that a call opened is as new; one opened as such is not."""
    assert ["allow", "allow"] == told(ledger.process([call("c1", claim("a")), opening(claim("b"))]))
    clock.turn(IDLE_NS - 1)
    assert ["too_many_runs"] == told(ledger.process([call("c2", claim("c"))]))
    clock.turn(1)
    assert ["allow", "allow"] == told(ledger.process([call("c3", claim("c")), call("c4", claim("d"))]))
    assert ["too_many_runs"] * 2 == told(
        ledger.process([call("c5", claim("a")), call("c6", claim("b", kept=True))])
    )
    ledger.sweep()
    assert ["b", "c", "d"] == numbers(store)
    clock.turn(IDLE_NS)
    assert ["allow"] == told(ledger.process([call("c7", claim("b", kept=True))]))
    clock.turn(RUN_LIFETIME_NS)
    ledger.sweep()
    assert [] == numbers(store)
    assert ["run_ended"] == told(ledger.process([call("c8", claim("b", kept=True))]))


def test_what_was_delegated_ends_too(ledger: Ledger, store: Store) -> None:
    """All below it, opened in the same transaction or before, in its own tree alone; once."""
    tree = [
        opening(claim("root", most=None)),
        opening(claim("child", most=None, above="root")),
        opening(claim("grandchild", most=None, above="child", root="root")),
        opening(claim("sibling", most=None, above="root")),
        opening(claim("other", most=None)),
    ]
    ledger.process(tree[:3])
    replies = ledger.process([*tree[3:], ending(claim("child", most=None, above="root"))])
    assert Ended(call="run_child", below=1) == replies[-1]
    calls = [
        call(f"c-{number}", claim(number, most=None, kept=True))
        for number in ("root", "child", "grandchild", "sibling", "other")
    ]
    assert ["allow", "run_ended", "run_ended", "allow", "allow"] == told(ledger.process(calls))
    assert ["run_ended"] == told(
        ledger.process([opening(claim("late", most=None, above="child", root="root"))])
    )
    assert [Ended(call="run_root", below=1)] == ledger.process([ending(claim("root", most=None))])
    assert [Ended(call="run_root", below=0)] == ledger.process([ending(claim("root", most=None))])
    assert 2 == sum(each["event"] == "ended" for each in entries(store))


def test_what_is_below_what_is_called_meanwhile_ends_too(ledger: Ledger) -> None:
    """In one transaction a run in the middle of a tree is called, and the first one is ended."""
    child = claim("child", most=None, above="root")
    ledger.process(
        [
            opening(claim("root", most=None)),
            opening(child),
            opening(claim("grandchild", most=None, above="child", root="root")),
        ]
    )
    in_it = call("c", msgspec.structs.replace(child, is_kept=True))
    allowed, ended = ledger.process([in_it, ending(claim("root", most=None))])
    assert ["allow"] == told([allowed])
    assert Ended(call="run_root", below=2) == ended
    grandchild = claim("grandchild", most=None, kept=True, above="child", root="root")
    assert ["run_ended"] == told(ledger.process([call("d", grandchild)]))


def test_who_ends_a_run_reads_what_is_below_it_alone(ledger: Ledger, store: Store) -> None:
    """However large its tree is, since the tenant waits for it."""
    ledger.process([opening(claim("root", most=None))])
    ledger.process([opening(claim(f"child {number}", most=None, above="root")) for number in range(50)])
    with store.lock(["acme"]) as locked:
        assert [] == locked.runs_below("acme", ["child 7"])
        assert 50 == len(locked.runs_below("acme", ["root", "child 7"]))
    assert [Ended(call="run_child 7", below=0)] == ledger.process(
        [ending(claim("child 7", most=None, above="root"))]
    )
    with store.lock(["acme"]) as locked:
        assert 49 == len(locked.runs_below("acme", ["root"]))


def test_the_same_number_again(ledger: Ledger, store: Store) -> None:
    """An opening that was asked for before is the same run, if it is asked for the same, and goes on."""
    ledger.process([opening(claim("a"))])
    assert [Known(call="run_a", first="run_a", is_same=True)] == ledger.process([opening(claim("a"))])
    assert [Known(call="run_a", first="run_a", is_same=False)] == ledger.process(
        [opening(claim("a", above="b"))]
    )
    ledger.process([ending(claim("a"))])
    assert [Known(call="run_a", first="run_a", is_same=False)] == ledger.process([opening(claim("a"))])
    assert 2 == len(entries(store))


def test_a_run_that_is_to_be_kept_must_be_there(ledger: Ledger) -> None:
    """An id may be proven and its run never have been written: nothing is called in it."""
    assert ["run_ended"] == told(ledger.process([call("c1", claim("a", most=None, kept=True))]))


def test_in_shadow(ledger: Ledger, store: Store) -> None:
    """One too many is let through and noted; one that is ended isn't."""
    quiet = [claim(number, most=1, mode="shadow") for number in "abc"]
    replies = ledger.process([call("c1", quiet[0]), call("c2", quiet[1]), opening(quiet[2])])
    assert ["allow"] * 3 == told(replies)
    assert ["c2"] == [row["call"] for row in store.query("select call from shadow_finding")]
    assert "replication:runs" == entries(store)[0]["shadow"][0]["rule"]
    ledger.process([ending(quiet[0])])
    assert ["run_ended"] == told(ledger.process([call("c3", quiet[0])]))


def test_rates_of_openings(ledger: Ledger) -> None:
    """They take a turn, and only those that are opened do."""
    pace = rate("few", limit=2)
    asked = [opening(claim(number, most=3), rates=(pace,)) for number in "abc"]
    assert ["allow", "allow", "rate_limited"] == told(ledger.process(asked))


def test_a_tenant_is_another(ledger: Ledger, store: Store) -> None:
    """Owners of one name in two tenants are two."""
    ledger.process([call("c1", claim("a", most=1))])
    assert ["allow"] == told(ledger.process([call("c2", claim("a", most=1), tenant="zeta")]))
    unknown = msgspec.structs.replace(opening(claim("a")), tenant="nobody")
    assert ["Failed"] == told(ledger.process([unknown]))
    assert 2 == len(numbers(store))
