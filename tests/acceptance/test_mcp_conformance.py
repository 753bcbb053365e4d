"""The official conformance suite: nothing that succeeds at a server fails through what stands in front of it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.fronts import in_front
from tests.conformance.suite import REVISIONS, Check, Outcome, lost, run


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_relay_that_changes_nothing_loses_nothing(revision: str) -> None:
    """The suite at a server and through a relay comes to the same, on both wires."""
    with in_front("server") as server, in_front("relay") as relay:
        assert {} == lost(run(server, revision), run(relay, revision))


def test_what_is_lost_is_found() -> None:
    """A check that fails, warns or is missing is lost; one that failed before isn't."""
    kept, failed, gone, rarer, before = (Check("tools-list", name) for name in "abcde")
    direct = Outcome(Counter({kept: 2, failed: 1, gone: 1, rarer: 3}), Counter({before: 1}), {})
    through = Outcome(Counter({kept: 2, rarer: 2}), Counter({before: 1, failed: 1}), {failed: "failure: why"})
    assert {failed, gone, rarer} == lost(direct, through).keys()
    assert "failure: why" == lost(direct, through)[failed]
