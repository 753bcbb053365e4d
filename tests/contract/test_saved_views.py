"""Saved views, on every store: a person's own, shared on purpose alone, bounded, and never another's."""

from __future__ import annotations

import threading

import pytest

from aegis_gateway.adapters.saved_view_rows import SavedViewReports
from aegis_gateway.application.ports import Store
from aegis_gateway.application.saved_views import SavedViews
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.people import Person
from aegis_gateway.domain.saved_view import VIEWS_MAX, SavedView
from tests.houses import ADMIN, House, grant, refused
from tests.ledgers import Database, TurnableClock

TENANTS = ("acme", "zeta")


@pytest.fixture
def house(store: Store) -> House:
    """Ana is an admin, ben looks on in acme, cy in both tenants."""
    house = House(store)
    house.add("ana", ADMIN, by="")
    house.add("ben", grant("viewer"))
    house.add("cy", grant("viewer"), grant("viewer", "zeta"))
    return house


def person(house: House, who: str) -> Person:
    """Somebody as they are now."""
    with house.store.change([]) as change:
        return change.people()[who]


def views(house: House, who: str) -> SavedViews:
    """What somebody does with theirs."""
    return SavedViews(house.store, person(house, who), TENANTS)


def seen(house: House, reader: Store, who: str, *tenants: str) -> tuple[list[str], list[str]]:
    """The names of somebody's own, and of those that others share with them."""
    reports = SavedViewReports(reader.rows)
    own = [each.name for each in reports.of_person(who)]
    return own, [each.name for each in reports.shared(who, tenants)]


def test_saving_renaming_and_deleting(house: House, reader: Store) -> None:
    """What comes back is what was saved; a name that is there already gets the new address."""
    ben = views(house, "ben")
    saved = ben.save("  Dearest  models ", "/?range=30d&by=model&seen=abc&agent=a%26b", "", "view_1")
    assert ("Dearest models", "/?range=30d&by=model&agent=a%26b") == (saved.name, saved.address)
    assert [saved] == SavedViewReports(reader.rows).of_person("ben")
    again = ben.save("Dearest models", "/calls?effect=deny", "", "view_2")
    assert ("view_1", "/calls?effect=deny") == (again.id, again.address)
    other = ben.save("Other", "/budgets", "", "view_3")
    with pytest.raises(ConfigurationError, match="named `Other` already"):
        ben.rename("view_1", "Other")
    assert "Refused" == ben.rename("view_1", "Refused").name
    assert "Refused" == ben.rename("view_1", "Refused").name
    assert (["Other", "Refused"], []) == seen(house, reader, "ben", "acme")
    ben.delete(other.id)
    assert (["Refused"], []) == seen(house, reader, "ben", "acme")


def test_nobody_elses(house: House, reader: Store) -> None:
    """Another's, shared or not, is not renamed, shared or deleted, by an admin neither; two may use one name."""
    views(house, "ben").save("Mine", "/calls", "acme", "view_1")
    for who in ("ana", "cy"):
        theirs = views(house, who)
        for act in (
            lambda theirs=theirs: theirs.rename("view_1", "Yours"),
            lambda theirs=theirs: theirs.share("view_1", ""),
            lambda theirs=theirs: theirs.delete("view_1"),
            lambda theirs=theirs: theirs.delete("no such view"),
        ):
            assert "no such saved view" in refused(act)
    views(house, "cy").save("Mine", "/budgets", "", "view_2")
    assert (["Mine"], ["Mine"]) == seen(house, reader, "cy", "acme")


def test_sharing(house: House, reader: Store) -> None:
    """Seen by those who may see the tenant, while its person may; never with a name of another tenant in it."""
    cy = views(house, "cy")
    cy.save("Acme's", "/calls?tenant=acme", "acme", "view_1")
    cy.save("Alone", "/calls?tenant=zeta", "", "view_2")
    assert ([], ["Acme's"]) == seen(house, reader, "ben", "acme")
    assert ([], []) == seen(house, reader, "ben", "zeta")
    assert "view of `zeta`" in refused(lambda: cy.share("view_2", "acme"))
    assert "view of `zeta`" in refused(lambda: cy.save("Z", "/budgets/zeta/day", "acme", "view_3"))
    assert "no role in a tenant `zeta`" in refused(
        lambda: views(house, "ben").save("Z", "/", "zeta", "view_3")
    )
    assert "no role in a tenant `gone`" in refused(lambda: cy.save("G", "/", "gone", "view_3"))
    assert "zeta" == cy.share("view_2", "zeta").shared_with
    house.people("ana").withdraw("cy", grant("viewer"))
    assert ([], []) == seen(house, reader, "ben", "acme")
    assert ([], ["Alone"]) == seen(house, reader, "ana", "acme", "zeta")


def test_what_is_no_name_and_no_address(house: House, reader: Store) -> None:
    """It is refused, and nothing is kept."""
    ben = views(house, "ben")
    with pytest.raises(ConfigurationError, match="1 to 60 characters"):
        ben.save("   ", "/", "", "view_1")
    with pytest.raises(ConfigurationError, match="a page here"):
        ben.save("Name", "//elsewhere.example/", "", "view_1")
    assert ([], []) == seen(house, reader, "ben")


def test_so_many_and_no_more(house: House, reader: Store, database: Database, clock: TurnableClock) -> None:
    """However many come at once: one more than a person may have is refused, and old ones can still be changed."""
    ben = views(house, "ben")
    for number in range(VIEWS_MAX - 1):
        ben.save(f"View {number}", "/", "", f"view_{number}")
    who, made = person(house, "ben"), list[SavedView | None]()

    stores = [database.open(clock, keep=False) for _ in range(3)]

    def save(number: int) -> None:
        own = SavedViews(stores[number], who, TENANTS)
        try:
            made.append(own.save(f"Last {number}", "/", "", f"last_{number}"))
        except ConfigurationError:
            made.append(None)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert 1 == len([each for each in made if each is not None])
    assert VIEWS_MAX == len(seen(house, reader, "ben")[0])
    assert "/calls" == ben.save("View 7", "/calls", "", "new").address
