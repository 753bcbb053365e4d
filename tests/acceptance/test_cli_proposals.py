"""Four eyes, by real commands: what is proposed, by whom it is approved, and what one person alone can't do."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from aegis_gateway import bootstrap
from aegis_gateway.adapters.stores import open_store
from tests.installations import Installation

PROPOSED = 4


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The example with four eyes set: ana and dee are admins, fin may propose, ben approve; tests work on copies."""
    house = Installation(tmp_path_factory.mktemp("first"))
    house.aegis("apply", str(house.conf), "--yes")
    house.add("ana", "--role", "admin")
    house.add_apart("dee", "--role", "admin", "--tenant", "*", by="ana")
    house.add_apart("fin", "--role", "finops", by="ana")
    house.add_apart("ben", "--role", "approver", by="ana")
    house.edit("    name: North Bank\n", "    name: North Bank\n    changes: {four_eyes: true}\n")
    house.aegis("apply", str(house.conf), "--yes", who="ana")
    return house


@pytest.fixture
def house(first: Installation, tmp_path: Path) -> Installation:
    """One of the test's own."""
    return first.copy(tmp_path / "house")


def apply(house: Installation, who: str, *options: str, code: int = 0) -> tuple[str, str]:
    """Apply the files as they are now."""
    return house.aegis("apply", str(house.conf), "--yes", *options, who=who, code=code)


def limit(house: Installation) -> int:
    """What loan-bot may spend in a day, as it is in force."""
    with closing(open_store(f"sqlite:{house.directory / 'aegis.db'}", read_only=True)) as store:
        config = store.state().config
    assert config is not None
    return bootstrap.configuration(config.files).registries["northbank"].budgets["loan-day"].limit


def test_from_the_proposal_to_the_version(house: Installation) -> None:
    """It is planned, proposed, listed, shown, approved; versions and record name both."""
    before = limit(house)
    house.edit("limit: 5.00", "limit: 7.50")
    planned = house.json("plan", str(house.conf))
    assert ("widening", ["northbank"]) == (planned["risk"]["level"], planned["risk"]["needs_two"])
    assert "! budget loan-day: limit is higher" in house.aegis("plan", str(house.conf))[0]
    _, told = apply(house, "fin", "--note", "more loans", code=PROPOSED)
    assert "proposal 1 is made; nothing is changed yet" in told
    assert (before, 2) == (limit(house), len(house.json("versions")["versions"]))
    (listed,) = house.json("proposals")["proposals"]
    assert ("open", "fin", "more loans", 2, False) == tuple(
        listed[name] for name in ("state", "author", "note", "based_on", "overtaken")
    )
    shown, _ = house.aegis("proposals", "show", "1")
    assert "limit $5.00 → $7.50" in shown
    assert "more loans" in shown
    files = house.json("proposals", "show", "1")["files"]
    assert (house.conf / "aegis.yaml").read_text() == files["aegis.yaml"]
    # What the author's directory has become since is nobody's matter.
    house.edit("limit: 7.50", "limit: 99.00")
    _, told = house.aegis("proposals", "approve", "1", "--yes", "--note", "seen", who="ben")
    assert "configuration 3 is in force; it is proposal 1 of fin" in told
    assert 7_500_000_000 == limit(house)
    newest = house.json("versions")["versions"][0]
    assert ("fin", "ben", "more loans", "widening") == tuple(
        newest[name] for name in ("applied_by", "approved_by", "note", "risk")
    )
    assert "fin + ben" in house.aegis("versions")[0]
    assert "nothing waits" in house.aegis("proposals")[1]
    assert "fin + ben" in house.aegis("proposals", "--all")[0]
    assert "approved: fin + ben" in house.aegis("proposals", "show", "1")[0]
    acts = [(entry["actor"], entry["act"]) for entry in house.entries() if entry["type"] == "proposal"]
    assert [("fin", "propose"), ("ben", "approve")] == acts
    assert "is approved by `ben`" in house.aegis("proposals", "approve", "1", "--yes", who="dee", code=3)[1]


def test_programs_are_told_apart(house: Installation) -> None:
    """What was proposed has an exit code of its own, and no version."""
    house.edit("limit: 5.00", "limit: 7.50")
    first = house.json("apply", str(house.conf), "--yes", who="fin", code=PROPOSED)
    assert (None, 1) == (first["version"], first["proposal"])
    done = house.json("proposals", "approve", "1", "--yes", who="ben")
    assert (3, None) == (done["version"], done["proposal"])


def test_what_narrows_goes_at_once(house: Installation) -> None:
    """A lower limit, a new denial and a new agent need nobody else; plan says so."""
    house.edit("limit: 5.00", "limit: 4.00")
    denial = '@id("never") forbid(principal, action == Action::"payments.create-payment", resource);\n'
    (house.conf / "policies" / "30-more.cedar").write_text(denial)
    (house.conf / "policies" / "tests" / "payments.yaml").unlink()
    planned, told = house.aegis("plan", str(house.conf))
    assert ("risk: narrowing" in planned, "second person" in told) == (True, False)
    assert "configuration 3 is in force" in apply(house, "fin")[1]


def test_the_setting_can_not_be_switched_off_alone(house: Installation) -> None:
    """Nor by taking the tenant away; what was in force before counts."""
    house.edit("four_eyes: true", "four_eyes: false")
    apply(house, "ana", code=PROPOSED)
    assert "is `ana`'s own" in house.aegis("proposals", "approve", "1", "--yes", who="ana", code=3)[1]
    house.aegis("proposals", "approve", "1", "--yes", who="ben")
    house.edit("limit: 5.00", "limit: 50.00")
    apply(house, "ana")


def test_going_back(house: Installation) -> None:
    """A rollback that widens is proposed too, and says whose files it puts in force."""
    house.edit("limit: 5.00", "limit: 4.00")
    apply(house, "fin")
    _, told = house.aegis("rollback", "--yes", "--note", "too low", who="fin", code=PROPOSED)
    assert "proposal 1 is made" in told
    house.aegis("proposals", "approve", "1", "--yes", who="ben")
    assert 2 == house.entries()[-1]["back_to"]
    assert 5_000_000_000 == limit(house)


def test_an_emergency(house: Installation) -> None:
    """An admin's goes at once, with a reason, and is listed until another person has reviewed it."""
    house.edit("limit: 5.00", "limit: 7.50")
    assert "needs its reason" in apply(house, "ana", "--emergency", code=2)[1]
    told = apply(house, "fin", "--emergency", "--note", "fire", code=3)[1]
    assert "that needs the role admin" in told
    apply(house, "ana", "--emergency", "--note", "fire")
    assert 7_500_000_000 == limit(house)
    assert "emergency, unreviewed" in house.aegis("proposals")[0]
    assert "is `ana`'s own" in house.aegis("proposals", "review", "1", "--note", "ok", who="ana", code=3)[1]
    assert "reviewed" in house.aegis("proposals", "review", "1", "--note", "it burned", who="dee")[0]
    assert "nothing waits" in house.aegis("proposals")[1]
    assert "emergency, reviewed" in house.aegis("proposals", "--all")[0]
    house.aegis("rollback", "2", "--yes", "--emergency", "--note", "again", who="dee")


def test_overtaken(house: Installation) -> None:
    """What was based on a version that is not in force any more says so, and isn't approved."""
    house.edit("limit: 5.00", "limit: 7.50")
    apply(house, "fin", code=PROPOSED)
    house.edit("limit: 7.50", "limit: 4.00")
    apply(house, "fin")
    assert "open, but overtaken" in house.aegis("proposals")[0]
    assert "has to be proposed anew" in house.aegis("proposals", "show", "1")[1]
    assert "to propose it anew" in house.aegis("proposals", "approve", "1", "--yes", who="ben", code=1)[1]
    assert 4_000_000_000 == limit(house)
    assert "refused" in house.aegis("proposals", "refuse", "1", "--reason", "too late", who="ben")[0]


def test_who_is_asked_nothing(house: Installation) -> None:
    """Without a terminal and without --yes nothing is approved; unknown numbers are told."""
    house.edit("limit: 5.00", "limit: 7.50")
    apply(house, "fin", code=PROPOSED)
    assert "nobody to ask" in house.aegis("proposals", "approve", "1", who="ben", code=1)[1]
    assert "no proposal `2`" in house.aegis("proposals", "approve", "2", "--yes", who="ben", code=1)[1]
    assert "needs the token" in house.aegis("proposals", "approve", "1", "--yes", code=3)[1]


def test_an_agent_that_is_there(house: Installation) -> None:
    """It is added by one person; changed, it goes the way of all changes."""
    add = ("agent", "add", "helper", "--owner", "ann", "--cost-centre", "CC-1001", "--team", "lending")
    house.aegis(*add, "--purpose", "helps", "--environment", "production", who="fin")
    rows = house.directory / "agents.csv"
    rows.write_text(
        "id,owner,team,cost_centre,purpose,environment\nhelper,ann,lending,CC-1001,pays,production\n"
    )
    assert "two people are needed" in house.aegis("agent", "import", str(rows), who="fin", code=3)[1]


def test_who_was_made_up_since(house: Installation) -> None:
    """Whoever is registered now doesn't approve what those propose who registered them."""
    house.add_apart("ghost", "--role", "approver", by="ana")
    house.edit("limit: 5.00", "limit: 7.50")
    apply(house, "ana", code=PROPOSED)
    assert (
        "registered by the other" in house.aegis("proposals", "approve", "1", "--yes", who="ghost", code=3)[1]
    )
    house.aegis("proposals", "approve", "1", "--yes", who="ben")
