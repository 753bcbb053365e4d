"""How numbers, spans and instants are written for people."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from aegis_gateway.domain.money import usd_short, usd_text
from aegis_gateway.domain.registry import Quantity

_NANOS = 1_000_000_000
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def amount(number: int, quantity: Quantity) -> str:
    """An amount in a quantity's smallest unit: `$20.00`, `1,500 tokens`."""
    if quantity.is_money:
        return usd_short(number)
    whole, rest = divmod(abs(number), quantity.scale)
    decimals = f".{rest:0{len(str(quantity.scale)) - 1}d}".rstrip("0") if rest else ""
    return f"{'-' if number < 0 else ''}{whole:,}{decimals} {quantity.id.replace('_', ' ')}"


def exact(amount_nano_usd: int) -> str:
    """Dollars to the last digit that there is: `$0.000128`."""
    return usd_text(amount_nano_usd)


def more_than(now: int, before: int) -> str:
    """How much more or less than before: `12 % more`; empty where there is nothing to compare with."""
    if before <= 0:
        return ""
    change = round(Fraction(now - before, before) * 100)
    if not change:
        return "as much"
    return f"{change:,} % more" if change > 0 else f"{-change} % less"


def plural(number: int, thing: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def span(length_ns: int) -> str:
    """A length of time in its largest unit, and the next where that tells more: `3 h 12 min`, `45 s`."""
    seconds = max(0, length_ns // _NANOS)
    for place, (size, unit) in enumerate(_STEPS):
        if seconds >= size:
            text = f"{seconds // size} {unit}"
            if place + 1 < len(_STEPS) and seconds // size < 10:
                smaller, name = _STEPS[place + 1]
                rest = seconds % size // smaller
                text += f" {rest} {name}" if rest else ""
            return text
    return "0 s"


def seconds(length_ns: int) -> str:
    """A short length of time, to the millisecond: `1.250 s`."""
    return f"{length_ns // _NANOS:,}.{length_ns % _NANOS // 1_000_000:03d} s"


def relative(at_ns: int, now_ns: int) -> str:
    """How far from now: `in 4 min`, `2 h ago`."""
    if (
        abs(at_ns - now_ns) < 60 * _NANOS
    ):  # not to the second: a page that is looked at would never stand still
        return "just now" if at_ns <= now_ns else "in a minute"
    text = span(abs(at_ns - now_ns))
    return f"in {text}" if at_ns > now_ns else f"{text} ago"


def utc(at_ns: int) -> str:
    """An instant as people read it: `29 Nov 2026, 14:05:09 UTC`."""
    return datetime.fromtimestamp(at_ns // _NANOS, UTC).strftime("%-d %b %Y, %H:%M:%S UTC")


def local(at_ns: int, zone: str) -> str:
    """An instant by the clock on the wall of a time zone: `29 Nov 2026, 14:05`."""
    return f"{datetime.fromtimestamp(at_ns // _NANOS, UTC).astimezone(ZoneInfo(zone)):%-d %b %Y, %H:%M}"


def iso(at_ns: int) -> str:
    """An instant as browsers and programs read it."""
    return datetime.fromtimestamp(at_ns // _NANOS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sentence(words: str) -> str:
    """A fault's words as a page says them."""
    return f"{words[:1].upper()}{words[1:]}."
