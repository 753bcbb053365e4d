"""People signed in to the pages, on every store."""

from __future__ import annotations

import threading

import msgspec
import pytest

from aegis_gateway.adapters.sessions import StoredSessions
from aegis_gateway.application.operators import Caller, Operators
from aegis_gateway.application.ports import Store
from aegis_gateway.application.sessions import Begun, Sessions, secret_digest
from aegis_gateway.domain.keys import key_hash, token_digest
from aegis_gateway.domain.session import KEPT_NS, LINK_NS, SESSION_NS
from tests.houses import ADMIN, PEPPER, House, grant, refused
from tests.ledgers import Database, TurnableClock


@pytest.fixture
def house(store: Store) -> House:
    """With one admin, ana, and ben, who has a token that nobody else has seen."""
    house = House(store)
    house.add("ana", ADMIN, by="")
    house.add_apart("ben", grant("approver"))
    return house


@pytest.fixture
def sessions(house: House) -> Sessions:
    """Signing in and out."""
    return Sessions(house.store, PEPPER, house.random)


def by_token(house: House, sessions: Sessions, person: str) -> Begun:
    """Somebody signs in with their token."""
    return sessions.begin_by_token(house.secrets[person] or "")


def acts(house: House, begun: Begun) -> tuple[str, tuple[str, ...]]:
    """In whose name something is done with a session, and everybody whose word it can be."""
    caller = Caller(session=secret_digest("session", begun.secret, PEPPER))
    with Operators(house.store, PEPPER, caller).act("approve", ["acme"]) as act:
        act.require(["acme"])
        return act.operator.name, act.operator.behind


def test_a_session_is_its_persons_word(house: House, sessions: Sessions, reader: Store) -> None:
    """What comes back is what began; the word is worth what the token's is."""
    begun = by_token(house, sessions, "ben")
    found = StoredSessions(reader.query).signed_in(begun.session.hash)
    assert found is not None
    assert (begun.session, "ben", begun.session.token) == (
        found.session,
        found.person.id,
        found.token.id if found.token else None,
    )
    assert ("ben", ("ben",)) == acts(house, begun)
    assert ("ana", ("ana", "local")) == acts(house, by_token(house, sessions, "ana"))
    assert begun.secret.encode() != begun.session.hash
    assert StoredSessions(reader.query).signed_in(b"x" * 32) is None


def test_a_tokens_holder(house: House, reader: Store) -> None:
    """Is found by the token's hash."""
    stored = StoredSessions(reader.query)
    found = stored.token_holder(key_hash(token_digest(house.secrets["ben"] or ""), PEPPER))
    assert ("ben", ()) == (found and found[0].id, found and found[1].seen_by)
    assert stored.token_holder(b"x" * 32) is None
    assert stored.has_people()


def test_what_ends_a_session(house: House, sessions: Sessions, clock: TurnableClock) -> None:
    """Signing out, its token, its person, its time: each for the very next act."""
    begun = by_token(house, sessions, "ben")
    sessions.end(begun.secret)
    sessions.end(begun.secret)
    sessions.end("nobody's")
    assert "you have signed out" == refused(lambda: acts(house, begun))
    begun = by_token(house, sessions, "ben")
    house.people("ana").suspend("ben")
    assert "is suspended" in refused(lambda: acts(house, begun))
    assert "is suspended" in refused(lambda: by_token(house, sessions, "ben"))
    house.people("ana").resume("ben")
    assert ("ben", ("ben",)) == acts(house, begun)
    house.people("ana").revoke_token(begun.session.token or "")
    assert "was revoked" in refused(lambda: acts(house, begun))
    begun = by_token(house, sessions, "ana")
    clock.turn(SESSION_NS - 1)
    assert "ana" == acts(house, begun)[0]
    clock.turn(1)
    assert "for as long as that lasts" in refused(lambda: acts(house, begun))
    assert "not signed in" in refused(lambda: acts(house, Begun(session=begun.session, secret="x")))


def test_a_link_works_once_and_not_for_long(house: House, sessions: Sessions, clock: TurnableClock) -> None:
    """Whoever made it may have used it."""
    link = house.people("ben").issue_link("ben").secret
    assert ("ben", ("ben",)) == acts(house, sessions.begin_by_link(link))
    assert "works once" in refused(lambda: sessions.begin_by_link(link))
    assert "not known" in refused(lambda: sessions.begin_by_link("x"))
    link = house.people("ana").issue_link("ben").secret
    clock.turn(LINK_NS - 1)
    assert ("ben", ("ana", "ben", "local")) == acts(house, sessions.begin_by_link(link))
    link = house.people("ana").issue_link("ben").secret
    clock.turn(LINK_NS)
    assert "too old" in refused(lambda: sessions.begin_by_link(link))
    assert "may not add people" in refused(lambda: house.people("ben").issue_link("ana"))
    told = [(entry["actor"], entry["person"]) for entry in house.entries() if entry["act"] == "issue_link"]
    assert [("ben", "ben"), ("ana", "ben"), ("ana", "ben")] == told
    assert link not in str(house.entries())


def test_of_two_with_one_link_at_once_one_is_signed_in(
    house: House, database: Database, clock: TurnableClock
) -> None:
    """Whoever comes while another is being signed in waits for that, and is told that the link was used."""
    secret = house.people("ben").issue_link("ben").secret
    other = Sessions(database.open(clock, keep=False), PEPPER, house.random)
    said: list[str] = []
    second = threading.Thread(target=lambda: said.append(refused(lambda: other.begin_by_link(secret))))
    with house.store.change([]) as change:
        found = change.sign_in_link(secret_digest("link", secret, PEPPER))
        assert found is not None
        second.start()
        second.join(0.2)  # it can't come to an end, and has time to if it could
        change.save_sign_in_link(msgspec.structs.replace(found, used_ns=change.now_ns))
    second.join()
    assert "was used already" in said[0]


def test_what_is_long_over_is_forgotten(house: House, sessions: Sessions, clock: TurnableClock) -> None:
    """When the next one begins."""
    begun = by_token(house, sessions, "ben")
    house.people("ben").issue_link("ben")
    clock.turn(SESSION_NS + KEPT_NS + 1)
    by_token(house, sessions, "ben")
    assert [1, 0] == [
        house.store.query(f"select count(*) as rows from {table}")[0]["rows"]
        for table in ("session", "sign_in_link")
    ]
    assert "not signed in" in refused(lambda: acts(house, begun))


def test_other_secrets_sign_nobody_in(house: House, sessions: Sessions) -> None:
    """An agent's key, half a token, a token of nobody."""
    token = house.secrets["ben"] or ""
    key = "aegis_live_" + token.removeprefix("aegis_person_")
    assert "agent's key" in refused(lambda: sessions.begin_by_token(key))
    assert "cut or mistyped" in refused(lambda: sessions.begin_by_token(token[:-1]))
    assert "cut or mistyped" in refused(lambda: sessions.begin_by_token(""))


def test_signing_out_elsewhere(house: House, sessions: Sessions, reader: Store, clock: TurnableClock) -> None:
    """One's own sessions alone, those that have not ended; this one only if wished."""
    here, there = by_token(house, sessions, "ben"), by_token(house, sessions, "ben")
    ana = by_token(house, sessions, "ana")
    stored = StoredSessions(reader.query)
    now_ns = house.store.clock_ns()
    assert {here.session.hash, there.session.hash} == {each.hash for each, _ in stored.open_of("ben", now_ns)}
    assert all(hint for _, hint in stored.open_of("ben", now_ns))
    assert 0 == sessions.end_all("no such session", and_this=True)
    assert 1 == sessions.end_all(here.secret, and_this=False)
    assert 0 == sessions.end_all(here.secret, and_this=False)
    assert 0 == sessions.end_all(there.secret, and_this=True)
    assert [here.session.hash] == [each.hash for each, _ in stored.open_of("ben", now_ns)]
    assert 1 == sessions.end_all(here.secret, and_this=True)
    assert [] == stored.open_of("ben", now_ns)
    assert [ana.session.hash] == [each.hash for each, _ in stored.open_of("ana", now_ns)]
    clock.turn(SESSION_NS)
    assert [] == stored.open_of("ana", house.store.clock_ns())
