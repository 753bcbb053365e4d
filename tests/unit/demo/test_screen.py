"""Frames of the demo's screen, at the sizes that people have."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from aegis_gateway.demo.accounts import Accounts
from aegis_gateway.demo.feed import Bar, Bill, BillLine, Event, Look
from aegis_gateway.demo.screen import Line, Picture, fits, frame

DOLLAR = 1_000_000_000

LOOK = Look(
    bars=(
        Bar(
            budget="lending-day",
            owner="ana@northbank.example",
            spent=19 * DOLLAR,
            reserved=DOLLAR // 2,
            limit=20 * DOLLAR,
        ),
        Bar(
            budget="research-day",
            owner="emeka@northbank.example",
            spent=212 * DOLLAR,
            reserved=0,
            limit=20 * DOLLAR,
        ),
        Bar(budget="payouts-day", owner="dana@northbank.example", spent=0, reserved=0, limit=20_000 * DOLLAR),
    ),
    events=(
        Event(
            at="10:00:00", effect="allow", who="loan-advisor", what="gpt-4.1", count=103, nano_usd=20 * DOLLAR
        ),
        Event(
            at="10:00:01",
            effect="deny",
            who="affordability-checker",
            what="budget exhausted " * 9,
            count=9_999,
        ),
    ),
    bill=Bill(
        nano_usd=212 * DOLLAR, requests=1, lines=(BillLine(agent="loan-advisor", nano_usd=1, requests=1),)
    ),
)

ACCOUNTS = Accounts(
    provider_bill_nano_usd=41_010_872_350,
    ledger_nano_usd=41_010_872_350,
    by_agent_nano_usd={"loan-advisor": 41_010_872_350},
    billed_by_agent_nano_usd={},
    effects={},
    arrived=0,
    reserved=0,
    budgets=(),
    not_spent_nano_usd=0,
    counter_over_nano_usd=0,
    payments_refused_nano_usd=0,
)


def drawn(picture: Picture, width: int, height: int) -> list[str]:
    """A frame's lines, without colour."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=height, color_system=None, force_terminal=True, legacy_windows=False
    )
    console.print(frame(picture, console), end="")
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 40), (120, 40), (200, 60)])
@pytest.mark.parametrize("accounts", [None, ACCOUNTS])
def test_a_frame_fills_the_terminal_and_no_more(width: int, height: int, accounts: Accounts | None) -> None:
    """No line is wider than the terminal, none is missing, and one is left free, so that nothing scrolls."""
    lines = tuple(
        Line(words="a sentence that goes on and on " * 5, is_verbatim=bool(n % 2)) for n in range(9)
    )
    picture = Picture(
        address="http://127.0.0.1:8700", seconds=75, scenes=9, lines=lines, look=LOOK, accounts=accounts
    )
    shown = drawn(picture, width, height)
    assert height - 1 == len(shown)
    assert all(len(line) <= width for line in shown)


def test_a_budget_shows_owner_and_what_is_spent_reserved_and_left() -> None:
    """The numbers stand below each other, in dollars and cents; what is over is negative."""
    shown = "\n".join(drawn(Picture(address="http://127.0.0.1:8700", seconds=0, look=LOOK), 80, 24))
    assert "lending-day    ana@northbank.example" in shown
    assert "$19.00       $0.50       $0.50" in shown
    assert "$212.00       $0.00    -$192.00" in shown


def test_calls_of_one_kind_are_one_line() -> None:
    """How many there were, who made them, and what they cost."""
    shown = "\n".join(drawn(Picture(address="http://127.0.0.1:8700", seconds=0, look=LOOK), 120, 40))
    assert "10:00:00 ✓ allow    103×  loan-advisor" in shown
    assert "$20.00" in shown


def test_a_terminal_that_is_too_small_gets_plain_lines() -> None:
    """Below 78 columns or 24 rows a frame would be cut."""
    sizes = {(120, 40): True, (78, 24): True, (77, 24): False, (80, 23): False}
    assert sizes == {
        size: fits(Console(file=io.StringIO(), width=size[0], height=size[1], force_terminal=True))
        for size in sizes
    }
