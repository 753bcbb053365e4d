"""`make conformance`: the official suite at a server and through what stands in front of it, compared check by check.

Whatever is worse through something in front than at the server itself is a fault of what is in front.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.conformance.fronts import FRONTS, in_front
from tests.conformance.suite import REVISIONS, lost, run


def main() -> int:
    """Run, tell; the exit code says whether something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--revision", action="append", choices=REVISIONS, help="only this one")
    parser.add_argument("--through", action="append", choices=FRONTS, help="only through this")
    options = parser.parse_args()
    any_lost = False
    for revision in options.revision or REVISIONS:
        fronts = ("server", *(options.through or FRONTS))
        with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
            urls = [stack.enter_context(in_front(front)) for front in fronts]
            outcomes = list(pool.map(run, urls, [revision] * len(urls)))
        for front, outcome in zip(fronts, outcomes, strict=True):
            worse = lost(outcomes[0], outcome)
            any_lost = any_lost or bool(worse)
            counts = f"{outcome.succeeded.total()} succeed, {outcome.failed.total()} don't"
            print(f"{revision} {front}: {counts}, {len(worse)} lost")
            for check, reason in worse.items():
                print(f"  {check}\n    {reason}")
    return 1 if any_lost else 0


if __name__ == "__main__":
    sys.exit(main())
