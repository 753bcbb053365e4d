"""The director: sets the stage, plays the scenes in order, and says what came of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Protocol, TextIO

from aegis_gateway.demo.aftermath import closing_lines, leave_running, what_to_try
from aegis_gateway.demo.live import ScreenTeller
from aegis_gateway.demo.report import is_right, report
from aegis_gateway.demo.scenes import SCENES
from aegis_gateway.demo.screen import fits
from aegis_gateway.demo.stage import PORT, Stage
from aegis_gateway.demo.story import Day, Outcome, Scene, Teller
from aegis_gateway.demo.telling import Pace, PlainTeller, SilentTeller
from aegis_gateway.demo.visitor import let_in
from aegis_gateway.entrypoints.cli.output import out

SEED = 7

Played = Sequence[tuple[Scene, Outcome]]


class Narrator(Teller, Protocol):
    """A teller that is also told where scenes begin and end."""

    def begin(self, scene: Scene) -> None:
        """A scene begins."""

    def end(self, scene: Scene, outcome: Outcome) -> None:
        """A scene has ended."""


def play_for_programs(stream: TextIO) -> bool:
    """Play without telling, and write one JSON object."""
    with Stage(seed=SEED, port=0) as stage:
        day = Day(seed=SEED)
        played = play(stage, day, SilentTeller())
    assert day.accounts is not None, "the last scene closes the books"
    print(json.dumps(report(played, day.accounts), indent=2), file=stream, flush=True)
    return is_right(played, day.accounts)


def play_for_people(*, fast: bool) -> bool:
    """Play on the screen, or in plain lines where there is none; stay until stopped, unless it is fast."""
    console = out()
    began_at = time.monotonic()
    with Stage(seed=SEED, port=0 if fast else PORT) as stage:
        if not fast and stage.settings.port != PORT:
            print(f"port {PORT} is taken here, so this gateway is on port {stage.settings.port}", flush=True)
        day, pace = Day(seed=SEED), Pace(is_fast=fast)
        if fits(console):
            with ScreenTeller(stage, pace, console, len(SCENES)) as teller:
                played = play(stage, day, teller)
        else:
            played = play(stage, day, PlainTeller(pace, sys.stdout))
        assert day.accounts is not None, "the last scene closes the books"
        right = is_right(played, day.accounts)
        for line in closing_lines(played, day.accounts, time.monotonic() - began_at):
            print(line, flush=True)
        if not fast:
            console.print(what_to_try(stage, let_in(stage)), soft_wrap=True)
            leave_running(stage, console)
    return right


def play(stage: Stage, day: Day, narrator: Narrator) -> Played:
    """Play all scenes."""
    played = []
    for scene in SCENES:
        narrator.begin(scene)
        outcome = scene.play(stage, narrator, day)
        narrator.end(scene, outcome)
        played.append((scene, outcome))
    return played
