"""Tables as files: what other programs read out of them is what stood on the page, and text is only text."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from aegis_gateway.entrypoints.people.columns import Cell, Column, Row
from aegis_gateway.entrypoints.people.spreadsheet import xlsx
from aegis_gateway.entrypoints.people.tables import csv_text

COLUMNS = [
    Column("agent"),
    Column("spent_usd", "usd"),
    Column("calls", "count"),
    Column("tokens", "number"),
    Column("share", "share"),
    Column("decided", "time"),
    Column("overrun", "flag"),
]
AT_NS = 1_795_961_109_987_654_321
ROW: list[Cell] = ["bot", 1_234_567_890_001, 7, Decimal("1500.5"), Fraction(1, 4), AT_NS, True]
EMPTY: list[Cell] = [None] * len(COLUMNS)
HOSTILE = (
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "https://elsewhere.example",
    "{=1}",
    "<r><t>x</t></r>",
    "<r></is></c></row>",
    "0123",
    "true",
    'a "b", c\nd',
    " both ",
    "ü 漢 🐍",
)


def sheet_of(file: bytes) -> Worksheet:
    """The sheet of a file, as another library reads it."""
    found = load_workbook(io.BytesIO(file)).active
    assert isinstance(found, Worksheet)
    return found


def test_csv_is_plain_and_exact() -> None:
    """Dollars to the nano-dollar, shares as decimals, times in UTC, nothing where nothing is known."""
    lines = list(csv.reader(io.StringIO(csv_text(COLUMNS, [ROW, EMPTY]), newline="")))
    assert [column.name for column in COLUMNS] == lines[0]
    assert ["bot", "1234.567890001", "7", "1500.5", "0.25", "2026-11-29T14:05:09Z", "true"] == lines[1]
    assert [""] * len(COLUMNS) == lines[2]


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [
        (Column("a", "usd"), -5, "-0.000000005"),
        (Column("a", "usd"), 10**30, "1000000000000000000000"),
        (Column("a", "share"), Fraction(2, 3), "0.666667"),
        (Column("a", "share"), 1, "1"),
        (Column("a", "number"), Decimal("1E+3"), "1000"),
        (Column("a", "count"), -1, "-1"),
        (Column("a", "flag"), False, "false"),
        (Column("a"), "=1", "'=1"),
        (Column("a"), "\t=1", "'\t=1"),
    ],
)
def test_odd_cells_of_csv(column: Column, cell: Cell, text: str) -> None:
    """Small, huge and negative ones; what could be a formula is text."""
    assert [["a"], [text]] == list(csv.reader(io.StringIO(csv_text([column], [[cell]]), newline="")))


def test_a_spreadsheet_has_types() -> None:
    """Numbers are numbers, with their formats; times are times in UTC; below a bold header that stays."""
    sheet = sheet_of(xlsx("t", COLUMNS, [ROW, EMPTY]))
    assert ["agent", "spent_usd", "calls", "tokens", "share", "decided (UTC)", "overrun"] == [
        cell.value for cell in sheet[1]
    ]
    assert all(cell.font.b for cell in sheet[1])
    assert "A2" == sheet.freeze_panes
    agent, spent, calls, tokens, share, decided, overrun = sheet[2]
    assert ["s", "n", "n", "n", "n", "d", "b"] == [cell.data_type for cell in sheet[2]]
    assert ("bot", 1234.567890001, 7, 1500.5, 0.25, True) == (
        agent.value,
        spent.value,
        calls.value,
        tokens.value,
        share.value,
        overrun.value,
    )
    assert datetime(2026, 11, 29, 14, 5, 9) == decided.value  # noqa: DTZ001  # as a spreadsheet has it
    assert "$" in spent.number_format
    assert "%" in share.number_format
    assert [None] * len(COLUMNS) == [cell.value for cell in sheet[3]]
    assert 15 <= sheet.column_dimensions["B"].width <= 60


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_text(text: str) -> None:
    """Whatever somebody has named something: no formula, no link, no number, none of the file's own marks."""
    sheet = sheet_of(xlsx("t", COLUMNS[:1], [[text], ["after"]]))
    assert "s" == sheet["A2"].data_type
    assert text == str(sheet["A2"].value).removeprefix("'")
    assert sheet["A2"].hyperlink is None
    assert "after" == sheet["A3"].value


def test_text_that_no_cell_can_hold() -> None:
    """What is too long is cut, and what no file can have is shown by a sign."""
    sheet = sheet_of(xlsx("t", COLUMNS[:1], [["x" * 40_000], ["a\0b\ufffe\ud800c"]]))
    assert 32_767 == len(str(sheet["A2"].value))
    assert str(sheet["A3"].value).startswith("a\N{REPLACEMENT CHARACTER}b")
    assert str(sheet["A3"].value).endswith("c")


def test_a_long_table_takes_no_more_memory() -> None:
    """Rows are written as they come: 5,000 of them take little more than their file."""

    def rows(count: int) -> Iterator[Row]:
        for place in range(count):
            yield [f"agent-{place}", place, place, None, None, AT_NS, False]

    xlsx("t", COLUMNS, rows(10))
    peaks = []
    for count in (500, 5_000):
        tracemalloc.start()
        file = xlsx("t", COLUMNS, rows(count))
        peaks.append(tracemalloc.get_traced_memory()[1] - len(file))
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


def test_an_empty_table() -> None:
    """It has its header."""
    assert "agent\r\n" == csv_text(COLUMNS[:1], [])
    assert 1 == sheet_of(xlsx("t", COLUMNS, [])).max_row
