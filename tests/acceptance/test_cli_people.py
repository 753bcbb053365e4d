"""`aegis people`, and what the other commands ask for once there are some."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.installations import Installation


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The example, applied, with ana, its first admin; tests work on copies."""
    house = Installation(tmp_path_factory.mktemp("first"))
    house.aegis("apply", str(house.conf), "--yes")
    house.add("ana", "--role", "admin", "--name", "Ana Alvarez")
    return house


@pytest.fixture
def house(first: Installation, tmp_path: Path) -> Installation:
    """One of the test's own."""
    return first.copy(tmp_path / "house")


def test_nobody_is_registered(tmp_path: Path) -> None:
    """It says so, and what to do."""
    house = Installation(tmp_path)
    house.aegis("apply", str(house.conf), "--yes")
    assert "whoever can open the store may do everything" in house.aegis("people", "list")[1]
    assert {"people": []} == house.json("people", "list")
    assert "local:os-user" == house.json("versions")["versions"][0]["applied_by"]


def test_who_did_it_is_in_the_record(house: Installation) -> None:
    """Whoever applies, rolls back, issues keys and changes agents is named by their id, and `versions` shows it."""
    house.add("ben", "--role", "finops", by="ana")
    house.edit("limit: 5.00", "limit: 7.50")
    house.aegis("apply", str(house.conf), "--yes", who="ben")
    house.aegis("rollback", "--yes", who="ana")
    key = house.json("key", "issue", "loan-bot", who="ben")["key"]
    house.aegis("key", "throttle", key, "5/1s", who="ben")
    house.aegis("key", "revoke", key, "--reason", "it leaked", who="ana")
    assert "it leaked" == house.entries()[-1]["reason"]
    assert ["ana", "ben", "local:os-user"] == [
        each["applied_by"] for each in house.json("versions")["versions"]
    ]
    assert "  ben  " in house.aegis("versions")[0]
    told = [(entry["actor"], entry["type"]) for entry in house.entries()[-5:]]
    assert [
        ("ben", "configuration"),
        ("ana", "configuration"),
        ("ben", "key"),
        ("ben", "key"),
        ("ana", "key"),
    ] == told


@pytest.mark.parametrize(
    "command",
    [
        ["apply", "{conf}", "--yes"],
        ["rollback", "1", "--yes"],
        ["key", "issue", "loan-bot"],
        ["key", "hold", "loan-bot", "--reason", "odd"],
        ["key", "restore", "loan-bot"],
        ["agent", "add", "x", *("--team=lending", "--owner=a", "--cost-centre=c", "--purpose=p")],
        ["people", "add", "eve", "--role", "admin"],
        ["people", "token", "issue", "ana"],
        ["people", "suspend", "ana"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_commands_that_change_anything_need_a_role(house: Installation, command: list[str]) -> None:
    """Without a token, or with one of a person who lacks the role, nothing is changed: exit code 3, and what to do."""
    if command[:2] == ["agent", "add"]:
        command = [*command, "--environment=production"]
    house.edit("limit: 5.00", "limit: 7.50")
    if command[0] == "rollback":
        house.aegis("apply", str(house.conf), "--yes", who="ana")
    house.add("ben", "--role", "viewer", by="ana")
    before = house.entries()
    arguments = [each.format(conf=house.conf) for each in command]
    _, told = house.aegis(*arguments, code=3)
    assert "refused: people are registered here, so this needs the token of one who is admin" in told
    assert "aegis people token issue PERSON" in told
    _, told = house.aegis(*arguments, who="ben", code=3)
    assert "refused: `ben` may not " in told
    assert "that needs the role admin" in told
    assert "aegis people grant ben " in told
    assert before == house.entries()


def test_reading_needs_no_token(house: Installation) -> None:
    """Whoever may read the database file may read what is in it."""
    for command in (
        ["plan", str(house.conf)],
        ["budget"],
        ["calls"],
        ["entries"],
        ["people", "list"],
        ["key", "list"],
    ):
        house.aegis(*command)


def test_a_token_in_a_file(house: Installation) -> None:
    """A reference does as well as the token itself; what can't be read is told."""
    secret = house.directory / "ana.token"
    secret.write_text(house.tokens["ana"] + "\n")
    house.tokens["file"] = f"file:{secret}"
    house.aegis("key", "issue", "loan-bot", who="file")
    house.tokens["file"] = "file:/nowhere"
    assert "`file:/nowhere` cannot be read" in house.aegis("key", "issue", "loan-bot", who="file", code=1)[1]
    house.tokens["bad"] = "aegis_person_123"
    assert "was it cut or mistyped?" in house.aegis("key", "issue", "loan-bot", who="bad", code=3)[1]


def test_a_token_that_nobody_else_sees(house: Installation) -> None:
    """Its person makes it, and an admin registers its request, from which it can't be told."""
    house.aegis("people", "add", "ben", "--role", "finops", who="ana")
    secret, told = house.aegis("people", "token", "new")
    request = told.split("--request ")[1].split("`")[0]
    assert secret.strip() not in told
    house.tokens["ben"] = secret.strip()
    assert "not known here" in house.aegis("key", "issue", "loan-bot", who="ben", code=3)[1]
    issued = house.aegis("people", "token", "issue", "ben", "--request", request, who="ana")
    assert ("", True) == (issued[0], "for ben" in issued[1])
    house.aegis("key", "issue", "loan-bot", who="ben")
    (ben,) = [each for each in house.json("people", "list")["people"] if each["person"] == "ben"]
    assert [([], f"aegis_person_…{secret.strip()[-4:]}")] == [
        (token["seen_by"], token["hint"]) for token in ben["tokens"]
    ]
    assert "no token's request" in house.aegis("people", "token", "issue", "ben", "--request", "x", code=2)[1]


def test_people_come_and_go(house: Installation) -> None:
    """Roles are given and taken, people suspended and back, tokens revoked; the list tells."""
    house.add("ben", "--role", "viewer", "--role", "auditor", by="ana")
    house.aegis("people", "grant", "ben", "finops", who="ana")
    house.aegis("people", "withdraw", "ben", "viewer", who="ana")
    ana, ben = house.json("people", "list")["people"]
    assert ("Ana Alvarez", "active", [{"role": "admin", "tenant": "*"}]) == (
        ana["name"],
        ana["state"],
        ana["roles"],
    )
    assert ["auditor", "finops"] == [each["role"] for each in ben["roles"]]
    assert "auditor in northbank, finops in northbank" in house.aegis("people", "list")[0]
    house.aegis("people", "suspend", "ben", who="ana")
    assert "suspended" in house.aegis("people", "list")[0]
    assert "`ben` is suspended" in house.aegis("key", "issue", "loan-bot", who="ben", code=3)[1]
    house.aegis("people", "resume", "ben", who="ana")
    house.aegis("people", "token", "revoke", ben["tokens"][0]["token"], who="ben")
    assert "no token" in house.aegis("people", "list")[0]
    assert "nobody would be left" in house.aegis("people", "suspend", "ana", who="ana", code=3)[1]
    assert "did you mean `finops`" in house.aegis("people", "grant", "ben", "finop", who="ana", code=2)[1]
    assert "never by itself" in house.aegis("people", "token", "revoke", house.tokens["ben"], code=2)[1]


def test_what_roles_may(house: Installation) -> None:
    """The table, for people and programs."""
    assert "put a configuration in force" in house.aegis("people", "roles")[0]
    assert ["admin", "finops"] == house.json("people", "roles")["permissions"]["apply"]


def test_a_link_into_the_pages(house: Installation) -> None:
    """Its address is all that is printed; who makes one for somebody else has to be an admin, and is in the record."""
    house.add("ben", "--role", "approver", by="ana")
    url, told = house.aegis("people", "link", "ben", who="ana")
    assert url.startswith("http://127.0.0.1:8700/sign-in?link=")
    assert "works once" in told
    assert {"person", "url", "expires"} == set(house.json("people", "link", "ben", who="ben"))
    assert "may not add people" in house.aegis("people", "link", "ana", who="ben", code=3)[1]
    assert "there is no person `eve`" in house.aegis("people", "link", "eve", who="ana", code=1)[1]
    entries = [entry for entry in house.entries() if entry.get("act") == "issue_link"]
    assert [("ana", "ben"), ("ben", "ben")] == [(entry["actor"], entry["person"]) for entry in entries]
    assert url.rpartition("=")[2].strip() not in str(entries)
