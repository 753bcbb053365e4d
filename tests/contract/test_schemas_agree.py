"""The stores' schemas are one schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import Database, TurnableClock, postgres_database, sqlite_database

Columns = dict[str, list[tuple[str, bool]]]


def sqlite_columns(database: Database) -> Columns:
    """Tables with their columns: name, and whether it may be absent."""
    tables = database.execute(
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'"
    )
    return {
        table: [
            (name, not required and not primary)
            for _, name, _, required, _, primary in database.execute(
                f"select * from pragma_table_info('{table}')"
            )
        ]
        for (table,) in tables
    }


def postgres_columns(database: Database) -> Columns:
    """Tables with their columns: name, and whether it may be absent."""
    columns: Columns = {}
    for table, name, nullable in database.execute(
        "select table_name, column_name, is_nullable from information_schema.columns"
        " where table_schema = 'public' order by table_name, ordinal_position"
    ):
        columns.setdefault(table, []).append((name, nullable == "YES"))
    return columns


@pytest.mark.xdist_group("postgres")
def test_both_stores_have_the_same_tables_and_columns(tmp_path: Path, postgres_url: str) -> None:
    """Table by table and column by column, in the same order, with the same ones that may be absent."""
    with sqlite_database(tmp_path) as sqlite, postgres_database(postgres_url) as postgres:
        sqlite.open(TurnableClock())
        postgres.open(TurnableClock())
        assert sqlite_columns(sqlite) == postgres_columns(postgres)


@pytest.mark.xdist_group("postgres")
def test_texts_that_are_compared_have_one_order(postgres_url: str) -> None:
    """On PostgreSQL every text of a key or an index is collated "C", as SQLite compares bytes."""
    with postgres_database(postgres_url) as postgres:
        postgres.open(TurnableClock())
        others = postgres.execute(
            "select c.relname, a.attname from pg_index i"
            " join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace"
            " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)"
            " where a.atttypid = 'text'::regtype and a.attcollation <> 'pg_catalog.\"C\"'::regcollation"
        )
        assert [] == others
