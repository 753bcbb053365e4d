"""A table as a spreadsheet (XLSX): numbers are numbers, times are times, and text is text whatever it is.

Rule 1: nothing is left to be guessed from a text: each cell is written as what its column says it is.
Rule 2: rows are written as they come, and none is kept: a long table takes no more memory than a short one.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import xlsxwriter

from aegis_gateway.domain.legible import legible
from aegis_gateway.entrypoints.people.columns import Cell, Column, Kind, Row

XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_NANO = 1_000_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # a spreadsheet's times have no zone: these are in UTC, as the header says
_FORMATS: dict[str, str] = {
    "usd": "[$$-409]#,##0.00#######;[Red]-[$$-409]#,##0.00#######",
    "count": "#,##0",
    "number": "#,##0.#########",
    "share": "0.0%",
    "time": "yyyy-mm-dd hh:mm:ss",
}
_WIDTHS = {"usd": 15, "count": 11, "number": 14, "share": 9, "time": 20, "flag": 9}
_WIDTH_MIN, _WIDTH_MAX = 8, 60
_TEXT_MAX = 32_767
_ROWS_MAX = 1_048_575


def xlsx(title: str, columns: Sequence[Column], rows: Iterable[Row]) -> bytes:
    """The file, with one sheet. Times are in UTC; spreadsheets keep fifteen digits of a number."""
    into = io.BytesIO()
    book: Any = xlsxwriter.Workbook(into, {"constant_memory": True})
    book.set_properties({"title": title, "created": datetime.now(UTC)})
    try:
        _fill(book, columns, rows)
    finally:
        book.close()  # what it has put aside is gone with it
    return into.getvalue()


def _fill(book: Any, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    sheet = book.add_worksheet("Table")
    head = book.add_format({"bold": True, "bottom": 1})
    formats = {kind: book.add_format({"num_format": text}) for kind, text in _FORMATS.items()}
    widths = []
    for place, column in enumerate(columns):
        name = f"{column.name} (UTC)" if column.kind == "time" else column.name
        sheet.write_string(0, place, name, head)
        widths.append(max(len(name) + 3, _WIDTHS.get(column.kind, _WIDTH_MIN)))
    sheet.freeze_panes(1, 0)
    last = 0
    for last, row in zip(range(1, _ROWS_MAX + 1), rows, strict=False):
        for place, (column, cell) in enumerate(zip(columns, row, strict=True)):
            if cell is None:
                continue
            _write(sheet, (last, place), column.kind, cell, formats.get(column.kind))
            if column.kind == "text":
                widths[place] = max(widths[place], len(str(cell)) + 1)
    for place, width in enumerate(widths):
        sheet.set_column(place, place, min(width, _WIDTH_MAX))
    sheet.autofilter(0, 0, last, len(columns) - 1)


def _write(sheet: Any, at: tuple[int, int], kind: Kind, cell: Cell, shape: Any) -> None:
    match kind, cell:
        case "usd", int():
            sheet.write_number(*at, float(Fraction(cell, _NANO)), shape)
        case "count", int():
            sheet.write_number(*at, cell, shape)
        case "number", Decimal() | int():
            sheet.write_number(*at, float(cell), shape)
        case "share", Fraction() | int():
            sheet.write_number(*at, float(cell), shape)
        case "time", int():
            sheet.write_datetime(*at, _EPOCH + timedelta(seconds=cell // _NANO), shape)
        case "flag", _:
            sheet.write_boolean(*at, bool(cell))
        case _, _:
            sheet.write_string(*at, _text(str(cell)))


def _text(text: str) -> str:
    """A text as a cell holds it: no longer than one can be, and nothing that the writer takes for its own marks."""
    shown = legible(text.encode(errors="replace").decode())[:_TEXT_MAX]
    return f"'{shown}"[:_TEXT_MAX] if shown.startswith("<r>") else shown
