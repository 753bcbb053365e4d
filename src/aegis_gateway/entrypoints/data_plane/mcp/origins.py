"""Whether a request comes from where it says: a web page must not lead its reader's browser to a gateway.

A page can have its own name resolve to an address of the reader's machine or network, and then calls what listens there
(DNS rebinding). The browser tells by which name it called (`Host`) and from which page (`Origin`).

Rule: a gateway that listens on this machine alone answers to this machine's names alone, and to those it is told. A
      page may call only what has its own name, or one of those.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import RequestHeaders

_LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))


class Origins:
    """Which names a gateway answers to."""

    def __init__(self, listens_on: str, hosts: tuple[str, ...] = ()) -> None:
        """`listens_on` is the address of its socket, `hosts` the names under which callers reach it."""
        self._hosts = frozenset(host.lower() for host in hosts)
        self._is_local = listens_on in _LOCAL

    def check(self, headers: RequestHeaders) -> None:
        """Make sure that a request comes from where it may.

        Raises:
            CallError: it doesn't, with status 403.
        """
        host = _host(f"//{headers.get('host') or ''}")
        if not (host in self._hosts or host in _LOCAL or not (self._is_local or self._hosts)):
            raise _refused(f"host `{host[:128]}` is not one that this gateway answers to", "host")
        if "origin" not in headers:
            return
        origin = _host(headers.get("origin") or "")
        if not origin or not (origin in self._hosts or origin == host or {origin, host} <= _LOCAL):
            raise _refused(f"a page at `{origin[:128]}` may not call this gateway", "origin")


def _host(address: str) -> str:
    """The name in an address, without its port; empty where it has none."""
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _refused(what: str, field: str) -> CallError:
    return CallError(f"{what}; name it in AEGIS_HOSTS if it should", status=403, field=field)
