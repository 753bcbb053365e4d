"""The screen: the story above, three budgets and what happens in the middle, the provider's own bill below.

Rule: a frame is a function of what is shown (`Picture`) and the room there is; it asks nobody.
"""

from __future__ import annotations

import textwrap

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from aegis_gateway.demo.accounts import Accounts
from aegis_gateway.demo.feed import Bar, Bill, Event, Look
from aegis_gateway.demo.story import dollars
from aegis_gateway.domain.money import usd_short
from aegis_gateway.entrypoints.cli.output import DIM, EFFECT_SIGNS, EFFECT_STYLES, STRONG, bar

WIDTH_MIN, HEIGHT_MIN = 78, 24

_WIDE = 100
_LEFT = 48
_TALL = 32
_NUMBERS = ("spent", "reserved", "left")
_EVENTS_WIDE = 50
_WHO = 21
_EDGES = 4


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was told: a sentence, or something verbatim."""

    words: str
    is_verbatim: bool = False


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a frame shows. `passed` has the scenes that are over, in order."""

    address: str
    seconds: int
    title: str = ""
    scenes: int = 0
    passed: tuple[bool, ...] = ()
    lines: tuple[Line, ...] = ()
    look: Look = Look()
    accounts: Accounts | None = None
    is_aegis_deciding: bool = False


def fits(console: Console) -> bool:
    """Whether a terminal is large enough for a frame."""
    return console.is_terminal and console.width >= WIDTH_MIN and console.height >= HEIGHT_MIN


def frame(picture: Picture, console: Console) -> RenderableType:
    """One frame, for a console's size."""
    width, height = console.width, console.height - 1
    is_tall = height >= _TALL
    bill_height = 5 if is_tall else 4
    middle_height = max(12, (height - bill_height - 1) * 5 // 9)
    story_height = height - 1 - middle_height - bill_height
    left_width = width // 2 if width < _WIDE else _LEFT
    layout = Layout()
    layout.split_column(
        Layout(_header(picture, width), size=1),
        Layout(_story(picture, width, story_height), size=story_height),
        Layout(name="middle", size=middle_height),
        Layout(_bill(picture, width, is_tall=is_tall), size=bill_height),
    )
    layout["middle"].split_row(
        Layout(_budgets(picture, left_width, middle_height, console), size=left_width),
        Layout(_events(picture.look.events, width - left_width, middle_height)),
    )
    return _Sized(layout, height)


class _Sized:
    """A layout of a fixed height: by itself it would take all of the terminal, and scroll."""

    def __init__(self, layout: Layout, height: int) -> None:
        self._layout = layout
        self._height = height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._layout, options.update(height=self._height))


def _header(picture: Picture, width: int) -> Text:
    text = Text.assemble((" Aegis ", "bold reverse"), (" North Bank's day  ", STRONG))
    for number in range(picture.scenes):
        if number < len(picture.passed):
            text.append(*((f"{number}✓ ", "green") if picture.passed[number] else (f"{number}✗ ", "red")))
        elif number == len(picture.passed):
            text.append(f"{number}▸ ", STRONG)
        else:
            text.append(f"{number}  ", DIM)
    right = f"{picture.address.removeprefix('http://')}  {picture.seconds // 60}:{picture.seconds % 60:02d} "
    text.append(" " * max(1, width - text.cell_len - len(right)))
    text.append(right, DIM)
    return text


def _story(picture: Picture, width: int, height: int) -> Panel:
    """The scene's last lines, as many as there is room for; the newest sentence stands out."""
    room = width - _EDGES
    shown: list[Text] = []
    newest = max((place for place, line in enumerate(picture.lines) if not line.is_verbatim), default=-1)
    for place, line in enumerate(picture.lines):
        if line.is_verbatim:
            style, indent = "cyan", "  "
        else:
            style, indent = (STRONG if place == newest else ""), ""
        for paragraph in line.words.splitlines():
            wrapped = textwrap.wrap(
                paragraph,
                room - len(indent),
                break_on_hyphens=False,
                initial_indent=indent,
                subsequent_indent=indent * 2,
            )
            shown += [Text(row, style=style) for row in wrapped]
    title = Text(f" {picture.title} ", style=STRONG)
    body = Group(*shown[-(height - 2) :])
    return Panel(body, title=title, title_align="left", height=height, border_style="blue", padding=(0, 1))


def _budgets(picture: Picture, width: int, height: int, console: Console) -> Panel:
    """Three budgets: owner, bar, and the three numbers under each other."""
    room = width - _EDGES
    is_spacious = height >= 3 * len(picture.look.bars) + 6
    column = room // len(_NUMBERS)
    header = "".join(f"{name:>{column}}" for name in _NUMBERS)
    rows: list[RenderableType] = [Text(header.rjust(room), style=DIM)]
    for each in picture.look.bars:
        rows += _budget(each, room, column, console)
        if is_spacious:
            rows.append(Text(""))
    if is_spacious:
        rows += [_other(each, room) for each in picture.look.others]
    held = "held by Aegis" if picture.is_aegis_deciding else "nobody holds them"
    title = Text.assemble((" Budgets", STRONG), (f" · {held} ", DIM))
    return Panel(
        Group(*rows), title=title, title_align="left", height=height, border_style=DIM, padding=(0, 1)
    )


def _budget(each: Bar, room: int, column: int, console: Console) -> list[Text]:
    name = Text(each.budget, style=STRONG)
    name.append(each.owner.rjust(room - name.cell_len), style="")
    limit = f" of {_whole(each.limit)}"
    line = bar(each.spent, each.reserved, each.limit, room - len(limit), console)
    line.append(limit, style=DIM)
    numbers = Text("")
    for amount, style in ((each.spent, ""), (each.reserved, "cyan"), (each.left, "")):
        numbers.append(
            dollars(amount).rjust(column), style=("bold red" if amount < 0 else style) if amount else DIM
        )
    numbers.pad_left(room - numbers.cell_len)
    return [name, line, numbers]


def _other(each: Bar, room: int) -> Text:
    """A budget in one line, for those beside the three."""
    line = Text.assemble(("also ", DIM), each.budget)
    text = f"{dollars(each.spent)} of {_whole(each.limit)}"
    line.append(text.rjust(room - line.cell_len), style="" if each.spent else DIM)
    return line


def _events(events: tuple[Event, ...], width: int, height: int) -> Panel:
    """What happened, the newest below; calls of one kind in a row are one line."""
    room = width - _EDGES
    rows = [_event(event, room) for event in events[-(height - 2) :]]
    title = Text(" Events ", style=STRONG)
    return Panel(
        Group(*rows), title=title, title_align="left", height=height, border_style=DIM, padding=(0, 1)
    )


def _event(event: Event, room: int) -> Text:
    sign, style = EFFECT_SIGNS.get(event.effect, "·"), EFFECT_STYLES.get(event.effect, "")
    times = f"{event.count}×" if event.count > 1 else ""
    if room >= _EVENTS_WIDE:
        line = Text.assemble((f"{event.at} ", DIM), (f"{sign} {event.effect:<8} {times:>4}  ", style))
        line.append(f"{event.who:<{_WHO}} ")
    else:
        line = Text.assemble((f"{sign} {times}{' ' if times else ''}", style), f"{event.who} ")
    amount = usd_short(event.nano_usd) if event.nano_usd else ""
    line.append(event.what, style=DIM if event.effect else "")
    line.truncate(room - len(amount) - 1 if amount else room, overflow="ellipsis")
    line.append(amount.rjust(room - line.cell_len))
    return line


def _bill(picture: Picture, width: int, *, is_tall: bool) -> Panel:
    """The provider's bill; at the end of the day beside the ledger and the sum over agents."""
    bill, accounts = picture.look.bill, picture.accounts
    body = _sides(accounts, width - _EDGES) if accounts else _total(bill, width - _EDGES)
    title = Text(" The provider's own bill ", style=STRONG)
    if accounts:
        title = Text(" Three ways of counting the day ", style=STRONG)
    height = 5 if is_tall else 4
    style = ("green" if accounts.agree else "red") if accounts else DIM
    return Panel(body, title=title, title_align="left", height=height, border_style=style, padding=(0, 1))


def _total(bill: Bill, room: int) -> Group:
    requests = "1 request" if bill.requests == 1 else f"{bill.requests:,} requests"
    total = Text.assemble((dollars(bill.nano_usd), STRONG), f"  for {requests}")
    if bill.paid_out_nano_usd:
        total.append(f"  ·  paid out {dollars(bill.paid_out_nano_usd)}")
    agents = Text("  ".join(f"{line.agent} {usd_short(line.nano_usd)}" for line in bill.lines), style=DIM)
    agents.truncate(room * 2, overflow="ellipsis")
    return Group(total, agents)


def _sides(accounts: Accounts, room: int) -> Group:
    sides = accounts.side_by_side()
    column = room // len(sides)
    names = Text("".join(f"{name:<{column}}" for name in sides), style=DIM)
    equals = " = " if accounts.agree else " ≠ "
    numbers = Text()
    for place, text in enumerate(sides.values()):
        numbers.append(text, style=STRONG)
        if place + 1 < len(sides):
            numbers.append(equals.center(column - len(text)), style="green" if accounts.agree else "red")
    over = Text(
        f"over any hard budget {dollars(accounts.overspent_nano_usd)} (the counter: "
        f"{dollars(accounts.counter_over_nano_usd)})  ·  not spent {dollars(accounts.not_spent_nano_usd)}",
        style=DIM,
    )
    over.truncate(room, overflow="ellipsis")
    return Group(names, numbers, over)


def _whole(amount_nano_usd: int) -> str:
    """Dollars without cents where there are none."""
    return dollars(amount_nano_usd).removesuffix(".00")
