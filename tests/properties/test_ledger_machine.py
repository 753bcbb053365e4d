"""The ledger against its model, on both stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledgers import postgres_database, sqlite_database
from tests.properties.ledger_machine import Gateway, machine_on

PATIENT = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    stateful_step_count=30,
)
MANY = pytest.param(1_000, marks=pytest.mark.chaos, id="many")


@pytest.mark.parametrize("examples", [pytest.param(80, id="some"), MANY])
def test_the_ledger_agrees_with_its_model_on_sqlite(tmp_path: Path, examples: int) -> None:
    """Whatever happens, in whatever order, the ledger answers and holds what the model says."""
    with sqlite_database(tmp_path) as database:
        run_state_machine_as_test(
            machine_on(Gateway(database)), settings=settings(PATIENT, max_examples=examples)
        )


@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize("examples", [pytest.param(40, id="some"), MANY])
def test_the_ledger_agrees_with_its_model_on_postgres(postgres_url: str, examples: int) -> None:
    """The same on a server, in fewer examples: each restart is a new session."""
    with postgres_database(postgres_url) as database:
        run_state_machine_as_test(
            machine_on(Gateway(database)), settings=settings(PATIENT, max_examples=examples)
        )
