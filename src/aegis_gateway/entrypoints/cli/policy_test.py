"""`aegis test`: what policies decide of made-up calls, as their tests say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.entrypoints.cli.configuration import DirArgument, Plan, checked, placed
from aegis_gateway.entrypoints.cli.options import JsonOption
from aegis_gateway.entrypoints.cli.output import DIM, GOOD, STRONG, out, print_json

if TYPE_CHECKING:
    from aegis_gateway.entrypoints.policy_testing import Outcome

FAILED = 3


def policy_test(directory: DirArgument, as_json: JsonOption = False) -> None:
    """Run the tests in policies/tests/*.yaml against a directory's policies. No store is needed, none is changed.

    A test makes up a call (agent, call, args; for models model and request) and says what must be decided (expect:
    allow, deny or error) and because of which policies. Budgets and rates are not asked. Exit code 3 says that a test
    failed.
    """
    outcomes = run_tests(checked(directory))
    if not outcomes:
        raise ConfigurationError(
            f"there are no tests in `{directory / 'policies' / 'tests'}`; "
            "`aegis init DIR` writes some, beside the policies that they are of"
        )
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        print_json(
            {"passed": len(outcomes) - len(failed), "failed": len(failed), "tests": _records(outcomes)}
        )
    else:
        show(directory, outcomes)
    if failed:
        raise typer.Exit(FAILED)


def run_tests(found: Plan) -> list[Outcome]:
    """Run a checked directory's tests, in order; none where there are none.

    Raises:
        ConfigurationError: something is wrong with a test; `problems` has all of it.
    """
    from aegis_gateway import bootstrap
    from aegis_gateway.configuration.policy_tests import by_tenant, load_tests
    from aegis_gateway.configuration.read import read_tests
    from aegis_gateway.entrypoints.policy_testing import run

    try:
        tests = load_tests(read_tests(found.directory), found.new.registries)
    except ConfigurationError as fault:
        raise placed(fault, found.directory) from None
    return [
        outcome
        for tenant, group in by_tenant(tests).items()
        for outcome in run(group, bootstrap.unstored_view(found.new, tenant))
    ]


def show(directory: Path, outcomes: list[Outcome]) -> None:
    """Say what each test came to; of one that failed where it stands, what was expected and what was decided."""
    console = out()
    for outcome in outcomes:
        wanted = outcome.test
        if outcome.passed:
            console.print(Text.assemble(("✓ ", GOOD), wanted.name))
            continue
        console.print(Text.assemble(("✗ ", "red"), wanted.name, (f"  {_place(directory, outcome)}", DIM)))
        console.print(Text(f"  expected {outcome.expected}"))
        console.print(Text(f"  decided  {outcome.decided}"))
    failed = sum(not outcome.passed for outcome in outcomes)
    counts = f"{len(outcomes) - failed} passed" + (f", {failed} failed" if failed else "")
    console.print(Text(counts, style=STRONG))


def _place(directory: Path, outcome: Outcome) -> str:
    return f"{directory / outcome.test.file}:{outcome.test.line}"


def _records(outcomes: list[Outcome]) -> list[dict[str, object]]:
    return [
        {
            "name": outcome.test.name,
            "tenant": outcome.test.tenant,
            "file": outcome.test.file,
            "line": outcome.test.line,
            "passed": outcome.passed,
            "expected": {"effect": outcome.test.expect, "because": list(outcome.test.because)},
            "decided": {
                "effect": outcome.effect,
                "names": list(outcome.names),
                "reasons": list(outcome.words),
            },
        }
        for outcome in outcomes
    ]
