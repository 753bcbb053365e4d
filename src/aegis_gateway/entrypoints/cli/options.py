"""Options that several commands have, and the small languages in which times and rates are written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from aegis_gateway.domain.duration import DURATION_MAX_NS, UNITS_NS, duration_text
from aegis_gateway.domain.moment import ns_of
from aegis_gateway.domain.registry import Throttle

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="AEGIS_STORE",
        help="The store: sqlite:PATH, or postgresql://USER@HOST/NAME.",
        show_default="sqlite:aegis-data/aegis.db",
    ),
]
TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="ID",
        envvar="AEGIS_TENANT",
        help="Whose; may be left out where there is one tenant.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs; money in nano-USD and in words.")
]

_SPAN = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})?(ms|s|m|h|d)")
_LINE_CHARACTERS_MAX = 500


def one_line(text: str) -> str:
    """Words for the record: one line of a bounded length."""
    if len(text) > _LINE_CHARACTERS_MAX or not text.isprintable():
        raise typer.BadParameter(f"write one line of at most {_LINE_CHARACTERS_MAX} characters")
    return text.strip()


ReasonOption = Annotated[
    str,
    typer.Option("--reason", metavar="WORDS", help="Why; it stands in the record.", parser=one_line),
]


def span_ns(text: str) -> int:
    """A span of time, written as `0`, `90s`, `30m`, `24h` or `7d`."""
    found = _SPAN.fullmatch(text.strip())
    nanoseconds = int(found[1]) * UNITS_NS[found[2]] if found else 0
    if (found is None and text.strip() != "0") or nanoseconds > DURATION_MAX_NS:
        raise typer.BadParameter(
            f"`{text}` is not a span of time up to a year; write it as in 90s, 30m, 24h or 7d"
        )
    return nanoseconds


def since_ns(text: str, now_ns: int) -> int:
    """An instant, written as a span of time before now (`1h`) or as a date or time in UTC."""
    if _SPAN.fullmatch(text.strip()):
        return now_ns - span_ns(text)
    return _instant_ns(text)


def until_ns(text: str, now_ns: int) -> int:
    """An instant to come, written as `instant_ns` reads it."""
    ends_ns = instant_ns(text, now_ns)
    if ends_ns <= now_ns:
        raise typer.BadParameter(f"`{text}` is over; write a time to come, as in 2h or 2026-12-31T18:00Z")
    return ends_ns


def instant_ns(text: str, now_ns: int) -> int:
    """An instant, written as a span of time from now (`2h`) or as a date or time in UTC."""
    return now_ns + span_ns(text) if _SPAN.fullmatch(text.strip()) else _instant_ns(text)


def _instant_ns(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        message = f"`{text}` is not a time; write it as in 1h, 2026-11-23 or 2026-11-23T08:00Z"
        raise typer.BadParameter(message) from None
    found_ns = ns_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    if found_ns is None:
        raise typer.BadParameter(f"`{text}` is too far away; write a time from 1970 to 2261")
    return found_ns


def throttle(text: str) -> Throttle | None:
    """A limit on how often, written as `5/1s` or `5/s`; `off` is none."""
    if text.strip() == "off":
        return None
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"`{text}` is not a rate; write calls and time as in 5/1s or 100/1m, or off")
    return Throttle(limit=int(found[1]), period_ns=int(found[2] or 1) * UNITS_NS[found[3]])


def throttle_text(limit: Throttle) -> str:
    """A limit on how often, as it is written: `5/1s`."""
    return f"{limit.limit}/{duration_text(limit.period_ns)}"
