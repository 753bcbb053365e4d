"""Tells the story on the screen, while budgets, events and the provider's bill move beside it."""

from __future__ import annotations

import time

from rich.console import Console, RenderableType
from rich.live import Live

from aegis_gateway.demo.accounts import Accounts
from aegis_gateway.demo.feed import Feed
from aegis_gateway.demo.screen import Line, Picture, frame
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Outcome, Scene
from aegis_gateway.demo.telling import Pace

FRAMES_PER_SECOND = 8


class ScreenTeller:
    """A context manager: within it the screen is drawn; the last frame stays when it is left."""

    def __init__(self, stage: Stage, pace: Pace, console: Console, scenes: int) -> None:
        """Draw on a console that is large enough for it."""
        self._stage = stage
        self._pace = pace
        self._console = console
        self._scenes = scenes
        self._began_at = time.monotonic()
        self._title = ""
        self._lines: tuple[Line, ...] = ()
        self._passed: tuple[bool, ...] = ()
        self._accounts: Accounts | None = None
        self._feed = Feed(stage)
        self._live = Live(
            get_renderable=self._frame,
            console=console,
            refresh_per_second=FRAMES_PER_SECOND,
            vertical_overflow="crop",
        )

    def __enter__(self) -> ScreenTeller:
        """Begin to draw."""
        self._feed.__enter__()
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Draw a last frame, which has everything."""
        self._feed.__exit__()
        self._live.__exit__(None, None, None)

    def begin(self, scene: Scene) -> None:
        """A scene begins: its lines replace those of the one before."""
        self._title, self._lines = f"{scene.number} · {scene.title}", ()

    def end(self, scene: Scene, outcome: Outcome) -> None:
        """A scene has ended: what failed is said, what held was told."""
        for check in outcome.checks:
            if not check.holds:
                self._tell(Line(words=f"✗ scene {scene.number} failed: {check.words}"))
        self._passed = (*self._passed, outcome.passed)
        self._pace.part()

    def say(self, words: str) -> None:
        """A sentence."""
        self._tell(Line(words=words))

    def show(self, words: str) -> None:
        """Something verbatim."""
        self._tell(Line(words=words, is_verbatim=True))

    def watch(self) -> None:
        """A moment to watch the numbers move."""
        self._pace.watch()

    def note(self, effect: str, who: str, words: str) -> None:
        """Something that happened and that no ledger has."""
        self._feed.note(effect, who, words)

    def settle(self, accounts: Accounts) -> None:
        """The end of the day, in numbers: they take the bill's place."""
        self._accounts = accounts

    def _tell(self, line: Line) -> None:
        self._lines = (*self._lines, line)
        self._pace.read(line.words, verbatim=line.is_verbatim)

    def _frame(self) -> RenderableType:
        picture = Picture(
            address=self._stage.url,
            seconds=int(time.monotonic() - self._began_at),
            title=self._title,
            scenes=self._scenes,
            passed=self._passed,
            lines=self._lines,
            look=self._feed.look(),
            accounts=self._accounts,
            is_aegis_deciding=self._stage.aegis_decides,
        )
        return frame(picture, self._console)
