"""Any table of a page as a file to keep: what its columns are, and CSV (RFC 4180), which programs read.

Rule 1: numbers are plain and exact: dollars to the nano-dollar, shares as decimals, times in UTC.
Rule 2: a text is never taken for a formula, whoever wrote it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction

from starlette.responses import Response

from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.entrypoints.people.columns import Cell, Column, Kind, Row
from aegis_gateway.entrypoints.people.spreadsheet import XLSX_TYPE, xlsx
from aegis_gateway.entrypoints.people.visits import Visit
from aegis_gateway.entrypoints.people.words import iso

FILE_ROWS_MAX = 10_000
"""So many rows a file has of what can be any number of rows."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_SHARE_DECIMALS = 6
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_MAX = 120


def table_file(visit: Visit, name: str, columns: Sequence[Column], rows: Iterable[Row]) -> Response:
    """A table as the address wants it: `….csv`, or `….xlsx`. `name` is the file's, without an ending."""
    ending = visit.path.rpartition(".")[2]
    slug = _UNSAFE.sub("-", name).strip("-.")[:_NAME_MAX] or "table"
    headers = {"content-disposition": f'attachment; filename="{slug}.{ending}"'}
    if ending == "csv":
        return Response(csv_text(columns, rows), media_type="text/csv; charset=utf-8", headers=headers)
    if ending == "xlsx":
        return Response(xlsx(slug, columns, rows), media_type=XLSX_TYPE, headers=headers)
    return visit.failure(404, "There is no such file", "Tables are had as `.csv` and as `.xlsx`.")


def csv_text(columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """A line for each row, below the columns' names."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.name for column in columns])
    kinds = [column.kind for column in columns]
    for row in rows:
        writer.writerow([_plain(kind, cell) for kind, cell in zip(kinds, row, strict=True)])
    return text.getvalue()


def _plain(kind: Kind, cell: Cell) -> str:
    """A cell as programs read it."""
    match kind, cell:
        case _, None:
            return ""
        case "usd", int():
            return usd_decimal_text(cell)
        case "time", int():
            return iso(cell)
        case "flag", _:
            return "true" if cell else "false"
        case "share", Fraction() | int():
            millionths = round(cell * 10**_SHARE_DECIMALS)
            return _decimal_text(Decimal(millionths).scaleb(-_SHARE_DECIMALS))
        case "number", Decimal():
            return _decimal_text(cell)
        case "count", int():
            return str(cell)
        case _, _:
            return _safe(str(cell))


def _decimal_text(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULAS) else text
