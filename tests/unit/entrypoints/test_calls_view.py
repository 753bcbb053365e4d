"""What an address of calls says, and a file of them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from aegis_gateway.adapters.reports import CallFilter
from aegis_gateway.entrypoints.people.calls.view import CallsView, view_of

HOUR_NS = 3_600 * 1_000_000_000


def test_an_address_says_it_all() -> None:
    """What it says is read again; another filter begins at the newest again."""
    view = CallsView(tenant="acme", agent="a&b", effect="deny", state="refused", since="1h", behind=(7, 3))
    query = dict(parse_qsl(view.here().partition("?")[2]))
    assert view == view_of(query, "acme")
    assert "behind" not in view.address(effect="allow")
    assert CallFilter(agent="a&b", effect="deny", state="refused", since_ns=5) == view.wanted(HOUR_NS + 5)
    assert CallFilter() == CallsView(tenant="acme", since="ever").wanted(1)


def test_what_it_says_wrongly_is_as_at_first() -> None:
    """Unknown words, spans that are none, and places that can't be."""
    assert CallsView(tenant="acme") == view_of(
        {"effect": "x", "state": "y", "since": "1y", "behind": "a-b"}, "acme"
    )
    assert view_of({"behind": f"{2**63}-1"}, "acme").behind is None
    assert (2**63 - 1, 1) == view_of({"behind": f"{2**63 - 1}-1"}, "acme").behind
    assert view_of({"behind": "٣-1"}, "acme").behind is None
