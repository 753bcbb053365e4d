"""What is asked every second reads a range of an index, never a whole table, in SQLite as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from aegis_gateway.adapters import (
    attention,
    budget_agents,
    budget_use,
    delivery_rows,
    metrics_reports,
    outcome_reports,
    record_reports,
    reports,
)
from aegis_gateway.adapters.queries import named_queries
from aegis_gateway.adapters.sqlite.database import PACKAGE, connect

SWEPT = named_queries(PACKAGE)
CALLS = reports._CALLS + reports._OF_TENANT


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    """An empty database with its indexes."""
    with closing(connect(tmp_path / "aegis.db")) as connection:
        yield connection


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (SWEPT["expired"], "call USING INDEX call_open (state=?)"),
        (SWEPT["orphans"], "call USING INDEX call_open (state=?)"),
        (SWEPT["forget_old_requests"], "request_settled USING PRIMARY KEY (day<?)"),
        (SWEPT["settled_before"], "request_settled USING PRIMARY KEY (day=? AND tenant=? AND request=?)"),
        (SWEPT["add_to_outcome"], "outcome USING PRIMARY KEY (tenant=? AND run=?)"),
        (SWEPT["first_call_of_run"], "call USING INDEX call_by_run (tenant=? AND <expr>=?)"),
        (
            outcome_reports._TOLD,
            "outcome USING INDEX outcome_by_result (tenant=? AND result=? AND began_ns>? AND began_ns<?)",
        ),
        (reports._STANDINGS, "standing USING PRIMARY KEY (tenant=? AND budget=?)"),
        (reports._FULLEST, "standing USING PRIMARY KEY (tenant=? AND budget=?)"),
        (
            reports._ONE_STANDING,
            "standing USING PRIMARY KEY (tenant=? AND budget=? AND scope=? AND window=?)",
        ),
        (
            reports._WHOLE.format(marks="?, ?"),
            "standing USING PRIMARY KEY (tenant=? AND budget=? AND scope=? AND window=?)",
        ),
        (
            metrics_reports._LAST_HOUR.format(marks="?, ?"),
            "budget_hour USING PRIMARY KEY (tenant=? AND budget=? AND scope=? AND hour=?)",
        ),
        (reports._EFFECTS, "call USING COVERING INDEX call_by_time (tenant=? AND decided_ns>?)"),
        (
            CALLS + " and rule = ?" + reports._NEWEST_FIRST,
            "call USING INDEX call_by_rule (tenant=? AND rule=?)",
        ),
        (record_reports._STATES, "call USING PRIMARY KEY (call=?)"),
        (record_reports._STATES, "entry USING INDEX entry_by_call (call=?)"),
        (record_reports._OF_CALL, "entry USING INDEX entry_by_call (call=?)"),
        (
            record_reports._DOWN + " and type = ?" + record_reports._RARE,
            "entry USING INDEX entry_by_kind (tenant=? AND type=? AND sequence>? AND sequence<?)",
        ),
        (
            record_reports._UNDECIDED,
            "call USING INDEX call_by_time (tenant=? AND decided_ns>? AND decided_ns<?)",
        ),
        (reports._SPENT, "call USING INDEX call_by_time (tenant=? AND decided_ns>?)"),
        (
            reports._SPENT_SINCE,
            "entry USING INDEX sqlite_autoindex_entry_1 (tenant=? AND sequence>? AND sequence<?)",
        ),
        (reports._SPENT_SINCE, "call USING PRIMARY KEY (call=?)"),
        (reports._CALLS + reports._OF_ENTRIES, "call USING PRIMARY KEY (call=?)"),
        (reports._ENTRIES, "entry USING INDEX sqlite_autoindex_entry_1 (tenant=? AND sequence>?)"),
        (CALLS + reports._NEWEST_FIRST, "call USING INDEX call_by_time (tenant=?)"),
        (
            CALLS + " and state = ?" + reports._STILL_OPEN + reports._OLDEST_FIRST,
            "call USING INDEX call_open (state=? AND tenant=?)",
        ),
        (
            reports._SHADOW_EXAMPLES,
            "shadow_finding USING COVERING INDEX sqlite_autoindex_shadow_finding_1"
            " (tenant=? AND decided_ns>? AND decided_ns<?)",
        ),
        (
            budget_use._FIRST_HOUR,
            "budget_hour USING PRIMARY KEY (tenant=? AND budget=? AND scope=?)",
        ),
        (
            budget_use._HOURS,
            "budget_hour USING PRIMARY KEY (tenant=? AND budget=? AND scope=? AND hour>?)",
        ),
        (
            budget_agents._BEHIND,
            "call USING COVERING INDEX call_by_time (tenant=? AND decided_ns>? AND decided_ns<?)",
        ),
        (
            budget_agents._OF_CALLS,
            "call USING INDEX call_by_time (tenant=? AND decided_ns>? AND decided_ns<?)",
        ),
        (
            budget_agents._PIECE.format(alike="1 = 0", named="1 = 1"),
            "usage_sum USING PRIMARY KEY (tenant=? AND span=? AND start_ns>? AND start_ns<?)",
        ),
        (
            budget_agents._LEFT_OUT,
            "shadow_sum USING PRIMARY KEY (tenant=? AND span=? AND start_ns>? AND start_ns<?)",
        ),
        (budget_use._USED, "standing USING PRIMARY KEY (tenant=? AND budget=?)"),
        (
            budget_use._CUT_SHORT,
            "call USING INDEX call_by_rule (tenant=? AND rule=? AND decided_ns>? AND decided_ns<?)",
        ),
        (delivery_rows.OLDEST_NOTICE, "notice USING INDEX notice_to_pass_on"),
        (
            delivery_rows.DELIVERIES + delivery_rows.OF_STATE["dead"] + delivery_rows.NEWEST_FIRST,
            "delivery USING INDEX delivery_dead (tenant=?)",
        ),
        (delivery_rows._DEAD, "delivery USING INDEX delivery_dead (tenant=?)"),
        (
            delivery_rows.COUNT + delivery_rows.OF_STATE["dead"],
            "delivery USING COVERING INDEX delivery_dead (tenant=?)",
        ),
        (
            attention._WAITING.format(places="?, ?"),
            "approval USING COVERING INDEX approval_in_state (tenant=? AND state=?)",
        ),
        (
            attention._OPEN.format(places="?, ?"),
            "incident USING INDEX incident_open (tenant=? AND opened_ns>?)",
        ),
        (reports._OPEN, "call USING COVERING INDEX call_open (state=? AND tenant=?)"),
    ],
)
def test_an_index_is_searched(connection: apsw.Connection, sql: str, index: str) -> None:
    """The plan searches the index that is meant, and scans no table."""
    rows = connection.execute(f"explain query plan {sql}", (0,) * sql.count("?")).fetchall()
    steps = [str(row[3]) for row in rows]
    assert f"SEARCH {index}" in steps
    assert [] == [step for step in steps if step.startswith("SCAN")]
