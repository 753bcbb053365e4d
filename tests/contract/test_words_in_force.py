"""What jobs look for before they read all that is in force, on every store."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.application.ports import Store
from aegis_gateway.application.versions import signed
from aegis_gateway.domain.config_version import Canary
from aegis_gateway.entrypoints.in_force import has_word
from tests.houses import House


@pytest.fixture
def house(store: Store) -> House:
    """A house in which nothing was applied yet."""
    return House(store)


def test_a_word_is_looked_for_in_what_is_in_force(house: House) -> None:
    """In the newest version, not in those before it."""
    assert not has_word(house.store, "forecast")
    house.apply("", {"aegis.yaml": "of: forecast"}, "acme")
    assert has_word(house.store, "forecast")
    house.apply("", {"aegis.yaml": "digests"}, "acme")
    assert [False, True] == [has_word(house.store, word) for word in ("forecast", "digests")]


def test_a_canary_hides_nothing_of_the_version_beside_it(house: House) -> None:
    """What most agents are decided by is in force still, whatever is tried on some."""
    house.apply("", {"aegis.yaml": "of: forecast"}, "acme")
    config = house.store.state().config
    assert config is not None
    tried = msgspec.structs.replace(
        config,
        version=config.version + 1,
        files={"aegis.yaml": "digests"},
        canary=Canary(beside=config.version, share=100),
    )
    with house.store.change(["acme"]) as change:
        change.save_config(signed(tried, house.signatures))
    assert [True, True, False] == [has_word(house.store, word) for word in ("forecast", "digests", "adapts")]
