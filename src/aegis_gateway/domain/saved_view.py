"""Saved views: the address of a page, which says all that is looked at there, under a name that somebody gave it.

Rule: an address is a path of these pages and nothing else; whoever opens it sees what they may see anyway.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

NAME_CHARACTERS_MAX = 60
ADDRESS_CHARACTERS_MAX = 2_000
VIEWS_MAX = 100
"""So many may one person have."""

_NOT_KEPT = ("seen",)
"""What an address says that isn't what is looked at."""


class SavedView(msgspec.Struct, frozen=True, kw_only=True):
    """One of a person's. All who may see the tenant `shared_with` see it too; nobody else where that is empty."""

    id: str
    person: str
    name: str
    address: str
    shared_with: str = ""
    saved_ns: int = 0


def view_name(text: str) -> str | None:
    """A name as it is kept; None where it can be none."""
    name = " ".join(text.split())
    return name if name and name.isprintable() and len(name) <= NAME_CHARACTERS_MAX else None


def view_address(text: str) -> str | None:
    """An address as it is kept: a path here, with what it says. None where it is none, or too long."""
    if not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return None
    parts = urlsplit(text)
    said = [each for each in parse_qsl(parts.query, keep_blank_values=True) if each[0] not in _NOT_KEPT]
    address = f"{parts.path}?{urlencode(said)}" if said else parts.path
    return address if len(address) <= ADDRESS_CHARACTERS_MAX and address.isascii() else None


def names_of(address: str) -> set[str]:
    """All names that an address has in its path, and as its tenant: those of tenants are among them."""
    parts = urlsplit(address)
    return {*parts.path.split("/"), *(value for name, value in parse_qsl(parts.query) if name == "tenant")}
