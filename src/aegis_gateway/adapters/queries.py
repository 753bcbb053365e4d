"""Named queries: the SQL that matters stands in one file per store; this reads such a file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files

_GUARD = re.compile(r"^create trigger (\w+_append_only\w*)", re.MULTILINE)
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def named_queries(package: str) -> dict[str, str]:
    """The queries of a store's `queries.sql` by name, without their comments."""
    parts = _NAME.split(files(package).joinpath("queries.sql").read_text(encoding="utf-8"))
    return {
        name: "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip().rstrip(";")
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def guards(package: str) -> frozenset[str]:
    """The triggers by which a store's migrations keep rows from being changed."""
    return frozenset(name for migration in migrations(package) for name in _GUARD.findall(migration.sql))


def missing_guards(package: str, there: Iterable[str]) -> str:
    """`ok`, or which guards are not there."""
    missing = sorted(guards(package) - set(there))
    return f"without {', '.join(missing)}" if missing else "ok"


class Migration:
    """One numbered step of a store's schema, with the checksum that tells whether it was changed since."""

    def __init__(self, name: str, sql: str) -> None:
        """Keep the file's name (`0001_spine.sql`) and text."""
        self.version = int(name[:4])
        self.name = name
        self.sql = sql
        self.sha256 = hashlib.sha256(sql.encode()).hexdigest()


def migrations(package: str) -> list[Migration]:
    """A store's migrations in order."""
    folder = files(package).joinpath("migrations")
    found = [
        Migration(file.name, file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)
