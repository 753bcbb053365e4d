"""Versions: what they are known by, and for whom a canary decides."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.domain.config_version import Canary, ConfigVersion, Watch
from aegis_gateway.domain.watch import Side, jump

KEY = b"k" * 32
AGENTS = [f"agent-{number}" for number in range(2_000)]
VERSION = ConfigVersion(version=3, files={"aegis.yaml": "a", "b": "c"}, applied_by="ana", applied_ns=7)


def chosen(share: int, key: bytes = KEY, beside: int = 1, tenant: str = "acme") -> set[str]:
    """The agents that a canary of a share decides for."""
    canary = Canary(beside=beside, share=share)
    return {agent for agent in AGENTS if canary.includes(tenant, agent, key)}


def test_a_share_of_agents() -> None:
    """About as many as that, none and all at the ends, and whoever is in stays in when it grows."""
    assert (set(), set(AGENTS)) == (chosen(0), chosen(10_000))
    tenth = chosen(1_000)
    assert 140 < len(tenth) < 260
    assert tenth < chosen(5_000)


def test_the_choice_is_keyed() -> None:
    """Others are chosen by another key, for another tenant, beside another version: nobody can know who."""
    tenth = chosen(1_000)
    assert tenth == chosen(1_000)
    for other in (chosen(1_000, key=b"x"), chosen(1_000, beside=2), chosen(1_000, tenant="zeta")):
        assert tenth != other


def test_agents_by_name() -> None:
    """They and no others."""
    canary = Canary(beside=1, agents=("agent-1",))
    assert {"agent-1"} == {agent for agent in AGENTS if canary.includes("acme", agent, KEY)}


def test_what_is_signed() -> None:
    """Everything but the signature; files count by their content, not by their order."""
    signed = msgspec.structs.replace(VERSION, signed_by="k", signature=b"s")
    assert VERSION.bundle == signed.bundle
    assert VERSION.bundle == msgspec.structs.replace(VERSION, files={"b": "c", "aegis.yaml": "a"}).bundle
    changes: list[dict[str, object]] = [
        {"version": 4}, {"files": {}}, {"applied_by": "ben"}, {"applied_ns": 8}, {"note": "n"}, {"previous": "p"},
        {"back_to": 1}, {"risk": "widens"}, {"canary": Canary(beside=1)}, {"watch": Watch()},
    ]  # fmt: skip
    bundles = {msgspec.structs.replace(VERSION, **change).bundle for change in changes}
    assert len(changes) == len(bundles - {VERSION.bundle})


WATCH = Watch(refusals_up_by=500, errors_up_by=300, of_at_least=100)
BEFORE = Side(calls=1_000, refused=20, errors=10)


@pytest.mark.parametrize(
    ("tried", "before", "expected"),
    [
        (Side(calls=99, refused=99), BEFORE, None),
        (Side(calls=100, refused=7), BEFORE, None),
        (Side(calls=100, refused=8), BEFORE, "refusals went up from 2.00% to 8.00%"),
        (Side(calls=100, errors=4), BEFORE, None),
        (Side(calls=1_000, errors=41), BEFORE, "errors went up from 1.00% to 4.10%"),
        (Side(calls=100, refused=5), Side(), None),
        (Side(calls=100, refused=6), Side(), "refusals went up from 0.00% to 6.00%"),
        (Side(calls=100, refused=90), Side(calls=10, refused=9), None),
    ],
)
def test_what_goes_up_too_far(tried: Side, before: Side, expected: str | None) -> None:
    """More than so much above what it was; from enough calls on; what was as bad before is nobody's fault."""
    found = jump(WATCH, tried, before)
    assert expected == (None if found is None else str(found))


def test_what_is_not_watched() -> None:
    """Without a limit nothing goes up too far."""
    assert jump(Watch(), Side(calls=1_000, refused=1_000, errors=1_000), Side()) is None
