"""What the overview's charts are drawn from: the same rows that stand in the table, as a script takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aegis_gateway.entrypoints.people.overview.desk import SERIES_MOST, OverviewDesk, Spending, name_of
from aegis_gateway.entrypoints.people.overview.view import Chart

TOP_MOST = 15
CHILDREN_MOST = 12
GROUPS_MOST = 24

Drawn = dict[str, object]


def drawn_as(chart: Chart) -> Callable[[OverviewDesk, Spending], Drawn]:
    """What makes the data of a chart. Amounts are in nano-USD."""
    return {"time": _over_time, "top": _top, "shares": _shares, "calendar": _calendar}[chart]


def _over_time(desk: OverviewDesk, spending: Spending) -> Drawn:
    """Hours or days, with a series for each value that has a colour, and one for all others."""
    period, found = spending.period, desk.series(spending)
    series = [
        {"name": each.name, "color": each.series + 1, "nano_usd": found[each.value]}
        for each in spending.named
    ]
    if any(found[None]):
        series.append({"name": "all others", "color": SERIES_MOST + 1, "nano_usd": found[None]})
    return {
        "labels": [each.label for each in period.stretches],
        "words": [each.words for each in period.stretches],
        "each": period.each,
        "series": series,
    }


def _top(_desk: OverviewDesk, spending: Spending) -> Drawn:
    """The dearest rows, and all others as one."""
    lines = spending.lines[:TOP_MOST]
    rows: list[Drawn] = [
        {
            "name": each.name,
            "nano_usd": each.sums.cost,
            "color": min(each.series, SERIES_MOST) + 1,
            "address": each.into,
        }
        for each in lines
    ]
    rest = spending.total.cost - sum(each.sums.cost for each in lines)
    if rest:
        rows.append({"name": "all others", "nano_usd": rest, "color": SERIES_MOST + 1, "address": None})
    return {"rows": rows, "total": spending.total.cost}


def _shares(desk: OverviewDesk, spending: Spending) -> Drawn:
    """The rows as areas, each with what it is made of; small ones together."""
    found = desk.shares(spending)
    below = spending.view.below()
    tree: list[Drawn] = []
    for each in spending.lines[:GROUPS_MOST]:
        if each.sums.cost <= 0:
            continue
        parts = sorted(
            ((name, amount) for (value, name), amount in found.items() if value == each.value and amount > 0),
            key=lambda part: (-part[1], part[0]),
        )
        tree.append(
            {
                "name": each.name,
                "nano_usd": each.sums.cost,
                "color": min(each.series, SERIES_MOST) + 1,
                "address": each.into,
                "children": list(_children(below or "", parts, each.into)) if len(parts) > 1 else [],
            }
        )
    listed = sum(each.sums.cost for each in spending.lines[:GROUPS_MOST])
    rest = spending.total.cost - listed
    if rest > 0:
        tree.append(
            {
                "name": "all others",
                "nano_usd": rest,
                "color": SERIES_MOST + 1,
                "address": None,
                "children": [],
            }
        )
    return {"tree": tree, "total": spending.total.cost}


def _children(below: str, parts: list[tuple[str, int]], into: str | None) -> Iterable[Drawn]:
    for name, amount in parts[:CHILDREN_MOST]:
        yield {"name": name_of(below, name), "nano_usd": amount, "address": into}
    rest = sum(amount for _, amount in parts[CHILDREN_MOST:])
    if rest:
        yield {"name": f"{len(parts) - CHILDREN_MOST} others", "nano_usd": rest, "address": into}


def _calendar(desk: OverviewDesk, spending: Spending) -> Drawn:
    """Each day with what it came to; it leads to that day, hour by hour."""
    view = spending.view
    days = []
    for stretch, amount in desk.days(spending):
        day = stretch.day
        days.append(
            {
                "day": day,
                "words": stretch.words,
                "nano_usd": amount,
                "address": view.address(since=day, until=day, chart="time"),
            }
        )
    return {"days": days}
