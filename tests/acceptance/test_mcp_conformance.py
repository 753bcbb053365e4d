"""The official conformance suite: nothing that succeeds at a server fails through what stands in front of it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.fronts import in_front
from tests.conformance.suite import REVISIONS, Check, Outcome, lost, run


@pytest.mark.parametrize("revision", REVISIONS)
def test_nothing_is_lost_through_the_gateway(revision: str) -> None:
    """Each check succeeds through the gateway as often as at the server itself, on both wires; the books balance."""
    with (
        in_front("server") as server,
        in_front("gateway") as gateway,
        ThreadPoolExecutor() as pool,  # the suite waits for most of its time
    ):
        direct, through = pool.map(run, (server, gateway), (revision, revision))
        assert {} == lost(direct, through)


def test_what_is_lost_is_found() -> None:
    """A check that fails, warns or is missing is lost; one that failed before isn't."""
    kept, failed, gone, rarer, before = (Check("tools-list", name) for name in "abcde")
    direct = Outcome(Counter({kept: 2, failed: 1, gone: 1, rarer: 3}), Counter({before: 1}), {})
    through = Outcome(Counter({kept: 2, rarer: 2}), Counter({before: 1, failed: 1}), {failed: "failure: why"})
    assert {failed, gone, rarer} == lost(direct, through).keys()
    assert "failure: why" == lost(direct, through)[failed]
