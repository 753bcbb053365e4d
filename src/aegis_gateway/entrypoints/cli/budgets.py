"""`aegis budget` and what is below it. Without the name of a command it is `show`: `aegis budget ID` shows one."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from aegis_gateway.entrypoints.cli import adaptation, budget, budget_ask, budget_changes, forecast

SHOWN = "show"


class BudgetCommands(TyperGroup):
    """Commands, one of which is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, with the name of the command that was left out."""
        is_named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_named else [SHOWN, *args])


app = typer.Typer(
    name="budget",
    cls=BudgetCommands,
    help="What may be spent, what is, and by whom. `aegis budget ID` is short for `aegis budget show ID`.",
    short_help="What may be spent, what is, and by whom.",
    rich_markup_mode="markdown",
)
app.command(SHOWN, short_help="Owner, limit, spent, reserved, left; of one budget also what it was.")(
    budget.budget
)
app.command("forecast", short_help="What windows will have come to, and when nothing will be left.")(
    forecast.forecast
)
app.command("ask", short_help="Ask another person for more, for a while or for good.")(budget_ask.ask)
app.command("increase", short_help="Raise a limit for a while, or for good.")(budget_changes.increase)
app.command("move", short_help="Move money between budgets of one owner.")(budget_changes.move)
app.command("split", short_help="Give budgets within another their limits.")(budget_changes.split)
app.command("adapt", short_help="What a limit that follows use should be next, and why.")(adaptation.adapt)
app.command("history", short_help="What was done to a limit, by whom, why, and until when.")(
    budget_changes.history
)
app.command("rollback", short_help="Take a change of limits back.")(budget_changes.rollback)
