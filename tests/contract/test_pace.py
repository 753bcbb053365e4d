"""What gateways measured lately, in either store."""

from __future__ import annotations

from aegis_gateway.adapters.pace_reports import PaceReports
from aegis_gateway.adapters.pace_rows import KEPT_NS
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.pace import OF_NOBODY, PaceRow, PaceSums, number_of, together
from tests.ledgers import NOON_NS, SECOND_NS, TurnableClock

TEN_NS = 10 * SECOND_NS


def counted(tenant: str, took_ns: int) -> tuple[PaceRow, ...]:
    """One call, what became of it, and a refusal that is nobody's."""
    sums = PaceSums()
    sums.time("added", (tenant, "models", "allow"), took_ns)
    sums.count("settlement", (tenant, "settled"))
    sums.count("refused", ("models", "overload"))
    return sums.rows()


def save(store: Store, boot: str, rows: tuple[PaceRow, ...]) -> None:
    """Write as a ledger process does."""
    with store.change([]) as change:
        change.save_pace(boot, rows)


def numbers(slices: list[PaceSums]) -> list[int]:
    """How many calls there are in each."""
    return [sum(together("added", each.rows())) for each in slices]


def test_what_was_counted_is_read_by_tenant_and_time(
    store: Store, reader: Store, clock: TurnableClock
) -> None:
    """Of all gateways together; of other tenants, and of no tenant, nothing."""
    save(store, "one", counted("acme", 1))
    save(store, "two", (*counted("acme", 2), *counted("zeta", 3)))
    clock.turn(TEN_NS)
    save(store, "one", counted("acme", 5))
    reports = PaceReports(reader.query)
    assert [2, 1, 0] == numbers(reports.slices("acme", NOON_NS - 1, TEN_NS, 3))
    assert [1, 0] == numbers(reports.slices("zeta", NOON_NS - 1, TEN_NS, 2))
    own = reports.slices(OF_NOBODY, NOON_NS - 1, TEN_NS, 2)
    assert [3, 1] == [sum(map(number_of, each.rows())) for each in own], "refusals, which are of nobody"
    (first, _) = reports.slices("acme", NOON_NS - 1, TEN_NS, 2)
    assert {("acme", "models", "allow"): 2, ("acme", "settled"): 2} == {
        row.labels: number_of(row) for row in first.rows()
    }


def test_what_is_old_goes_with_the_next(store: Store, reader: Store, clock: TurnableClock) -> None:
    """Whoever wrote it; also where there is nothing to tell."""
    save(store, "one", counted("acme", 1))
    clock.turn(KEPT_NS + 1)
    save(store, "two", ())
    assert [] == reader.query("select boot from pace", ())
