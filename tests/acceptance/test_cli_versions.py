"""`aegis versions` and `aegis rollback`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aegis_gateway.configuration.packs import write_pack
from aegis_gateway.entrypoints.cli.main import build


class Place:
    """A directory and a store."""

    def __init__(self, directory: Path) -> None:
        self.conf = directory / "conf"
        self.store = f"sqlite:{directory / 'aegis.db'}"
        write_pack(self.conf)

    def aegis(self, *arguments: str | Path) -> Result:
        """Run a command."""
        return CliRunner().invoke(
            build(),
            [*map(str, arguments), "--store", self.store],
            env={"AEGIS_ACTOR": "ana", "COLUMNS": "140"},
        )

    def limit(self, dollars: str) -> None:
        """Change what loan-bot may spend in a day, and apply it."""
        file = self.conf / "aegis.yaml"
        file.write_text(file.read_text().replace("limit: 5.00", f"limit: {dollars}", 1))
        assert 0 == self.aegis("apply", self.conf, "--yes", "--note", f"to {dollars}").exit_code

    def versions(self) -> list[dict[str, object]]:
        """All of them, for programs."""
        found: list[dict[str, object]] = json.loads(self.aegis("versions", "--json").stdout)["versions"]
        return found

    def spendable(self) -> int:
        """What loan-bot may spend in a day."""
        (record,) = json.loads(self.aegis("budget", "loan-day", "--json").stdout)["budgets"] or [{"limit": 0}]
        return int(record["limit"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The example, applied, and then with another limit."""
    place = Place(tmp_path)
    assert 0 == place.aegis("apply", place.conf, "--yes").exit_code
    place.limit("7.50")
    return place


def test_what_was_applied(place: Place) -> None:
    """By whom, when and why, the newest first; the same files have the same digest."""
    newest, oldest = place.versions()
    assert (2, True, "local:ana", "to 7.50") == tuple(
        newest[name] for name in ("version", "in_force", "applied_by", "note")
    )
    assert (1, False, "") == (oldest["version"], oldest["in_force"], oldest["note"])
    assert newest["files_sha256"] != oldest["files_sha256"]
    told = place.aegis("versions").output
    assert "in force" in told.splitlines()[1]
    assert "to 7.50" in told


def test_going_back(place: Place) -> None:
    """It is a version of its own, with the files of the one before; the record says whose they are."""
    told = place.aegis("rollback", "--yes", "--note", "too much")
    assert 0 == told.exit_code, told.output
    assert "$7.50" in told.output
    assert "$5.00" in told.output
    third, second, first = place.versions()
    assert third["files_sha256"] == first["files_sha256"] != second["files_sha256"]
    assert (3, "too much") == (third["version"], third["note"])
    entries = [json.loads(line) for line in place.aegis("entries").stdout.splitlines()]
    assert (3, 1, "too much") == tuple(entries[-1][name] for name in ("config_version", "back_to", "note"))
    assert 0 == place.aegis("rollback", "2", "--yes").exit_code
    assert place.versions()[0]["files_sha256"] == second["files_sha256"]


def test_going_nowhere(place: Place) -> None:
    """What is in force already changes nothing, and what never was is told."""
    told = place.aegis("rollback", "2", "--yes")
    assert (0, 2) == (told.exit_code, len(place.versions()))
    told = place.aegis("rollback", "9", "--yes")
    assert (1, True) == (told.exit_code, "there is no configuration `9`" in told.output)
    told = place.aegis("rollback")
    assert (1, True) == (told.exit_code, "nobody to ask" in told.output)
    assert 2 == len(place.versions())


def test_nothing_to_go_back_to(tmp_path: Path) -> None:
    """The first version has none before it."""
    place = Place(tmp_path)
    assert 1 == place.aegis("rollback", "--yes").exit_code
    assert 0 == place.aegis("apply", place.conf, "--yes").exit_code
    told = place.aegis("rollback", "--yes")
    assert (1, True) == (told.exit_code, "there is no configuration `0`" in told.output)


def test_it_is_not_held_up(place: Place) -> None:
    """Tests that fail, or a lint that has become stricter, are no reason not to go back in an emergency."""
    policy = place.conf / "policies" / "10-starting-pack.cedar"
    policy.write_text(
        policy.read_text() + '@id("odd")\nforbid(principal, action, resource) when { 1 > 2 };\n'
    )
    assert 1 == place.aegis("apply", place.conf, "--yes").exit_code
    assert 0 == place.aegis("rollback", "--yes").exit_code


@pytest.mark.parametrize("note", ["x" * 501, "two\nlines"])
def test_a_note_that_is_none(place: Place, note: str) -> None:
    """It is one line, of a bounded length."""
    assert 2 == place.aegis("rollback", "--yes", "--note", note).exit_code
    assert 2 == len(place.versions())
