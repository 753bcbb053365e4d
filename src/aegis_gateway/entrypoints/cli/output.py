"""What commands say, and how: tables for people, JSON for programs, words about either on stderr.

Rule 1: stdout carries the answer and nothing else; piped, it has no colour and no line is broken.
Rule 2: money is right-aligned at its decimal point; every time is UTC, with how long ago beside it.
Rule 3: colour never carries a meaning alone: each has its word or sign as well.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.cells import cell_len
from rich.console import Console, ConsoleRenderable, RenderHook
from rich.text import Text

from aegis_gateway.domain.amounts import exact_text
from aegis_gateway.domain.legible import legible
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.registry import Quantity
from aegis_gateway.domain.rolling import length_of

PIPED_WIDTH = 10_000

EFFECT_STYLES = {"allow": "green", "deny": "red", "throttle": "yellow", "require_approval": "cyan"}
EFFECT_SIGNS = {"allow": "✓", "deny": "✗", "throttle": "≈", "require_approval": "?"}
STATE_WORDS = {"dispatched": "under way", "in_doubt": "in doubt"}
STATE_STYLES = {"in_doubt": "bold magenta", "dispatched": "cyan", "reserved": "cyan"}

DIM = "dim"
HEADER = "dim"
STRONG = "bold"
GOOD = "green"
WARNING = "yellow"

_GAP = 2
_SHRINKS_TO = 14
_SHRINKS_AT_LAST_TO = 6
_BAR_SIGNS = ("█", "▒", "░")
_BAR_SIGNS_ASCII = ("#", "=", ".")
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")

_HEIGHTS = " ▁▂▃▄▅▆▇█"
_HEIGHTS_ASCII = " .-+*#"

_NANOS = 1_000_000_000
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def out() -> Console:
    """Where the answer goes."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return _tame(Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width))


def err() -> Console:
    """Where words about the answer go."""
    return _tame(Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True))


class _Tamed(RenderHook):
    """Shows signs that would steer the terminal or turn the order of what is read, instead of sending them: what is
    told is in part in the words of agents.
    """

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What is printed, tamed."""
        for each in renderables:
            if isinstance(each, Text):
                each.plain = legible(each.plain)
        return renderables


def _tame(console: Console) -> Console:
    console.push_render_hook(_Tamed())
    return console


def print_json(value: object) -> None:
    """Write one object for a program."""
    sys.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False) + "\n")


def print_json_line(value: object) -> None:
    """Write one object of several that follow each other, each on its line."""
    sys.stdout.write(json.dumps(msgspec.to_builtins(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(*words: str | Text) -> None:
    """Say something beside the answer: what to do next, what is missing."""
    err().print(*words)


# -- money and other quantities ----------------------------------------------------------------------------


def quantity_text(amount: int, quantity: Quantity, *, exact: bool = False) -> str:
    """An amount in a quantity's smallest unit, as people write it: `$20.00`, `1,500 tokens`."""
    return usd_short(amount) if quantity.is_money and not exact else exact_text(amount, quantity)


def at_decimal_point(amounts: Sequence[str]) -> list[str]:
    """Amounts padded behind, so that right-aligned in a column their decimal points stand above each other."""
    tails = [len(amount) - amount.find(".") if "." in amount else 0 for amount in amounts]
    longest = max(tails, default=0)
    return [amount + " " * (longest - tail) for amount, tail in zip(amounts, tails, strict=True)]


def bar(spent: int, reserved: int, limit: int, width: int, console: Console) -> Text:
    """A budget's bar: spent, reserved, left, told apart by shape; the least spending shows, to an eighth."""
    if not console.encoding.lower().startswith("utf"):
        whole, held, free = _BAR_SIGNS_ASCII
        parts: tuple[str, ...] = ("",)
    else:
        whole, held, free = _BAR_SIGNS
        parts = _EIGHTHS
    fine = _share(spent, limit, width * len(parts))
    taken = whole * (fine // len(parts)) + parts[fine % len(parts)]
    reaches = max(len(taken), _share(spent + reserved, limit, width))
    over = spent + reserved > limit
    text = Text(taken, style="red" if over else "blue")
    text.append(held * (reaches - len(taken)), style="red" if over else "cyan")
    text.append(free * (width - reaches), style=DIM)
    return text


def sparkline(amounts: Sequence[int], console: Console) -> str:
    """Amounts in one line, each as high as it is beside the others; nothing where there is none."""
    signs = _HEIGHTS if console.encoding.lower().startswith("utf") else _HEIGHTS_ASCII
    most = max(amounts, default=0)
    return "".join(signs[_share(amount, most, len(signs) - 1)] for amount in amounts)


def _share(amount: int, limit: int, steps: int) -> int:
    """An amount's share of a limit in so many steps; one step is the least that anything has."""
    if amount <= 0:
        return 0
    return min(steps, max(1, amount * steps // limit)) if limit > 0 else steps


def percent(part: int, whole: int) -> str:
    """A share in whole percent, rounded down: 100 % is only what is used up."""
    if whole <= 0:
        return "–"
    if 0 < part * 100 < whole:
        return "<1 %"
    return f"{part * 100 // whole} %"


# -- time --------------------------------------------------------------------------------------------------


def utc(instant_ns: int) -> str:
    """An instant to the second: `2026-11-23 22:50:47Z`."""
    return f"{datetime.fromtimestamp(instant_ns // _NANOS, tz=UTC):%Y-%m-%d %H:%M:%SZ}"


def utc_short(instant_ns: int, now_ns: int) -> str:
    """The same, without its day where that is today."""
    moment = datetime.fromtimestamp(instant_ns // _NANOS, tz=UTC)
    today = datetime.fromtimestamp(now_ns // _NANOS, tz=UTC).date()
    return f"{moment:%H:%M:%SZ}" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M:%SZ}"


def ago(instant_ns: int, now_ns: int) -> str:
    """How long ago, or in how long: `12 s ago`, `in 3 h`."""
    seconds = (now_ns - instant_ns) // _NANOS
    if seconds < 0:
        return f"in {_span(-seconds)}"
    return f"{_span(seconds)} ago" if seconds else "just now"


def _span(seconds: int) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "0 s"


# -- calls -------------------------------------------------------------------------------------------------


def window_text(label: str) -> str:
    """A window's name as people read it: a rolling one by its length."""
    length_ns = length_of(label)
    return label if length_ns is None else f"last {_span(length_ns // _NANOS)}"


def effect_text(effect: str) -> Text:
    """An effect in its sign, word and colour."""
    return Text(f"{EFFECT_SIGNS.get(effect, '?')} {effect}", style=EFFECT_STYLES.get(effect, ""))


def state_text(state: str) -> Text:
    """A call's state in words."""
    return Text(STATE_WORDS.get(state, state), style=STATE_STYLES.get(state, ""))


# -- tables ------------------------------------------------------------------------------------------------


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column. `flexible` ones are shortened where there is no room, the highest `optional` ones left out.

    `least` keeps tables that follow each other in line.
    """

    name: str
    right: bool = False
    flexible: bool = False
    optional: int = 0
    least: int = 0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row, and what is said below it in a line of its own."""

    cells: Sequence[str | Text]
    note: str | Text | None = None


def table(columns: Sequence[Column], rows: Sequence[Row], console: Console) -> Text:
    """Rows in columns that fit the console's width, a header above."""
    lines = [[Text.assemble(cell) for cell in row.cells] for row in rows]
    widths = [
        max([column.least, cell_len(column.name), *(line[place].cell_len for line in lines)])
        for place, column in enumerate(columns)
    ]
    kept = _fitted(columns, widths, console.width)
    header = [Text(column.name, style=HEADER) for column in columns]
    shown = [_line(header, columns, kept)]
    for row, line in zip(rows, lines, strict=True):
        shown.append(_line(line, columns, kept))
        if row.note:
            note = Text.assemble("  ", row.note)
            note.truncate(console.width, overflow="ellipsis")
            note.stylize(DIM)
            shown.append(note)
    return Text("\n").join(shown)


def _fitted(columns: Sequence[Column], natural: Sequence[int], room: int) -> dict[int, int]:
    """The columns that are shown, by their place, with the width of each."""
    kept = dict(enumerate(natural))
    leaving = sorted(
        (place for place in kept if columns[place].optional), key=lambda place: columns[place].optional
    )
    while leaving and _width(columns, kept, _SHRINKS_TO) > room:
        del kept[leaving.pop()]
    for least in (_SHRINKS_TO, _SHRINKS_AT_LAST_TO):
        while _width(columns, kept) > room:
            longest = max(
                (place for place, width in kept.items() if columns[place].flexible and width > least),
                key=lambda place: kept[place],
                default=None,
            )
            if longest is None:
                break
            kept[longest] -= 1
    return kept


def _width(columns: Sequence[Column], kept: dict[int, int], flexible_most: int | None = None) -> int:
    """How wide a table is, if its flexible columns are no wider than so much."""
    widths = (
        width if flexible_most is None or not columns[place].flexible else min(width, flexible_most)
        for place, width in kept.items()
    )
    return sum(widths) + _GAP * (len(kept) - 1)


def _line(cells: Sequence[Text], columns: Sequence[Column], kept: dict[int, int]) -> Text:
    parts = []
    for place, width in kept.items():
        cell = cells[place].copy()
        cell.truncate(width, overflow="ellipsis")
        padding = width - cell.cell_len
        if columns[place].right:
            cell.pad_left(padding)
        elif place != max(kept):
            cell.pad_right(padding)
        parts.append(cell)
    line = Text(" " * _GAP).join(parts)
    line.rstrip()
    return line
