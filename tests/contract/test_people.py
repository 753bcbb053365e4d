"""People, their roles and tokens, on every store."""

from __future__ import annotations

import apsw
import psycopg
import pytest

from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.people import OwnToken
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.keys import key_from_random, key_hint, token_digest
from aegis_gateway.domain.people import ALL_TENANTS, Grant
from tests.houses import ADMIN, House, grant, refused
from tests.ledgers import HOUR_NS, Database, TurnableClock


@pytest.fixture
def house(store: Store) -> House:
    """With one admin, ana."""
    house = House(store)
    house.add("ana", ADMIN, by="")
    return house


def test_what_is_registered_comes_back(house: House, store: Store, reader: Store) -> None:
    """People with their roles, tokens without their secret."""
    house.add("ben", grant("finops"), grant("viewer", "zeta"))
    house.people("ana").suspend("ben")
    ana, ben = Reports(reader.query).people()
    assert ("ana", "Ana", (ADMIN,), None) == (ana.id, ana.name, ana.grants, ana.suspended_ns)
    assert ((grant("finops"), grant("viewer", "zeta")), ben.added_ns) == (ben.grants, ben.suspended_ns)
    first, second = Reports(reader.query).tokens()
    assert ("ana", ("local",)) == (first.person, first.seen_by)
    assert ("ben", ("ana", "local")) == (second.person, second.seen_by)
    with store.change([]) as change:
        assert ({"ana": ana, "ben": ben}, [first, second]) == (
            change.people(),
            list(change.tokens().values()),
        )
    secret = house.secrets["ana"]
    assert secret is not None
    assert secret.startswith("aegis_person_")
    assert secret not in str([first, second, *house.entries(), *house.entries("zeta")])


def test_each_act_is_in_the_records_concerned(house: House) -> None:
    """By name, in each tenant where the person has a role; a new tenant's begins with who has one there."""
    house.add("ben", grant("viewer"))
    house.people("ana").grant("ben", grant("finops", "zeta"))
    house.people("ana").withdraw("ben", grant("viewer"))
    house.people("ana").suspend("ben")
    house.people("ana").resume("ben")
    told = [(entry["actor"], entry["act"], entry["person"]) for entry in house.entries("zeta")]
    assert [
        ("local:os-user", "add", "ana"),
        ("local:os-user", "issue_token", "ana"),
        ("ana", "grant", "ben"),
        ("ana", "withdraw", "ben"),
        ("ana", "suspend", "ben"),
        ("ana", "resume", "ben"),
    ] == told
    assert ["add", "issue_token", "add", "issue_token", "grant", "withdraw"] == [
        entry["act"] for entry in house.entries("acme")
    ]
    house.apply("ana", {"aegis.yaml": "x"}, "acme", "zeta", "nova")
    assert [("ana", "found", "ana", [{"in": "*", "role": "admin"}])] == [
        (entry["actor"], entry["act"], entry["person"], entry["roles"]) for entry in house.entries("nova")
    ]


def test_without_people_whoever_is_there_acts(store: Store) -> None:
    """Under their name on the machine; from the first person on, nobody does without a token."""
    house = House(store)
    version = house.apply("", {"aegis.yaml": "x"}, "acme", "zeta")
    assert "local:os-user" == version
    house.people().add("ana", "Ana", (ADMIN,))
    told = refused(lambda: house.apply("", {"aegis.yaml": "y"}, "acme", "zeta"))
    assert "needs the token of one who is admin or finops" in told
    told = refused(lambda: house.people().add("eve", "Eve", (ADMIN,)))
    assert "needs the token of one who is admin" in told
    house.issue("ana")
    assert "ana" == house.apply("ana", {"aegis.yaml": "y"}, "acme", "zeta")
    told = refused(lambda: house.issue("ana"))
    assert "needs the token" in told


def test_the_first_person_is_an_admin_everywhere(store: Store) -> None:
    """Anything else would leave nobody to add others."""
    house = House(store)
    for grants in ((), (grant("admin"),), (Grant(role="finops", tenant=ALL_TENANTS),)):
        with pytest.raises(ConfigurationError, match="first person must be an admin everywhere"):
            house.people().add("ana", "Ana", grants)
    assert [] == Reports(store.query).people()


def test_before_there_is_any_tenant(database: Database, clock: TurnableClock) -> None:
    """People can be there before anything else is."""
    house = House(database.open(clock))
    house.add("ana", ADMIN, by="")
    house.apply("ana", {"aegis.yaml": "x"}, "acme")
    assert ["found"] == [entry["act"] for entry in house.entries()]


def test_a_role_is_needed_in_each_tenant(house: House) -> None:
    """Who has it in one of two changes neither; the message says which is missing where, and how to get it."""
    house.add("ben", grant("finops"), grant("auditor", "zeta"))
    told = refused(lambda: house.apply("ben", {"aegis.yaml": "x"}, "acme", "zeta"))
    assert (
        "`ben` may not put a configuration in force, or propose it in `zeta`: that needs the role admin or finops; "
        "an admin gives it: `aegis people grant ben finops --tenant zeta`"
    ) == told
    house.people("ana").grant("ben", grant("finops", "zeta"))
    assert "ben" == house.apply("ben", {"aegis.yaml": "x"}, "acme", "zeta")


def test_an_admin_of_one_tenant(house: House) -> None:
    """Gives roles there, to whomever; and nothing of people who have roles elsewhere is theirs to change."""
    house.add("tom", grant("admin"))
    house.add("ben", grant("viewer"), by="tom")
    house.add("cy", grant("viewer"), grant("viewer", "zeta"))
    house.people("tom").grant("cy", grant("finops"))
    assert "in `zeta`" in refused(lambda: house.people("tom").grant("ben", grant("admin", "zeta")))
    assert "in all tenants" in refused(lambda: house.people("tom").grant("tom", ADMIN))
    assert "in `zeta`" in refused(lambda: house.people("tom").suspend("cy"))
    assert "in `zeta`" in refused(lambda: house.issue("cy", by="tom"))
    assert "in all tenants" in refused(lambda: house.issue("ana", by="tom"))
    assert "in all tenants" in refused(lambda: house.people("tom").add("dee", "Dee", ()))


def test_tokens_that_are_worth_nothing(house: House, clock: TurnableClock) -> None:
    """Revoked, expired, of somebody suspended, an agent's, mistyped, unknown: each is told, none acts."""
    house.add("ben", grant("finops"))

    def words(token: str | None = None) -> str:
        house.secrets["ben"] = token or house.secrets["ben"]
        return refused(lambda: house.administration("ben").issue_key("acme", "bot"))

    house.people("ana").suspend("ben")
    assert "`ben` is suspended" in words()
    house.people("ana").resume("ben")
    house.administration("ben").issue_key("acme", "bot")
    house.people("ana").revoke_token(house.issue("ben", by="ana"))
    assert "is revoked" in words()
    house.issue("ben", by="ana", expires_in_ns=HOUR_NS)
    house.administration("ben").issue_key("acme", "bot")
    clock.turn(HOUR_NS)
    assert "has expired" in words()
    assert "an agent's key" in words(key_from_random(7))
    assert "not known here" in words(key_from_random(10**40, "person"))
    assert "cut or mistyped" in words("aegis_person_123")


def test_everybody_has_tokens_of_their_own(house: House) -> None:
    """Anybody may issue themselves another, and revoke one; it is worth what the one is that they ask with."""
    house.add("ben", grant("viewer"))
    old = Reports(house.store.query).tokens()[-1]
    house.issue("ben", by="ben")
    house.people("ben").revoke_token(old.id)
    new = next(
        each for each in Reports(house.store.query).tokens() if each.id != old.id and each.person == "ben"
    )
    assert (("ana", "local"), ("ana", "ben", "local")) == (new.seen_by, new.behind)
    assert "needs the role admin" in refused(lambda: house.issue("ana", by="ben"))


def test_a_token_that_nobody_else_has_seen(house: House) -> None:
    """Its person made it; an admin registers what it is known by, once."""
    house.people("ana").add("ben", "Ben", (grant("finops"),))
    secret = key_from_random(5, "person")
    own = OwnToken(digest=token_digest(secret), hint=key_hint(secret))
    issued = house.people("ana").issue_token("ben", own=own)
    assert (None, (), ("ben",)) == (issued.secret, issued.token.seen_by, issued.token.behind)
    house.secrets["ben"] = secret
    house.administration("ben").issue_key("acme", "bot")
    with pytest.raises(ConfigurationError, match="registered already"):
        house.people("ana").issue_token("ana", own=own)
    house.issue("ben", by="ben")
    assert ("ben",) == Reports(house.store.query).tokens()[-1].behind


def test_the_last_admin_stays(house: House) -> None:
    """Whatever would leave nobody who can act as an admin everywhere is refused, and changes nothing."""
    house.add("ben", grant("admin"))
    token = Reports(house.store.query).tokens()[0].id
    for act in (
        lambda: house.people("ana").suspend("ana"),
        lambda: house.people("ana").withdraw("ana", ADMIN),
        lambda: house.people("ana").revoke_token(token),
    ):
        assert "nobody would be left" in refused(act)
    house.people("ana").grant("ben", ADMIN)
    house.people("ben").suspend("ana")
    assert "nobody would be left" in refused(lambda: house.people("ben").withdraw("ben", ADMIN))
    house.people("ben").resume("ana")
    house.people("ana").revoke_token(Reports(house.store.query).tokens()[-1].id)
    assert "nobody would be left" in refused(lambda: house.people("ana").suspend("ana"))


def test_when_time_has_left_no_admin(house: House, clock: TurnableClock) -> None:
    """Whoever can open the store may issue one a token, and nothing else."""
    house.issue("ana", by="ana", expires_in_ns=HOUR_NS)
    house.people("ana").revoke_token(Reports(house.store.query).tokens()[0].id)
    house.people("ana").add("ben", "Ben", (grant("viewer"),))
    clock.turn(HOUR_NS)
    assert "has expired" in refused(lambda: house.people("ana").suspend("ben"))
    assert "needs the token" in refused(lambda: house.people().suspend("ben"))
    assert "`ben` is no admin everywhere" in refused(lambda: house.issue("ben"))
    house.issue("ana")
    house.people("ana").suspend("ben")
    assert ("local:os-user", "issue_token") == tuple(house.entries()[-2][name] for name in ("actor", "act"))


@pytest.mark.parametrize("act", ["suspend", "resume"])
def test_somebody_who_is_not_there(house: House, act: str) -> None:
    """Is told, and so are roles, tokens and tenants that are not."""
    people = house.people("ana")
    with pytest.raises(ConfigurationError, match="no person `eve`"):
        getattr(people, act)("eve")
    with pytest.raises(ConfigurationError, match="no person `eve`"):
        people.grant("eve", grant("viewer"))
    with pytest.raises(ConfigurationError, match="no tenant `nowhere`"):
        people.grant("ana", grant("viewer", "nowhere"))
    with pytest.raises(ConfigurationError, match="they have: admin everywhere"):
        people.withdraw("ana", grant("viewer"))
    with pytest.raises(ConfigurationError, match="no token `tok_0`"):
        people.revoke_token("tok_0")
    with pytest.raises(ConfigurationError, match="there is a person `ana` already"):
        people.add("ana", "Another Ana", (grant("viewer"),))
    with pytest.raises(ConfigurationError, match="`local:eve` is not a person's id"):
        people.add("local:eve", "Eve", ())


def test_people_are_never_deleted(house: House, database: Database) -> None:
    """The database refuses."""
    with pytest.raises((apsw.Error, psycopg.Error), match="never deleted"):
        database.execute("delete from person")
    assert ["ana"] == [person.id for person in Reports(house.store.query).people()]
