"""The plain kinds of value that `aegis.yaml` is made of; each says what is wrong with a value."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import cast

from pydantic import ValidationInfo

from aegis_gateway.configuration.words import CONTROL, instead, shown, unfit
from aegis_gateway.domain.duration import duration_ns
from aegis_gateway.domain.fiscal import MONTHS, PATTERNS, WEEKDAYS, Pattern, Which, YearStart
from aegis_gateway.domain.share import share

ID_CHARACTERS_MAX = 64
TEXT_CHARACTERS_MAX = 500
COUNT_MAX = 10**15

_SPREADS_MAX = 100

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_ARGUMENT_NAME = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,63}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH_AND_DAY = re.compile(r"(\d\d)-(\d\d)")
_WEEKDAY_OF_A_MONTH = re.compile(r"(first|last) ([a-z]+) of ([a-z]+)|(nearest) ([a-z]+) to ([a-z]+) (\d\d?)")
_MONTH_DAYS_MAX = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CURRENCY = re.compile(r"[A-Z]{3}")
_YEARS = range(1970, 2200)
_ZONES_OF_THE_MACHINE = ("localtime", "posixrules", "Factory")


def text(value: object) -> str:
    """A line of text."""
    if isinstance(value, bool | int | Decimal):
        unfit(f'is {shown(value)}, and text is needed; put it in quotes: "{shown(value).strip("`")}"')
    if not isinstance(value, str) or not value.strip():
        unfit(f"is {shown(value) if value != '' else 'empty'}; write some text")
    if len(value) > TEXT_CHARACTERS_MAX:
        unfit(f"has {len(value)} characters; write at most {TEXT_CHARACTERS_MAX}")
    stripped = value.strip()
    if CONTROL.search(stripped):
        unfit("has line breaks or control characters in it; write it on one line")
    return stripped


def identifier(value: object) -> str:
    """An id, as references, policies and scopes of budgets use it."""
    if isinstance(value, str) and len(value) <= ID_CHARACTERS_MAX and _ID.fullmatch(value):
        return value
    fixed = re.sub(r"[^a-z0-9._-]+", "-", str(value).lower()).strip("-._")[:ID_CHARACTERS_MAX]
    words = f"is {shown(value)}, which is not an id; ids are a-z, 0-9, `-`, `_` and `.`, at most 64 of them"
    unfit(f"{words}, as in {fixed}" if fixed and isinstance(value, str) else words)


def argument_name(value: object) -> str:
    """The name by which policies know an argument: `context.args.amount`."""
    if not isinstance(value, str) or not _ARGUMENT_NAME.fullmatch(value):
        unfit(f"is {shown(value)}; name an argument by letters, digits and `_`, as in amount")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        unfit(f"is {shown(value)}; write true or false")
    return value


def number(value: object, *, zero: bool = True) -> Decimal:
    """A number from 0, or above it."""
    floor = "from 0" if zero else "above 0"
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        unfit(f"is {shown(value)}; write a number {floor}, without quotes or signs, as in 20.00")
    if value < 0 or (value == 0 and not zero):
        unfit(f"is {shown(value)}; write a number {floor}, as in 20.00")
    return Decimal(value)


def spreads(value: object) -> Decimal:
    """How many spreads above the median: a number up to 100 with at most three decimals."""
    found = number(value)
    if found > _SPREADS_MAX or found != round(found, 3):
        unfit(
            f"is {shown(value)}; write a number from 0 to {_SPREADS_MAX} with at most 3 decimals, as in 2.5"
        )
    return found


def positive_number(value: object) -> Decimal:
    """A number above 0."""
    return number(value, zero=False)


def whole(least: int, most: int) -> Callable[[object], int]:
    """A whole number within bounds."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            wanted = f"{least}" if least == most else f"a whole number from {least} to {most}"
            unfit(f"is {shown(value)}; write {wanted}")
        return value

    return check


def choice(*names: str) -> Callable[[object], str]:
    """One of a few words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            words = " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
            unfit(f"is {shown(value)}; {instead(value, names, f'write {words}')}")
        return value

    return check


def choices(*names: str, example: str) -> Callable[[object], tuple[str, ...]]:
    """Some of a few words, each at most once."""
    one = choice(*names)

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            unfit(f"is {shown(value)}; write a list, as in [{example}]")
        chosen = tuple(one(item) for item in value)
        for item in chosen:
            if chosen.count(item) > 1:
                unfit(f"has `{item}` twice; write it once")
        return chosen

    return check


def timezone(value: object) -> str:
    """The name of a time zone."""
    name = text(value)
    try:
        if name in _ZONES_OF_THE_MACHINE:
            raise ValueError
        return zoneinfo.ZoneInfo(name).key
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        advice = instead(name, zoneinfo.available_timezones(), "write one as in Europe/London, or UTC")
        unfit(f"is {shown(name)}, and there is no such time zone; {advice}")


def duration(value: object) -> int:
    """A duration in nanoseconds, written as `250ms`, `1s`, `1m`, `1h` or `1d`."""
    nanoseconds = duration_ns(value) if isinstance(value, str) else None
    if nanoseconds is None:
        unfit(f"is {shown(value)}; write a time with its unit, as in 250ms, 1s, 1m, 1h or 1d")
    return nanoseconds


def percent(value: object) -> int:
    """A share in percent with up to two decimals, written as `5%`; in ten-thousandths."""
    found = share(value) if isinstance(value, str) else None
    if found is None:
        unfit(f"is {shown(value)}; write a share above 0% and up to 100%, as in 5% or 0.5%")
    return found


def month_and_day(value: object) -> YearStart:
    """The month and day on which a year begins, written as `04-01`; a day that each month has in every year."""
    match = _MONTH_AND_DAY.fullmatch(value) if isinstance(value, str) else None
    month, day_ = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (1 <= month <= 12 and 1 <= day_ <= 28):
        unfit(f'is {shown(value)}; write a month and a day up to the 28th in quotes, as in "04-01"')
    return month, day_


def currency_code(value: object) -> str:
    """A currency that isn't the ledger's, by its three letters."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        unfit(f"is {shown(value)}; name a currency by its three letters, as in EUR")
    if value == "USD":
        unfit("is `USD`, in which everything is counted; leave it out")
    return value


def weeks_pattern(value: object) -> Pattern:
    """How many weeks the three periods of a quarter have, written as `4-5-4`."""
    patterns = {"-".join(map(str, pattern)): pattern for pattern in PATTERNS}
    if not isinstance(value, str) or value not in patterns:
        unfit(f"is {shown(value)}; write {', '.join([*patterns][:-1])} or {[*patterns][-1]}")
    return patterns[value]


def weekday_of_a_month(value: object) -> tuple[Which, int, int, int]:
    """Which weekday (from 1, Monday) of which month (from 1), and the day that it is to be the nearest to, or 0."""
    words = " ".join(value.lower().split()) if isinstance(value, str) else ""
    match = _WEEKDAY_OF_A_MONTH.fullmatch(words)
    which, weekday, month, day_ = (
        (match[1] or match[4], match[2] or match[5], match[3] or match[6], int(match[7] or 0))
        if match
        else ("", "", "", 0)
    )
    example = "write it as in last saturday of january, or nearest saturday to january 31"
    if weekday not in WEEKDAYS or month not in MONTHS:
        unfit(f"is {shown(value)}; {example}")
    number = MONTHS.index(month) + 1
    if which == "nearest" and not 1 <= day_ <= _MONTH_DAYS_MAX[number - 1]:
        unfit(f"is {shown(value)}, and {month} has no such day; {example}")
    return cast(Which, which), WEEKDAYS.index(weekday) + 1, number, day_


def texts(value: object) -> tuple[str, ...]:
    """A list of texts, each once, in order."""
    if not isinstance(value, list):
        unfit(f"is {shown(value)}; write a list, as in [eu-west, eu-central]")
    return tuple(sorted({text(each) for each in value}))


def command(value: object) -> tuple[str, ...]:
    """A program and its arguments."""
    example = "write a program and its arguments, as in [npx, -y, some-server]"
    if not isinstance(value, list) or not value:
        unfit(f"is {shown(value)}; {example}")
    for each in value:
        if not isinstance(each, str) or not each or "\0" in each:
            unfit(f"has {shown(each)} in it; {example}")
    return tuple(value)


def weekdays(value: object) -> tuple[int, ...]:
    """Days of the week: 1 is Monday, 7 Sunday."""
    days = value if isinstance(value, list) else [value]
    if not days or any(isinstance(each, bool) or each not in range(1, 8) for each in days):
        unfit(f"is {shown(value)}; write days of the week from 1, Monday, to 7, as in [1, 2, 3, 4, 5]")
    return tuple(sorted(set(days)))


def day(value: object) -> date:
    """A day, written as `2026-10-01`."""
    if isinstance(value, str) and _DAY.fullmatch(value) and int(value[:4]) in _YEARS:
        try:
            return date.fromisoformat(value)
        except ValueError:
            unfit(f"is {shown(value)}, a day that does not exist; write one as in 2026-10-01")
    unfit(f"is {shown(value)}; write a day as in 2026-10-01")


def some(check: Callable[..., str], *, with_context: bool = False) -> Callable[..., tuple[str, ...]]:
    """One value or a list of them, each as `check` wants it."""

    def one_or_more(value: object, info: ValidationInfo) -> tuple[str, ...]:
        written = value if isinstance(value, list) else [value]
        if not written:
            unfit("is an empty list, which nothing is in; name some, or leave it out")
        return tuple(check(each, info) if with_context else check(each) for each in written)

    return one_or_more
