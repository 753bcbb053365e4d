"""The `aegis` command: wires the commands, and turns faults into one clear line.

Rule 1: exit codes mean something: 0 done; 1 a fault, told on stderr; 2 the command was used wrongly (and
        `plan --detailed-exitcode`: something would change); 3 understood and refused, told on stderr; 4 proposed,
        and waiting for a second person.
Rule 2: a traceback is for what nobody foresaw; whatever Aegis raises itself is words.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points
from importlib.metadata import version as package_version
from typing import Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from aegis_gateway.domain.errors import AegisError, NotPermitted
from aegis_gateway.entrypoints.cli import (
    agent,
    approvals,
    audit,
    budgets,
    call,
    calls,
    canary,
    configuration,
    digest,
    doctor,
    entries,
    estimate,
    incidents,
    key,
    kpi,
    notifications,
    people,
    policy,
    policy_test,
    proposals,
    replay,
    report,
    rollout,
    runs,
    shadow,
    top,
    up,
    versions,
)
from aegis_gateway.entrypoints.cli.output import WARNING, say

FAULT, REFUSED = 1, 3
PLUGINS = "aegis.commands"
BUILT_IN = (
    *(
        "up",
        "init",
        "plan",
        "test",
        "replay",
        "apply",
        "versions",
        "rollback",
        "canary",
        "proposals",
        "approvals",
    ),
    *("agent", "key", "people", "policy"),
    *("estimate", "budget", "kpi", "calls", "call", "runs", "shadow", "incidents", "notifications", "digest"),
    *("report", "rollout"),
    *("top", "entries", "doctor"),
    "audit",
)

_RUN, _WHO, _LOOK = "Configure and run", "Who may", "See"

_EPILOG = (
    "Exit codes: 0 done; 1 a fault, told on stderr; 2 used wrongly, and with `plan --detailed-exitcode` "
    "something would change; 3 understood and refused (a role or a tag that is missing, a faulty row, a call "
    "that is not in doubt, `budget --check` with a budget that did not hold, what `doctor` or `versions verify` "
    "found wrong, a policy test that failed, more new denials than `replay` may find, a test that a channel did "
    "not take); 4 proposed: it waits for a second person."
)


class Commands(TyperGroup):
    """The commands, in the order in which people meet them; a fault of one becomes a line and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names: ours in our order, then those of others."""
        names = super().list_commands(ctx)
        return [name for name in BUILT_IN if name in names] + [name for name in names if name not in BUILT_IN]

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except AegisError as fault:
            is_refusal = isinstance(fault, NotPermitted)
            for line in str(fault).splitlines() or [type(fault).__name__]:
                say(Text.assemble(("refused: " if is_refusal else "error: ", "red"), line))
            raise typer.Exit(REFUSED if is_refusal else FAULT) from fault


def build(plugins: Iterable[EntryPoint] = ()) -> typer.Typer:
    """The command with everything in it, and what others have registered."""
    app = typer.Typer(
        name="aegis",
        cls=Commands,
        help="Aegis: what AI agents may spend on models, tools and APIs, decided before each call.",
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    app.command(rich_help_panel=_RUN, short_help="Run the gateway.")(up.up)
    app.command(rich_help_panel=_RUN, short_help="Write a commented example configuration.")(
        configuration.init
    )
    app.command(rich_help_panel=_RUN, short_help="Check a configuration and show what would change.")(
        configuration.plan
    )
    app.command(name="test", rich_help_panel=_RUN, short_help="Run the tests of a configuration's policies.")(
        policy_test.policy_test
    )
    app.command(rich_help_panel=_RUN, short_help="What a configuration would have done to recorded calls.")(
        replay.replay
    )
    app.command(rich_help_panel=_RUN, short_help="Put a configuration in force.")(configuration.apply)
    app.add_typer(versions.app, rich_help_panel=_RUN)
    app.command(rich_help_panel=_RUN, short_help="Put an earlier configuration in force again.")(
        versions.rollback
    )
    app.add_typer(canary.app, rich_help_panel=_RUN)
    app.add_typer(proposals.app, rich_help_panel=_RUN)
    app.add_typer(approvals.app, rich_help_panel=_WHO)
    app.add_typer(agent.app, rich_help_panel=_WHO)
    app.add_typer(key.app, rich_help_panel=_WHO)
    app.add_typer(people.app, rich_help_panel=_WHO)
    app.add_typer(policy.app, rich_help_panel=_WHO)
    app.command(rich_help_panel=_LOOK, short_help="Price a request before it is sent.")(estimate.estimate)
    app.add_typer(budgets.app, rich_help_panel=_LOOK)
    app.add_typer(calls.app, rich_help_panel=_LOOK)
    app.command(rich_help_panel=_LOOK, short_help="One call in full: who, what, why, cost, timeline.")(
        call.call
    )
    app.add_typer(runs.app, rich_help_panel=_LOOK)
    app.command(rich_help_panel=_LOOK, short_help="Key figures: what spending is measured by.")(kpi.kpi)
    app.command(rich_help_panel=_LOOK, short_help="What rules in shadow would have done.")(shadow.shadow)
    app.add_typer(incidents.app, rich_help_panel=_LOOK)
    app.add_typer(notifications.app, rich_help_panel=_LOOK)
    app.add_typer(digest.app, rich_help_panel=_LOOK)
    app.command(rich_help_panel=_LOOK, short_help="The report of a month: plan, figures, risks.")(
        report.report
    )
    app.add_typer(rollout.app, rich_help_panel=_LOOK)
    app.command(rich_help_panel=_LOOK, short_help="All of that, live.")(top.top)
    app.command(rich_help_panel=_LOOK, short_help="The record itself, byte for byte.")(entries.entries)
    app.add_typer(audit.app, rich_help_panel=_LOOK)
    app.command(
        rich_help_panel=_LOOK, short_help="Whether all is in order: versions, clock, store, keys, disk."
    )(doctor.doctor)
    register(app, plugins)
    return app


def register(app: typer.Typer, plugins: Iterable[EntryPoint]) -> None:
    """Let others add their commands; one that cannot be loaded is told of and left out."""
    for plugin in plugins:
        try:
            plugin.load()(app)
        except (ImportError, AttributeError) as fault:
            say(Text.assemble(("warning: ", WARNING), f"the command `{plugin.name}` is left out: {fault}"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line. Commands of others are loaded only where one of theirs may be meant."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal that knows no `█` shows `?`, and the command goes on
    given = sys.argv[1:] if arguments is None else list(arguments)
    first = next((each for each in given if not each.startswith("-")), None)
    app = build(() if first in BUILT_IN else entry_points(group=PLUGINS))
    app(args=given, prog_name="aegis")


def _version(wanted: bool) -> None:
    if wanted:
        try:
            number = package_version("aegis-gateway")
        except PackageNotFoundError:
            number = "unknown"
        print(f"aegis {number}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    del version


if __name__ == "__main__":
    main()
