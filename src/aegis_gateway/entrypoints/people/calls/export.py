"""Calls as a file: CSV (RFC 4180) with plain numbers, which spreadsheets and programs read alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.entrypoints.people.overview.export import safe
from aegis_gateway.entrypoints.people.words import iso

_WHO = ("agent", "team", "project", "cost_centre", "environment", "customer", "api_key")
_WHAT = ("connector", "tool", "model", "effect", "state", "reason_code", "reason")
_WHERE = ("run", "parent", "policy_version")
_MONEY = ("expected", "maximum", "cost")


def calls_csv(calls: Iterable[CallReport]) -> str:
    """A line for each call: money in dollars, exactly, to the nano-dollar, and empty where it isn't known."""
    text = io.StringIO()
    writer = csv.writer(text)
    money = [f"{each}_usd" for each in _MONEY]
    writer.writerow(
        [
            "call",
            "decided",
            "decided_ns",
            "settled",
            *_WHO,
            *_WHAT,
            *money,
            "overrun",
            "config_version",
            *_WHERE,
        ]
    )
    for call in calls:
        writer.writerow(
            [
                safe(call.call),
                iso(call.decided_ns),
                call.decided_ns,
                "" if call.settled_ns is None else iso(call.settled_ns),
                *_texts(call, _WHO),
                *_texts(call, _WHAT),
                *(_dollars(getattr(call, f"{each}_nano_usd")) for each in _MONEY),
                "true" if call.overrun else "false",
                call.config_version,
                *_texts(call, _WHERE),
            ]
        )
    return text.getvalue()


def _texts(call: CallReport, names: Iterable[str]) -> list[str]:
    return [safe(getattr(call, name) or "") for name in names]


def _dollars(amount: int | None) -> str:
    return "" if amount is None else usd_decimal_text(amount)
