"""The record is searched, and verified, on every store; and each kind of tampering that is planted is found."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from aegis_gateway.adapters.record_reports import RecordReports
from aegis_gateway.application.commands import Command, Dispatch, Lose, Release, Settle
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.application.verifying import Verified, Verifying
from aegis_gateway.domain.decision import Reason, Shadow, Verdict
from aegis_gateway.domain.entry import canonical
from aegis_gateway.domain.record_search import EntryFilter
from tests.ledgers import (
    ATTRIBUTION,
    DAY_NS,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    Database,
    TurnableClock,
    admission,
    budget,
    cost,
    quote,
    rate,
)

NO = Verdict(effect="deny", reasons=(Reason(code="denied_by_policy", message="never", subject="no"),))
TIGHT = (budget("tight", 250, period="daily"),)


Tamper = Callable[[Database, RecordReports], None]


def some_calls(ledger: Ledger, clock: TurnableClock) -> None:
    """Calls in every state, refused ones among them, over two days."""
    clerk = msgspec.structs.replace(ATTRIBUTION, agent="clerk")
    quiet = msgspec.structs.replace(PERMITTED, shadow=(Shadow(rule="dear", would="deny"),))
    ask: list[Command] = [
        admission("settled", budgets=TIGHT, quoted=quote(100, 60)),
        admission("lost", attribution=clerk, verdict=quiet),
        admission("open"),
        admission("reserved", reserve_for_ns=HOUR_NS),
        admission("sent", reserve_for_ns=HOUR_NS),
        admission("released", reserve_for_ns=HOUR_NS),
        admission("no", verdict=NO),
    ]
    ledger.process(ask)
    clock.turn(HOUR_NS // 2)
    ledger.process(
        [
            Dispatch(call="sent", tenant="acme"),
            Release(call="released", tenant="acme"),
            Lose(call="lost", tenant="acme", reason="gone"),
            Settle(call="settled", tenant="acme", evidence=cost(30, 5)),
        ]
    )
    clock.turn(DAY_NS)
    ledger.process([admission("over", budgets=TIGHT, quoted=quote(300)), admission("later", rates=(rate(),))])
    ledger.process([Settle(call="later", tenant="acme", evidence=cost(70))])
    ledger.process([Settle(call="lost", tenant="acme", evidence=cost(1))])
    ledger.process([admission("of another", tenant="zeta", attribution=clerk)])


@pytest.fixture
def record(ledger: Ledger, store: Store, clock: TurnableClock) -> RecordReports:
    """Of calls, and of what people did between them."""
    some_calls(ledger, clock)
    with store.change(["acme"]) as change:
        recording = RegistryRecording(change, "ana")
        recording.enter("acme", None, "person", {"act": "add", "person": "ben", "agent": "clerk"})
        recording.enter("acme", None, "configuration", {"config_version": 2, "note": "more for ünique"})
    return RecordReports(store.query)


def verify(record: RecordReports, first: int = 1, last: int | None = None, wrong: str = "") -> Verified:
    """Verify a stretch, under versions that are all right, or all wrong."""
    return Verifying(
        record, "acme", lambda _: wrong, lambda _version, _tenant, policies: policies == "p1"
    ).run(first, last)


def test_nothing_is_wrong(record: RecordReports) -> None:
    """With a record that nobody touched: all of it, any part of it, none of it, and another tenant's."""
    found = verify(record)
    assert ((), {}, 17, 9, 3) == (
        found.faults,
        dict(found.counts),
        found.entries,
        found.calls,
        found.settlements,
    )
    assert (1, 17, 2, True) == (found.first, found.last, found.versions, found.is_sound)
    for first in range(1, 18):
        for last in range(first, 18):
            part = verify(record, first, last)
            assert (last - first + 1, ()) == (part.entries, part.faults), (first, last)
    assert 0 == verify(record, 30).entries
    assert 0 == Verifying(record, "nobody", lambda _: "", lambda *_: None).run().entries


def replaced(database: Database, table: str, sql: str) -> None:
    """Do to a table what its triggers forbid, as who owns the database may."""
    if database.kind == "sqlite":
        kept = database.execute(
            f"select sql from sqlite_schema where type = 'trigger' and tbl_name = '{table}'"
        )
        for name in database.execute(
            f"select name from sqlite_schema where type = 'trigger' and tbl_name = '{table}'"
        ):
            database.execute(f"drop trigger {name[0]}")
        database.execute(sql)
        for text in kept:
            database.execute(text[0])
    else:
        database.execute(f"alter table {table} disable trigger all")
        database.execute(sql)


def quoted(database: Database, body: bytes) -> str:
    """Bytes as a literal."""
    return f"x'{body.hex()}'" if database.kind == "sqlite" else f"'\\x{body.hex()}'"


def rewritten(change: Callable[[dict[str, object]], None]) -> Tamper:
    """Write entry 1 anew, canonical, with other content."""

    def tamper(database: Database, record: RecordReports) -> None:
        kept = record.entry("acme", 1)
        assert kept is not None
        said = msgspec.json.decode(kept.body)
        change(said)
        body = quoted(database, canonical(said))
        replaced(database, "entry", f"update entry set body = {body} where tenant = 'acme' and sequence = 1")

    return tamper


def spaced(database: Database, record: RecordReports) -> None:
    """Write entry 1 anew with a space in it."""
    kept = record.entry("acme", 1)
    assert kept is not None
    of_entry(1, f"body = {quoted(database, kept.body.replace(b',', b', ', 1))}")(database, record)


def no_json(database: Database, record: RecordReports) -> None:
    """Leave half of entry 1."""
    of_entry(1, f"body = {quoted(database, b'{')}")(database, record)


def of_entry(sequence: int, what: str) -> Tamper:
    """Change an entry's row."""
    return do("entry", f"update entry set {what} where tenant = 'acme' and sequence = {sequence}")


def do(table: str, sql: str) -> Tamper:
    """Do something to a table."""
    return lambda database, _record: replaced(database, table, sql)


def forged(database: Database, record: RecordReports) -> None:
    """Put a call beside the others that the record knows nothing of."""
    named = "name from pragma_table_info('call')"
    if database.kind == "postgres":
        named = "column_name from information_schema.columns where table_name = 'call'"
    names = [row[0] for row in database.execute(f"select {named}")]
    other = {"call": "'forged'", "sequence": "999"}
    taken = ", ".join(other.get(each, each) for each in names)
    database.execute(f"insert into call ({', '.join(names)}) select {taken} from call where call = 'no'")


TAMPERINGS: dict[str, tuple[str, int | None, Tamper]] = {
    "an entry is gone": ("numbering", 4, do("entry", "delete from entry where tenant = 'acme' and sequence = 4")),
    "the last ones are gone": (
        "numbering", 15, do("entry", "delete from entry where tenant = 'acme' and sequence >= 15"),
    ),
    "the first one is gone": ("numbering", 1, do("entry", "delete from entry where tenant = 'acme' and sequence = 1")),
    "a space": ("canonical", 1, spaced),
    "half of it": ("canonical", 1, no_json),
    "another agent": ("call", 1, rewritten(lambda said: said.update(agent="clerk"))),
    "another effect": ("call", 1, rewritten(lambda said: said.update(effect="deny"))),
    "another leg": ("call", 1, rewritten(lambda said: said.update(legs=[]))),
    "another number in it": ("place", 1, rewritten(lambda said: said.update(seq=9))),
    "another tenant in it": ("place", 1, rewritten(lambda said: said.update(tenant="zeta"))),
    "another kind beside it": ("place", 1, of_entry(1, "type = 'dispatch'")),
    "another policy": ("policies", 1, rewritten(lambda said: said.update(policy_version="p9"))),
    "a clock turned back": ("order", 8, of_entry(8, "at_ns = 5")),
    "a cheaper call": ("call", 11, do("call", "update call set cost_nano_usd = 1 where call = 'settled'")),
    "another state": ("call", 2, do("call", "update call set state = 'released' where call = 'lost'")),
    "another reason": ("call", 7, do("call", "update call set reason = 'odd' where call = 'no'")),
    "another charge": (
        "charges", 11, do("charge_line", "update charge_line set nano_usd = 1 where call = 'settled' and line = 2"),
    ),
    "a charge is gone": (
        "charges", 11, do("charge_line", "delete from charge_line where call = 'settled' and line = 1"),
    ),
    "a call without a decision": ("call", None, forged),
    "a sum": ("sums", None, do("usage_sum", "update usage_sum set cost = cost + 1 where span = 'hour' and cost > 0")),
    "a day's sum is gone": ("sums", None, do("usage_sum", "delete from usage_sum where span = 'day' and cost > 0")),
}  # fmt: skip


_TABLES = ("charge_line", "entry", "usage_sum", "call")


def restored(database: Database) -> None:
    """Put back what was kept aside."""
    for table in _TABLES:
        replaced(database, table, f"delete from {table}")
    for table in reversed(_TABLES):
        replaced(database, table, f"insert into {table} select * from kept_{table}")


def test_what_is_planted_is_found(database: Database, record: RecordReports) -> None:
    """Each kind of tampering is told as what it is, at its place; in no other tenant's record; and nothing once it is
    undone.
    """
    for table in _TABLES:
        database.execute(f"create table kept_{table} as select * from {table}")
    for name, (check, sequence, tamper) in TAMPERINGS.items():
        tamper(database, record)
        found = verify(record)
        assert (check, sequence) in [(each.check, each.sequence) for each in found.faults], (
            name,
            found.faults,
        )
        assert found.counts[check] >= 1
        assert Verifying(record, "zeta", lambda _: "", lambda *_: None).run().is_sound, name
        restored(database)
        assert () == verify(record).faults, name


def test_a_version_that_was_changed(record: RecordReports) -> None:
    """It is told once, at the first entry that names it, however many calls it decided."""
    found = verify(record, wrong="it is not what was signed")
    assert [("version", 1), ("version", 17)] == [(each.check, each.sequence) for each in found.faults]


def seen(record: RecordReports, wanted: EntryFilter, below: int = 2**62, limit: int = 50) -> list[int]:
    """The numbers of what is found."""
    return [each.sequence for each in record.search("acme", wanted, below, limit).entries]


def test_words_in_what_is_no_text(database: Database, record: RecordReports) -> None:
    """Whatever somebody wrote in the place of an entry, looking for words goes on and finds them."""
    of_entry(3, f"body = {quoted(database, bytes(range(256)) + b'Word')}")(database, record)
    assert [3] == seen(record, EntryFilter(words="wORD"))
    assert [17] == seen(record, EntryFilter(words="more"))


def test_searching(record: RecordReports) -> None:
    """By kind, person, agent, budget, call, rule, version, words, time and number; the newest first; in pages."""
    everything = seen(record, EntryFilter())
    assert list(range(17, 0, -1)) == everything
    assert [17, 16] == seen(record, EntryFilter(who="ana"))
    assert [16] == seen(record, EntryFilter(kind="person", who="ana"))
    assert [17] == seen(record, EntryFilter(kind="configuration"))
    assert [16, 2] == seen(record, EntryFilter(agent="clerk"))
    assert [14, 15] == sorted(seen(record, EntryFilter(kind="settlement")))[1:]
    assert [12, 11, 1] == seen(record, EntryFilter(budget="tight"))
    assert [15, 10, 2] == seen(record, EntryFilter(call="lost"))
    assert [15] == seen(record, EntryFilter(call="lost", kind="settlement"))
    assert [7] == seen(record, EntryFilter(rule="no"))
    assert [2] == seen(record, EntryFilter(rule="dear"))
    assert [12] == seen(record, EntryFilter(rule="budget:tight"))
    assert [17] == seen(record, EntryFilter(version=2))
    assert 9 == len(seen(record, EntryFilter(version=1)))
    for words in ("ünique", "More FOR üNIQUE", "MORE"):
        assert [17] == seen(record, EntryFilter(words=words)), words
    assert [] == seen(record, EntryFilter(words="Ünique")), "of A to Z alone"
    assert [16] == seen(record, EntryFilter(who="ana", words="BEN"))
    assert [] == seen(record, EntryFilter(who="Ana")), "ids are what they are"
    assert [15] == seen(record, EntryFilter(call="lost", kind="settlement", words="Settlement"))
    assert [] == seen(record, EntryFilter(words="%"))
    assert [10] == seen(record, EntryFilter(words="gone", kind="doubt"))
    half = NOON_NS + HOUR_NS // 2
    assert [11, 10, 9, 8] == seen(record, EntryFilter(since_ns=half, until_ns=half + 1))
    assert list(range(7, 0, -1)) == seen(record, EntryFilter(until_ns=half))
    assert [] == seen(record, EntryFilter(since_ns=2**61))
    pages = []
    below = 2**62
    while page := seen(record, EntryFilter(version=1), below, 2):
        pages += page
        below = page[-1]
    assert seen(record, EntryFilter(version=1)) == pages
    found = record.search("acme", EntryFilter(agent="nobody"), 2**62, 50)
    assert ((), 1) == (found.entries, found.looked_to)
