"""What the story is made of: scenes that really do what they tell, checks on what was measured, who tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from aegis_gateway.demo.accounts import Accounts
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.without import Without
from aegis_gateway.domain.money import NANO_PER_USD, usd_text


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must hold, in words that carry the measured numbers, and whether it does."""

    words: str
    holds: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a scene came to."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return all(check.holds for check in self.checks)


class Day(msgspec.Struct, kw_only=True):
    """What scenes leave for later ones: measured, never assumed."""

    seed: int
    without: Without | None = None
    payment: str = ""
    payments_refused_nano_usd: int = 0
    accounts: Accounts | None = None


class Teller(Protocol):
    """Who tells the story."""

    def say(self, words: str) -> None:
        """A sentence, with time to read it."""

    def show(self, words: str) -> None:
        """Something verbatim: a command, or what it answered."""

    def watch(self) -> None:
        """A moment to watch the numbers move."""

    def note(self, effect: str, who: str, words: str) -> None:
        """Something that happened and that no ledger has."""

    def settle(self, accounts: Accounts) -> None:
        """The end of the day, in numbers."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered scene."""

    number: int
    name: str
    title: str
    play: Callable[[Stage, Teller, Day], Outcome]


def dollars(amount_nano_usd: int) -> str:
    """Dollars and cents, as people say them: `$19.97`."""
    cents = NANO_PER_USD // 100
    return usd_text(
        (abs(amount_nano_usd) + cents // 2) // cents * cents * (1 if amount_nano_usd >= 0 else -1)
    )
