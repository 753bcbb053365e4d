"""What can be the name and the address of a saved view."""

from __future__ import annotations

import pytest

from aegis_gateway.domain.saved_view import names_of, view_address, view_name


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\0b", "turned \N{RIGHT-TO-LEFT OVERRIDE} around"])
def test_what_is_no_name(name: str) -> None:
    """Nothing, too much, or what turns what is around it."""
    assert view_name(name) is None


def test_names() -> None:
    """Without the spaces around and between; any letters."""
    assert "Größte Ausgaben" == view_name("  Größte  Ausgaben\n")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "calls",
        "//elsewhere.example/",
        "/\\elsewhere",
        "https://a.example/",
        "javascript:alert(1)",
        "/\n",
        f"/?a={'x' * 2_000}",
        "/ü",
    ],
)
def test_what_is_no_address(address: str) -> None:
    """Another host's, a script, or too long."""
    assert view_address(address) is None


def test_addresses() -> None:
    """With what they say, written one way, without the mark of what was seen."""
    assert "/?by=model&agent=a%26b&team=" == view_address("/?by=model&agent=a%26b&seen=1f&team=")
    assert "/calls" == view_address("/calls?seen=1f")
    assert "/?agent=%C3%BC" == view_address("/?agent=ü")
    assert "/?a=%2F%2Felsewhere.example" == view_address("/?a=//elsewhere.example#place")


def test_names_in_an_address() -> None:
    """Those of its path, and the tenant that it says."""
    assert {"", "budgets", "acme", "day", "zeta"} == names_of("/budgets/acme/day?tenant=zeta&scope=other")
