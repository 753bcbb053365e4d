"""Which key figures somebody wants to see, as the address says it: whose, of which period, broken down by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args
from urllib.parse import quote, urlencode

import msgspec

from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.outcome import RESULTS
from aegis_gateway.domain.usage import DAY_NS
from aegis_gateway.entrypoints.figures import Part
from aegis_gateway.entrypoints.people.overview.periods import RANGE_WORDS, RANGES, Range, day_of, period_of

FiguresRange = Literal["today", "24h", "7d", "30d", "90d", "month", "365d"]
RANGES_OF_FIGURES: tuple[FiguresRange, ...] = get_args(FiguresRange)
RANGE_WORDS_OF_FIGURES: dict[FiguresRange, str] = {
    **{each: RANGE_WORDS[each] for each in RANGES},
    "365d": "365 days",
}
PARTS: tuple[Part, ...] = get_args(Part)
PART_WORDS: dict[Part, str] = {each: each.replace("_", " ") for each in PARTS}

RESULT_WORDS = {
    "success": "success",
    "partial": "partial success",
    "failure": "failure",
    "cancelled": "cancelled",
    "": "not told yet",
}

NOT_TOLD = "open"
"""What the address calls work of which no outcome is told yet."""

_YEAR_DAYS = 365
_MINUTE_NS = 60 * 1_000_000_000


class FiguresView(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at."""

    tenant: str
    range: FiguresRange = "30d"
    by: Part = "agent"

    @property
    def words(self) -> str:
        """The period in words."""
        return RANGE_WORDS_OF_FIGURES[self.range]

    def period(self, zone: str, now_ns: int) -> tuple[int, int]:
        """From when and until when, in whole hours: days of a zone, up to the end of the present hour."""
        short = _short(self.range)
        if short is not None:
            period = period_of(short, zone, now_ns)
            return period.since_ns, period.until_ns
        return day_of(zone, now_ns - (_YEAR_DAYS - 1) * DAY_NS)[0], now_ns - now_ns % HOUR_NS + HOUR_NS

    def address(self, path: str = "/kpi", **other: object) -> str:
        """The address of this view, or of one that differs in something, or of another page about the same."""
        more = {name: value for name, value in other.items() if name not in self.__struct_fields__}
        own = {name: value for name, value in other.items() if name in self.__struct_fields__}
        view = msgspec.structs.replace(self, **own)
        pairs = [("tenant", view.tenant), ("range", view.range), ("by", view.by), *more.items()]
        return f"{path}?{urlencode(pairs)}"

    def overview(self, **of: str) -> str:
        """The address of spending in this period, by something. It shows no year: the longest that it shows instead."""
        pairs = [("tenant", self.tenant), ("range", _short(self.range) or "90d"), *of.items()]
        return f"/?{urlencode(pairs)}"

    def calls(self, since_ns: int, now_ns: int, **of: str) -> str:
        """The address of the calls of this period, to the minute."""
        minutes = max(1, -(-(now_ns - since_ns) // _MINUTE_NS))
        return f"/calls?{urlencode([('tenant', self.tenant), *of.items(), ('since', f'{minutes}m')])}"

    def work(self, result: str) -> str:
        """The address of the work that came to something."""
        return self.address("/kpi/work", outcome=result or NOT_TOLD)

    def rule(self, rule: str) -> str:
        """The address of a rule in shadow."""
        return f"/shadow/{quote(self.tenant, safe='')}/{quote(rule, safe='')}"


def view_of(query: Mapping[str, str], tenant: str) -> FiguresView:
    """What an address asks for. What it doesn't say, or says wrongly, is as it is at first."""
    return FiguresView(
        tenant=tenant,
        range=next((each for each in RANGES_OF_FIGURES if each == query.get("range")), "30d"),
        by=next((each for each in PARTS if each == query.get("by")), "agent"),
    )


def result_of(query: Mapping[str, str]) -> str:
    """Which work is asked for: by what it came to; empty where nothing is told yet."""
    asked = query.get("outcome")
    return "" if asked == NOT_TOLD else next((each for each in RESULTS if each == asked), "success")


def _short(range_: FiguresRange) -> Range | None:
    return next((each for each in RANGES if each == range_), None)
