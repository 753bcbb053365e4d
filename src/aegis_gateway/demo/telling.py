"""Who tells the story: nobody (for programs), or plain lines (where output is piped). The screen is the third."""

from __future__ import annotations

import sys
import textwrap
import time
from typing import TextIO

import msgspec

from aegis_gateway.demo.accounts import Accounts
from aegis_gateway.demo.story import Outcome, Scene

WIDTH = 100

_S_AT_LEAST = 0.35
_S_PER_CHARACTER = 0.0133
_S_PER_VERBATIM_CHARACTER = 0.0055
_S_BETWEEN_SCENES = 0.8
_S_TO_WATCH = 0.012


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is told stays before the story goes on. Fast is not at all."""

    is_fast: bool

    def read(self, words: str, *, verbatim: bool = False) -> None:
        """Leave time to read; what stands there verbatim is looked at, not read."""
        self._pause(_S_AT_LEAST + (_S_PER_VERBATIM_CHARACTER if verbatim else _S_PER_CHARACTER) * len(words))

    def part(self) -> None:
        """Leave time between two scenes."""
        self._pause(_S_BETWEEN_SCENES)

    def watch(self) -> None:
        """Leave a moment to watch."""
        self._pause(_S_TO_WATCH)

    def _pause(self, seconds: float) -> None:
        if not self.is_fast:
            time.sleep(seconds)


class SilentTeller:
    """Tells nothing; what fails is said on stderr, so that whoever reads the JSON can find out why."""

    def begin(self, scene: Scene) -> None:
        """A scene begins."""

    def end(self, scene: Scene, outcome: Outcome) -> None:
        """A scene has ended."""
        for check in outcome.checks:
            if not check.holds:
                print(f"scene {scene.number} ({scene.name}) failed: {check.words}", file=sys.stderr)

    def say(self, words: str) -> None:
        """A sentence."""

    def show(self, words: str) -> None:
        """Something verbatim."""

    def watch(self) -> None:
        """A moment to watch."""

    def note(self, effect: str, who: str, words: str) -> None:
        """Something that happened."""

    def settle(self, accounts: Accounts) -> None:
        """The end of the day, in numbers."""


class PlainTeller:
    """Plain lines: no colour, nothing is drawn over."""

    def __init__(self, pace: Pace, out: TextIO) -> None:
        """Write to a stream."""
        self._pace = pace
        self._out = out

    def begin(self, scene: Scene) -> None:
        """A scene begins."""
        self._line(f"{scene.number}  {scene.title}")

    def end(self, scene: Scene, outcome: Outcome) -> None:
        """A scene has ended: what failed is said, what held was told."""
        for check in outcome.checks:
            if not check.holds:
                self._line(f"   ✗ scene {scene.number} failed: {check.words}")
        if outcome.passed:
            self._line("   ✓ passed")
        self._line("")
        self._pace.part()

    def say(self, words: str) -> None:
        """A sentence, broken where lines end."""
        for line in textwrap.wrap(words, WIDTH - 3, break_on_hyphens=False, break_long_words=False):
            self._line(f"   {line}")
        self._pace.read(words)

    def show(self, words: str) -> None:
        """Something verbatim, unbroken."""
        for line in words.splitlines():
            self._line(f"     {line}")
        self._pace.read(words, verbatim=True)

    def watch(self) -> None:
        """A moment to watch: there is nothing that moves."""

    def note(self, effect: str, who: str, words: str) -> None:
        """Something that happened; the sentences tell it."""

    def settle(self, accounts: Accounts) -> None:
        """The end of the day, in numbers; they come last of all, see `closing`."""

    def _line(self, words: str) -> None:
        print(words, file=self._out, flush=True)
