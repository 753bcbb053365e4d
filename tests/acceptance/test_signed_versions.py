"""Versions that are signed, verified wherever they are loaded, and exchanged under load."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from typer.testing import CliRunner, Result

from aegis_gateway.configuration.packs import write_pack
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.entrypoints.cli.main import build
from tests.gateways import Files, Gateway, ask, at_once, chat, chat_body, configuration, until
from tests.servers import PostgresServer

VERSIONS = 10
CALLS = 400


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamProcess]:
    """The bundled provider."""
    with UpstreamProcess() as upstream:
        yield upstream


class Place:
    """The example, applied twice, in a store."""

    def __init__(self, directory: Path) -> None:
        self.conf = directory / "conf"
        self.database = directory / "aegis.db"
        self.key = directory / "signing-key.pem"
        write_pack(self.conf)
        self.apply()
        self.apply("# another\n")

    def aegis(self, *arguments: str | Path) -> Result:
        """Run a command."""
        return CliRunner().invoke(
            build(),
            list(map(str, arguments)),
            env={"AEGIS_STORE": f"sqlite:{self.database}", "AEGIS_SIGNING_KEY": "", "COLUMNS": "200"},
        )

    def apply(self, more: str = "") -> None:
        """Apply the example with something at its end."""
        file = self.conf / "aegis.yaml"
        file.write_text(file.read_text() + more)
        applied = self.aegis("apply", self.conf, "--yes")
        assert 0 == applied.exit_code, applied.output

    def tamper(self, sql: str) -> None:
        """Change the database behind the product's back."""
        tamper(self.database, sql)

    def problems(self) -> list[tuple[int, str]]:
        """What `aegis versions verify` finds."""
        verified = self.aegis("versions", "verify", "--json")
        found = json.loads(verified.stdout)["problems"]
        assert verified.exit_code == (3 if found else 0)
        return [(each["version"], each["problem"]) for each in found]


def tamper(database: Path, sql: str) -> None:
    """Change a database that says that it can't be changed."""
    connection = apsw.Connection(str(database))
    connection.execute("drop trigger config_version_is_append_only_u")
    connection.execute("drop trigger config_version_is_append_only_d")
    connection.execute(sql)
    connection.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two versions."""
    return Place(tmp_path)


def test_versions_as_they_were_signed(place: Place) -> None:
    """All are; the key was made for them, readable by its owner only."""
    verified = place.aegis("versions", "verify")
    assert 0 == verified.exit_code, verified.output
    assert "all 2 are as they were signed" in verified.output
    assert "public key id " in verified.output
    assert 0o600 == place.key.stat().st_mode & 0o777
    assert [] == place.problems()


def test_a_version_is_never_changed(place: Place) -> None:
    """The database itself refuses."""
    connection = apsw.Connection(str(place.database))
    for sql in ("update config_version set bundle = '{}'", "delete from config_version"):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            connection.execute(sql)


@pytest.mark.parametrize(
    ("sql", "version", "words"),
    [
        ("set bundle = replace(bundle, '20.00', '90.00')", 2, "not what was signed"),
        ("set bundle = replace(bundle, 'another', 'xnother')", 2, "not what was signed"),
        ("set bundle = '{}'", 2, "signed by nobody"),
        ("set version = 3", 3, "signed by nobody"),
        ("set beside = 1", 2, "signed by nobody"),
    ],
)  # fmt: skip
def test_a_forged_version(place: Place, sql: str, version: int, words: str) -> None:
    """Nothing runs on it, each command names it, and going back to an intact one works."""
    place.tamper(f"update config_version {sql} where version = 2")
    for command in (["plan", str(place.conf)], ["apply", str(place.conf), "--yes"], ["budget"], ["up"]):
        told = place.aegis(*command)
        assert 1 == told.exit_code, told.output
        assert f"configuration {version}" in told.output
        assert words in told.output
    assert version in {number for number, _ in place.problems()}
    back = place.aegis("rollback", "1", "--yes")
    assert 0 == back.exit_code, back.output
    assert 0 == place.aegis("budget").exit_code


def test_a_version_that_was_taken_away(place: Place) -> None:
    """The record knows of it, and so does whatever followed it."""
    place.tamper("delete from config_version where version = 2")
    assert [(2, "the record says that it was applied, and it is not there")] == place.problems()


def test_an_older_one_that_was_taken_away(place: Place) -> None:
    """The next one says that something stood before it."""
    place.tamper("delete from config_version where version = 1")
    assert [
        (2, "what was applied before it is not there: 1"),
        (1, "the record says that it was applied, and it is not there"),
    ] == place.problems()


def test_another_key(place: Place) -> None:
    """A version that a stranger signed is none; with the old public key beside it, old versions count again."""
    old = place.key.read_text()
    place.key.unlink()
    assert "AEGIS_SIGNING_KEY says where" in place.aegis("budget").output
    from cryptography.hazmat.primitives import serialization

    from aegis_gateway.adapters.signing import new_private_key

    place.key.write_text(new_private_key())
    told = place.aegis("budget")
    assert (1, True) == (told.exit_code, "was signed by key" in told.output)
    public = serialization.load_pem_private_key(old.encode(), None).public_key()
    place.key.write_text(
        place.key.read_text()
        + public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()
    )
    assert 0 == place.aegis("budget").exit_code
    place.apply("# by the new key\n")
    assert [] == place.problems()


def test_a_gateway_keeps_what_was_good(upstream: UpstreamProcess) -> None:
    """While the version in force is forged the last good one decides, `/readyz` says so, and nothing starts on it."""
    files = configuration(upstream.base_url)
    with Gateway(files) as gateway:
        key = gateway.key()
        assert 200 == chat(gateway, "hello", key=key).status
        forged = "update config_version set bundle = replace(bundle, 'permit(', 'forbid(')"
        tamper(gateway.data / "aegis.db", forged)
        other = gateway.issue()  # raises the epoch, so that the gateway reads again
        assert [200, 200] == [chat(gateway, "hello", key=each).status for each in (other.secret, key)]
        warning = ask(gateway, "GET", "/readyz").json["warning"]
        assert "configuration 1 in the store is not what was signed" in warning
        assert "configuration 1 goes on" in warning
        assert warning in gateway.log()
        gateway.stop()
        with pytest.raises(AssertionError, match="configuration 1 in the store is not what was signed"):
            gateway.start()


def numbered(upstream: str, number: int) -> Files:
    """The same configuration with another text, so that each is a version."""
    files = configuration(upstream)
    return {**files, "aegis.yaml": files["aegis.yaml"] + f"# {number}\n"}


def test_ten_versions_under_load(upstream: UpstreamProcess) -> None:
    """Every call is answered, and each decision names the version that was in force when it was written."""
    with Gateway(numbered(upstream.base_url, 0), workers=2) as gateway:
        key = gateway.key()
        applied = threading.Event()

        def apply_all() -> None:
            for number in range(1, VERSIONS + 1):
                gateway.apply(numbered(upstream.base_url, number))
                decided = gateway.count()
                until(lambda before=decided: gateway.count() >= before + 5, "no call is decided")  # type: ignore[misc]
            applied.set()

        applying = threading.Thread(target=apply_all)
        applying.start()
        statuses: set[int | None] = set()
        while not applied.is_set():
            answers = at_once(
                (gateway, "POST", "/v1/chat/completions", chat_body("hello"), key) for _ in range(50)
            )
            statuses |= {answer.status if answer is not None else None for answer in answers}
        applying.join()
        assert {200} == statuses
        in_force = 0
        decided: dict[int, int] = {}
        for entry in gateway.entries():
            if entry["type"] == "configuration":
                in_force = entry["config_version"]
            elif entry["type"] == "decision":
                assert in_force == entry["config_version"]
                decided[in_force] = decided.get(in_force, 0) + 1
        assert set(range(2, VERSIONS + 2)) == decided.keys() - {1}


def test_idle_gateways_take_over_a_new_version(
    upstream: UpstreamProcess, postgres_server: PostgresServer
) -> None:
    """Two processes on one PostgreSQL that nobody calls have it, by themselves."""
    url = postgres_server.new_database()
    try:
        with (
            Gateway(numbered(upstream.base_url, 0), store=url) as one,
            Gateway(None, store=url) as other,
        ):
            one.apply(numbered(upstream.base_url, 1))
            for gateway in (one, other):
                until(
                    lambda asked=gateway: ask(asked, "GET", "/readyz").json["config_version"] == 2,  # type: ignore[misc]
                    "the new version does not arrive",
                )
    finally:
        postgres_server.drop_database(url)
