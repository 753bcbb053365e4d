"""`aegis demo`: a bank's day in 90 seconds."""

from __future__ import annotations

import importlib.util
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from aegis_gateway.domain.errors import ConfigurationError

STOPPED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        rich_help_panel="Configure and run", short_help="A bank's day in 90 seconds, with and without Aegis."
    )(demo)


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Without pauses for reading; ends by itself.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Tell nothing, print one JSON object; ends by itself.")
    ] = False,
) -> None:
    """A bank's day in 90 seconds: agents that spend, with and without Aegis.

    Starts a gateway on 127.0.0.1:8700 (another port if that is taken) and a made-up provider that keeps its own
    bill, plays the day, and leaves both running until Ctrl-C. Exit code 1 says that something did not hold.
    """
    if importlib.util.find_spec("openai") is None:
        raise ConfigurationError(
            "the demo's agents use the official client, and it is not installed; "
            "install it with `pip install 'aegis-gateway[demo]'`"
        )
    # Here: what the demo is made of takes a second to import, and `aegis --help` needs nothing of it.
    from aegis_gateway.demo.director import play_for_people, play_for_programs

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        is_right = play_for_programs(sys.stdout) if as_json else play_for_people(fast=fast)
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    raise typer.Exit(0 if is_right else 1)


def _stop(number: int, _frame: FrameType | None) -> None:
    """End in order: what is open is closed on the way out."""
    sys.exit(128 + number)
