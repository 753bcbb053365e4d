"""Calls, as a file has them: all that is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.entrypoints.people.columns import Column, Row

_TEXTS = (
    *("agent", "team", "project", "cost_centre", "environment", "customer", "api_key"),
    *("connector", "tool", "model", "effect", "state", "reason_code", "reason"),
)
_MONEY = ("expected", "maximum", "cost")

CALL_COLUMNS = (
    Column("call"),
    Column("decided", "time"),
    # Text: a spreadsheet's number has fifteen digits, of an instant's nineteen.
    Column("decided_ns"),
    Column("settled", "time"),
    *(Column(each) for each in _TEXTS),
    *(Column(f"{each}_usd", "usd") for each in _MONEY),
    Column("overrun", "flag"),
    Column("config_version", "count"),
    *(Column(each) for each in ("run", "parent", "policy_version", "trace_id")),
)


def call_rows(calls: Iterable[CallReport]) -> Iterator[Row]:
    """A row for each call; what isn't known of it is empty."""
    for call in calls:
        yield [
            call.call,
            call.decided_ns,
            str(call.decided_ns),
            call.settled_ns,
            *(getattr(call, each) for each in _TEXTS),
            *(getattr(call, f"{each}_nano_usd") for each in _MONEY),
            call.overrun,
            call.config_version,
            call.run,
            call.parent,
            call.policy_version,
            call.place.trace if call.place is not None else None,
        ]
