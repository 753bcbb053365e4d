"""The pages of policies and versions, on a gateway that has decided real calls under several versions."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest

from aegis_gateway.domain.money import nano_usd, usd_short
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import TENANT, Gateway
from tests.policed import policed

pytestmark = pytest.mark.xdist_group("policy-pages")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """Three versions, six calls, two tenants."""
    with policed() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Au audits acme, fin may roll back there, ana everywhere; zoe has no role."""
    found = Staff(gateway)
    found.add("au", Grant(role="auditor", tenant=TENANT))
    found.add("fin", Grant(role="finops", tenant=TENANT))
    found.add("zoe")
    return found


@pytest.fixture(scope="module")
def people(gateway: Gateway, staff: Staff) -> dict[str, Visitor]:
    """Each of them, signed in."""
    visitors = {person: Visitor(gateway) for person in staff.tokens}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    return visitors


def test_rules_and_what_they_did(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Each with its effect, mode, place, version and calls; the file has the same, and adds up to the ledger."""
    page = text_of(people["au"].get("/policies?range=24h"))
    spent = int(gateway.query("select sum(cost_nano_usd) as n from call")[0]["n"])
    for words in (
        "all-may", "let through 4", f"{usd_short(spent)} spent", "never", "refused 2", "this one never may", "capped 4",
        "would have refused 4", "in shadow", "none-dear", "1000", "policies/all.cedar:4", "aegis.yaml:",
        f"/calls?tenant={TENANT}&rule=never&since=24h",
    ):  # fmt: skip
        assert words in page, words
    answer = people["au"].get("/policies/table.csv?range=24h")
    rows = {(row["rule"], row["did"]): row for row in csv.DictReader(io.StringIO(answer.body.decode()))}
    assert ("4", spent) == (
        rows["all-may", "permitted"]["calls"],
        nano_usd(rows["all-may", "permitted"]["spent_usd"]),
    )
    assert ("2", "2") == (
        rows["never", "denied_by_policy"]["calls"],
        rows["never", "denied_by_policy"]["since_version"],
    )
    assert "1" == rows["quiet", "would deny"]["since_version"]
    sheet = people["au"].get("/policies/table.xlsx").body
    assert sheet.startswith(b"PK")
    filtered = text_of(people["au"].get("/policies?effect=deny&mode=enforce&q=dear"))
    assert ("none-dear" in filtered, "all-may" in filtered) == (True, False)


def test_a_rule_leads_to_its_calls(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Exactly those that it decided."""
    page = text_of(people["au"].get(f"/calls?tenant={TENANT}&rule=never&since=24h"))
    for row in gateway.query("select call, agent from call"):
        assert (row["agent"] == "barred") == (row["call"] in page)


def test_one_rule(people: dict[str, Visitor]) -> None:
    """Its own text and nothing else of the file, its calls, agents and past; in YAML and in Cedar; gone ones too."""
    page = text_of(people["ana"].get(f"/policies/{TENANT}/never"))
    for words in ('forbid(principal == Agent::"barred"', "refused 2", "barred", "Added", "version 2", "+ "):
        assert words in page, words
    assert "Who may do what here" not in page
    short = text_of(people["ana"].get(f"/policies/{TENANT}/short"))
    assert ("Changed" in short, '"80"' in short, "entries that name it" in short) == (True, True, True)
    dear = text_of(people["au"].get(f"/policies/{TENANT}/none-dear"))
    for words in (
        "YAML, aegis.yaml:",
        "when: {cost.maximum_usd",
        "The Cedar that it becomes",
        "nothing that dear",
    ):
        assert words in dear, words
    assert "the end of the rules" not in dear
    assert 404 == people["au"].get(f"/policies/{TENANT}/nothing").status
    for path in ("/policies/zeta/zbot", "/policies/zeta/never"):
        assert 404 == people["au"].get(path).status


def test_what_all_tenants_share(people: dict[str, Visitor]) -> None:
    """Who may not see all tenants is shown no text of it, on no page and in no file, and can't find it out by words."""
    rule, table = f"/policies/{TENANT}/never", "/policies/table.csv"
    one = text_of(people["au"].get(rule))
    for words in (
        "refused 2",
        "for all tenants",
        "shown to who may see them all",
        "policies/all.cedar:6",
        "Added",
    ):
        assert words in one, words
    for path in ("/policies", table, rule, "/policies/versions/2", "/policies/versions/3?against=1"):
        shown = text_of(people["au"].get(path))
        assert not [words for words in ("forbid(", "Agent::", "agent barred:", "@id(") if words in shown], (
            path
        )
    assert "written for all tenants" in text_of(people["au"].get("/policies/versions/2"))
    found = {name: text_of(people[name].get("/policies?q=Agent::")) for name in ("au", "ana")}
    assert {"au": False, "ana": True} == {name: f"/{TENANT}/never?" in page for name, page in found.items()}
    assert "Agent::" in text_of(people["ana"].get(rule))


def test_nothing_is_named_with_a_nul(staff: Staff, people: dict[str, Visitor]) -> None:
    """Which PostgreSQL has in no text: none is asked for, and a form's is kept as what stands for it."""
    assert 404 == people["au"].get(f"/policies/{TENANT}/ne%00ver").status
    assert 200 == people["au"].get("/policies?q=a%00").status
    bearer = {"authorization": f"Bearer {staff.tokens['au']}"}
    for path in ("/api/v1/audit?words=%00", "/api/v1/agents/%00"):
        assert 422 == people["au"].get(path, bearer).status
    done = people["au"].submit("/settings", "/views", name="a", address="/calls?agent=x\0")
    assert (303, "/calls?agent=x%EF%BF%BD") == (done.status, done.headers["location"])


def test_versions(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Each verified, with who and calls; what one changed in words and lines; nothing of a tenant that isn't one's."""
    page = text_of(people["au"].get("/policies/versions"))
    assert 3 == page.count("verified</span>")
    assert "in force" in page
    assert "not as it was signed" not in page
    one = text_of(people["ana"].get("/policies/versions/2"))
    for words in ("policies/all.cedar", 'added: </span>@id("never")', 'removed: </span>@id("short")'):
        assert words in one, words
    three = text_of(people["au"].get("/policies/versions/3"))
    assert "budget day: limit $5.00 → $6.00" in three
    assert "limit: 6.00" in three
    rows = list(csv.DictReader(io.StringIO(people["au"].get("/policies/versions/table.csv").body.decode())))
    assert [("3", "true", "1"), ("2", "true", "5"), ("1", "true", "")] == [
        (row["version"], row["intact"], row["calls"]) for row in rows
    ]
    against = text_of(people["ana"].get("/policies/versions/3?against=1"))
    assert ("→ $6.00" in against, 'added: </span>@id("never")' in against) == (True, True)
    first = text_of(people["au"].get("/policies/versions/1"))
    assert "There is more, about tenants that you may not see" in first
    for shown in (page, three, first):
        assert "zeta" not in shown
        assert "hidden purpose" not in shown
    assert "hidden purpose" in text_of(people["ana"].get("/policies/versions/1"))
    assert 404 == people["au"].get("/policies/versions/9").status
    assert "no version 9" in text_of(people["au"].get("/policies/versions/3?against=9"))
    calls = text_of(people["au"].get("/calls?version=3&since=ever"))
    assert 1 == calls.count('<th role="rowheader"')


def test_only_who_may_read_sees_anything(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """Strangers sign in first; who has no role sees no trace."""
    for path in ("/policies", "/policies/versions", f"/policies/{TENANT}/never", "/policies/versions/2"):
        assert 303 == Visitor(gateway).get(path).status
        shown = text_of(people["zoe"].get(path))
        assert ("never" in shown, "verified" in shown) == (False, False), path
    assert 404 == people["au"].get("/policies?tenant=zeta").status


def test_going_back(gateway: Gateway, people: dict[str, Visitor]) -> None:
    """By a form in one's own name, with a reason, on what one was shown; never by who may only look."""
    path = "/policies/versions/2"
    assert "That needs the role" in text_of(people["au"].get(path))
    csrf = {name: csrf_on(people[name].get("/policies")) for name in ("au", "fin")}
    form = {"note": "too generous", "based_on": "3"}
    assert 403 == people["fin"].post(path, form).status
    assert 403 == people["au"].post(path, {**form, "csrf": csrf["au"]}).status
    refused = text_of(people["au"].post(path, {**form, "csrf": csrf["au"]}))
    assert ("in each tenant that it would change" in refused, "zeta" in refused) == (True, False)
    assert 409 == people["fin"].post(path, {**form, "note": " ", "csrf": csrf["fin"]}).status
    assert 409 == people["fin"].post(path, {**form, "based_on": "2", "csrf": csrf["fin"]}).status
    assert 3 == gateway.query("select max(version) as n from config_version")[0]["n"]
    shown = text_of(people["fin"].get(path))
    assert "budget day: limit $6.00 → $5.00" in shown
    done = people["fin"].submit(path, path, **form)
    assert (303, "/policies/versions/4") == (done.status, done.headers["location"])
    page = text_of(people["au"].get("/policies/versions/4"))
    for words in ("back to version 2", "too generous", "by fin", "budget day: limit $6.00 → $5.00"):
        assert words in page, words
