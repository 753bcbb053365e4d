"""Which store: told by the URL that says where it is."""

from __future__ import annotations

from pathlib import Path

from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.adapters.sqlite.store import SqliteStore
from aegis_gateway.application.ports import Clock, Store
from aegis_gateway.domain.errors import StoreError

_WHAT_TO_WRITE = "write sqlite:PATH, or postgresql://USER@HOST/DATABASE"


def open_store(url: str, clock: Clock | None = None, *, read_only: bool = False) -> Store:
    """Open the store that a URL names: `sqlite:PATH`, `sqlite:///ABSOLUTE/PATH`, or `postgresql://…`.

    Without a clock, time is the machine's on SQLite and the database's own on PostgreSQL.

    Raises:
        StoreError: the URL names none, or the store cannot be opened.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or "@" in scheme:
        # Not repeated where it may be all of an address, password included, without its scheme.
        given = "what was given" if "@" in url else f"`{url}`"
        raise StoreError(f"{given} names no store; {_WHAT_TO_WRITE}")
    match scheme:
        case "sqlite":
            return SqliteStore(_sqlite_path(rest), clock or SystemClock(), read_only=read_only)
        case "postgresql" | "postgres":
            if not rest.startswith("//"):
                raise StoreError(f"`{scheme}:` needs two slashes; write postgresql://USER@HOST/DATABASE")
            # Here: its driver takes a tenth of a second, which nobody on SQLite should wait for.
            from aegis_gateway.adapters.postgres.store import PostgresStore

            return PostgresStore(url, clock, read_only=read_only)
        case _:
            raise StoreError(f"`{scheme}:` is no store that Aegis knows; {_WHAT_TO_WRITE}")


def _sqlite_path(rest: str) -> Path:
    path = rest
    if rest.startswith("//"):
        path = rest.removeprefix("//")
        if not path.startswith("/"):
            raise StoreError(
                f"`sqlite:{rest}` names a host; write sqlite:{path}, or sqlite:///{path} from the root"
            )
    if not path.strip("/"):
        raise StoreError(f"`sqlite:{rest}` names no file; write sqlite:PATH, as in sqlite:aegis.db")
    return Path(path)
