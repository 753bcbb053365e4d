"""The table behind a chart as a file: CSV (RFC 4180) with plain numbers, which spreadsheets and programs read alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from aegis_gateway.adapters.usage_reports import UsageOf
from aegis_gateway.domain.money import usd_decimal_text

_COUNTS = ("calls", "settled_calls", "transactions", "overruns", "unpriced", "tokens", "output_tokens")
_MONEY = ("cost", "expected", "saved")
_NAMES = {"cost": "spent", "unpriced": "unpriced_calls"}
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def usage_csv(dimension: str, rows: Iterable[UsageOf]) -> str:
    """A line for each row: money in dollars, exactly, to the nano-dollar; numbers of calls and tokens as they are."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = [dimension, *(f"{_NAMES.get(each, each)}_usd" for each in _MONEY)]
    writer.writerow([*names, *(_NAMES.get(each, each) for each in _COUNTS)])
    for row in rows:
        money = [usd_decimal_text(getattr(row.sums, each)) for each in _MONEY]
        counts = [str(getattr(row.sums, each)) for each in _COUNTS]
        writer.writerow([safe(row.values[0]), *money, *counts])
    return text.getvalue()


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula, whoever named it."""
    return f"'{text}" if text.startswith(_FORMULAS) else text
