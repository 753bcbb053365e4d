"""The record on a real gateway: looked into by page, API and command, and verified; tampering is named by all three."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Iterator

import apsw
import pytest
from typer.testing import CliRunner, Result

from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.cli.main import build
from tests.browsers import Staff, Visitor, text_of
from tests.gateways import TENANT, Answer, Gateway, ask
from tests.policed import policed

pytestmark = pytest.mark.xdist_group("policy-pages")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """Three versions, six calls, two tenants."""
    with policed() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Au audits acme; zoe has no role."""
    staff = Staff(gateway)
    staff.add("au", Grant(role="auditor", tenant=TENANT))
    staff.add("zoe")
    return staff


@pytest.fixture(scope="module")
def people(gateway: Gateway, staff: Staff) -> dict[str, Visitor]:
    """Both, signed in."""
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def test_looking_into_it(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """A line each, by kind, person and rule; pages go on behind the last; files have the same, and the bytes."""
    entries = gateway.query(
        f"select sequence, type, body from entry where tenant = '{TENANT}' order by sequence desc"
    )
    page = text_of(people["au"].get("/audit?since=ever"))
    for row in entries[:10]:
        assert f'href="/audit/{TENANT}/{row["sequence"]}"' in page
    assert "barred was refused, chat on gpt-4o-mini: this one never may (never)" in page
    assert "configuration 3 was applied, by local:test" in page
    refused = text_of(people["au"].get("/audit?rule=never&kind=decision"))
    assert 2 == refused.count('<th role="rowheader"')
    assert 1 == text_of(people["au"].get("/audit?about=version&of=3&kind=configuration")).count(
        '<th role="rowheader"'
    )
    assert "No such entries" in text_of(people["au"].get("/audit?who=nobody"))
    lines = people["au"].get("/audit/entries.jsonl?since=ever").body
    assert b"".join(bytes(row["body"]) + b"\n" for row in entries) == lines
    rows = list(csv.DictReader(io.StringIO(people["au"].get("/audit/table.csv?since=ever").body.decode())))
    assert [str(row["sequence"]) for row in entries] == [row["sequence"] for row in rows]
    assert hashlib.sha256(bytes(entries[0]["body"])).hexdigest() == rows[0]["sha256"]
    assert people["au"].get("/audit/table.xlsx?since=ever").body.startswith(b"PK")
    assert (303, f"/audit/{TENANT}/2") == (
        (answer := people["au"].get("/audit?n=2")).status,
        answer.headers["location"],
    )


def test_what_an_address_says_wrongly(people: dict[str, Visitor]) -> None:
    """It is as at first, or finds nothing, and is shown as text."""
    for query in (
        "since=9999999d", "below=x", "version=1e3", "version=99999999999", "from=never", "kind=odd", "q=%00",
        "from=2026-02-30", "to=9999-12-31", "below=999999999999999999", "rule=%27%3B--", "from=1969-01-01",
    ):  # fmt: skip
        assert 200 == people["au"].get(f"/audit?{query}").status, query
    page = people["au"].get("/audit?who=%3Cscript%3Ealert(1)%3C/script%3E")
    assert b"<script>alert" not in page.body
    for path in (f"/audit/{TENANT}/0", f"/audit/{TENANT}/x", f"/audit/{TENANT}/99999", "/audit/zeta/1"):
        assert 404 == people["au"].get(path).status, path
    assert 200 == people["au"].get("/audit/verified?from=x&to=99999999999999999999").status


def test_one_entry(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Its content, digest, neighbours and links, and each check of it; what that shows, and what it doesn't."""
    row = gateway.query(
        "select sequence, call, body from entry where type = 'settlement' order by sequence limit 1"
    )[0]
    page = text_of(people["au"].get(f"/audit/{TENANT}/{row['sequence']}"))
    for words in (
        hashlib.sha256(bytes(row["body"])).hexdigest(), f"/calls/{TENANT}/{row['call']}", f"/budgets/{TENANT}/day",
        f"/audit/{TENANT}/{row['sequence'] - 1}", f"/audit/{TENANT}/{row['sequence'] + 1}", "on the word of usage",
        "aren’t chained or signed", '"evidence": "usage"', bytes(row["body"]).decode(),
    ):  # fmt: skip
        assert words in page, words
    assert (7, 0) == (page.count(" holds</span>"), page.count(" fails</span>"))
    decision = text_of(people["au"].get(f"/audit/{TENANT}/{row['sequence'] - 1}"))
    for words in ("/policies/acme/all-may", "/policies/versions/2", "/policies/acme/quiet", " holds</span>"):
        assert words in decision, words


def test_only_who_may_read_sees_anything(gateway: Gateway, people: dict[str, Visitor], staff: Staff) -> None:
    """By page and API: strangers sign in first; who has no role, or asks for another tenant, sees no trace."""
    for path in ("/audit", f"/audit/{TENANT}/1", "/audit/verified", "/audit/entries.jsonl"):
        assert 303 == Visitor(gateway).get(path).status
        assert "was applied" not in text_of(people["zoe"].get(path)), path
    assert 404 == people["au"].get("/audit?tenant=zeta").status
    for path in (
        "/api/v1/audit?tenant=zeta",
        "/api/v1/audit/1?tenant=zeta",
        "/api/v1/audit/verification?tenant=zeta",
    ):
        assert 404 == told(gateway, staff, path).status
    assert 401 == ask(gateway, "GET", "/api/v1/audit", None, key="").status


def told(gateway: Gateway, staff: Staff, path: str) -> Answer:
    """What the API answers au."""
    return ask(gateway, "GET", path, key=staff.tokens["au"])


def aegis(gateway: Gateway, *arguments: str) -> Result:
    """Run a command on the gateway's store."""
    environment = {"AEGIS_SIGNING_KEY": gateway.settings.signing_key, "COLUMNS": "200"}
    return CliRunner().invoke(
        build(), ["audit", *arguments, "--tenant", TENANT, "--store", gateway.settings.store], env=environment
    )


def test_programs_and_the_terminal_are_told_the_same(gateway: Gateway, staff: Staff) -> None:
    """By API and command, in pages that go on behind the last."""
    numbers = []
    path = "/api/v1/audit?kind=decision&limit=4"
    below: int | None = 2**62
    while below is not None:
        page = told(gateway, staff, f"{path}&below={below}").json
        numbers += [each["sequence"] for each in page["entries"]]
        below = page["below"]
    assert 6 == len(numbers)
    assert sorted(numbers, reverse=True) == numbers
    lines = aegis(gateway, "search", "--kind", "decision", "--since", "ever", "--json").stdout.splitlines()
    assert numbers == [json.loads(line)["sequence"] for line in lines]
    one = told(gateway, staff, f"/api/v1/audit/{numbers[0]}").json
    assert json.loads(lines[0]) == one
    body = aegis(
        gateway, "search", "--kind", "decision", "--since", "ever", "--lines", "--limit", "1"
    ).stdout_bytes
    assert one["sha256"] == hashlib.sha256(body.rstrip(b"\n")).hexdigest()
    assert "go on with --below" in aegis(gateway, "search", "--limit", "1").stderr
    table = aegis(gateway, "search", "--rule", "never").stdout
    assert 2 == table.count("this one never may (never)")
    assert 2 == aegis(gateway, "search", "--kind", "odd").exit_code
    assert 404 == told(gateway, staff, "/api/v1/audit/99999").status
    assert 422 == told(gateway, staff, "/api/v1/audit?below=0").status


def test_tampering_is_named(gateway: Gateway, people: dict[str, Visitor], staff: Staff) -> None:
    """Whole at first; then page, API and command name what was changed, at its place, with their exit code."""
    sound = aegis(gateway, "verify", "--json")
    record = json.loads(sound.stdout)
    assert (0, True, []) == (sound.exit_code, record["is_sound"], record["faults"])
    newest = gateway.query(f"select max(sequence) as n from entry where tenant = '{TENANT}'")[0]["n"]
    assert (1, newest, newest, 6) == (record["first"], record["last"], record["entries"], record["calls"])
    page = text_of(people["au"].get("/audit/verified"))
    assert ("Nothing is wrong" in page, " fails</span>" in page) == (True, False)
    assert "from 2 to 3" in text_of(people["au"].get("/audit/verified?from=2&to=3"))
    entry = gateway.query(
        "select sequence, call from entry where type = 'settlement' order by sequence limit 1"
    )[0]
    with contextlib.closing(apsw.Connection(gateway.settings.store.removeprefix("sqlite:"))) as connection:
        connection.execute(
            "update call set cost_nano_usd = cost_nano_usd - 1 where call = ?", (entry["call"],)
        )
    try:
        found = aegis(gateway, "verify", "--json")
        record = json.loads(found.stdout)
        assert (3, False) == (found.exit_code, record["is_sound"])
        assert {"call", "sums"} == {each["check"] for each in record["faults"]}
        assert entry["sequence"] == record["faults"][0]["sequence"]
        assert (
            f"the first fault: entry {entry['sequence']}: it says cost_nano_usd"
            in aegis(gateway, "verify").stdout
        )
        api = told(gateway, staff, "/api/v1/audit/verification").json
        assert record["faults"] == api["faults"]
        page = text_of(people["au"].get("/audit/verified"))
        assert f'The first fault: <a href="/audit/{TENANT}/{entry["sequence"]}"' in page
        assert " fails</span>" in text_of(people["au"].get(f"/audit/{TENANT}/{entry['sequence']}"))
        other = json.loads(aegis(gateway, "verify", "--from", "1", "--to", "2", "--json").stdout)
        assert {"sums"} == {each["check"] for each in other["faults"]}  # of the hour that these are in
    finally:
        with contextlib.closing(
            apsw.Connection(gateway.settings.store.removeprefix("sqlite:"))
        ) as connection:
            connection.execute(
                "update call set cost_nano_usd = cost_nano_usd + 1 where call = ?", (entry["call"],)
            )
    assert 0 == aegis(gateway, "verify").exit_code


def test_a_version_that_was_changed_in_the_store(gateway: Gateway) -> None:
    """Is told at the first entry that it decided; the record itself holds."""
    with contextlib.closing(apsw.Connection(gateway.settings.store.removeprefix("sqlite:"))) as connection:
        guard = connection.execute(
            "select sql from sqlite_schema where name = 'config_version_is_append_only_u'"
        )
        text = str(guard.fetchall()[0][0])
        kept = str(connection.execute("select bundle from config_version where version = 1").fetchall()[0][0])
        connection.execute("drop trigger config_version_is_append_only_u")
        connection.execute(
            "update config_version set bundle = replace(bundle, 'local:test', 'local:who') where version = 1"
        )
        try:
            record = json.loads(aegis(gateway, "verify", "--json").stdout)
        finally:
            connection.execute("update config_version set bundle = ? where version = 1", (kept,))
            connection.execute(text)
    assert "version" in {each["check"] for each in record["faults"]}
    assert 1 == next(each["sequence"] for each in record["faults"] if each["check"] == "version")
    assert 0 == aegis(gateway, "verify").exit_code
