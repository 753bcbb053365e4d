"""`aegis digest show`: what a digest tells, printed now instead of being sent."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from aegis_gateway.domain.digest import EVERY, Digest, Every
from aegis_gateway.domain.window import Window
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import DIM, STRONG, out, print_json
from aegis_gateway.entrypoints.cli.session import instead, opened, refuse_unknown_budget

SHADOW = "shadow"

app = typer.Typer(name="digest", help="What digests tell, now and without sending.", no_args_is_help=True)


@app.callback()
def digest() -> None:
    """Digests are sent by the steward, at the end of each period, to where `digests` in aegis.yaml says."""


@app.command("show")
def show(
    which: Annotated[
        str,
        typer.Argument(
            metavar="|".join((*EVERY, SHADOW)),
            help="Of which period, or of rules in shadow.",
            show_default=False,
        ),
    ],
    team: Annotated[str | None, typer.Option(metavar="ID", help="Of one team.", show_default=False)] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="ID", help="Of one budget.", show_default=False)
    ] = None,
    current: Annotated[
        bool, typer.Option("--current", help="Of the period that is going on, instead of the last whole one.")
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="|".join(EVERY), help="Of rules in shadow: of which period.")
    ] = "weekly",
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a digest tells of the last whole period, in the tenant's time zone and calendar; nothing is sent."""
    from aegis_gateway import bootstrap
    from aegis_gateway.entrypoints.digests import message_of_digest

    if team is not None and budget is not None:
        raise typer.BadParameter("a digest is of a team or of a budget; leave one of them out")
    if which == SHADOW and (team or budget):
        raise typer.BadParameter("rules in shadow are the whole tenant's; leave --team and --budget out")
    with opened(store) as session:
        name = session.tenant(tenant)
        registry = session.configured(name)
        if team is not None and team not in registry.teams:
            raise typer.BadParameter(f"there is no team `{team}`; {instead(team, list(registry.teams))}")
        if budget is not None:
            refuse_unknown_budget(budget, registry)
        wanted = Digest(
            id="now",
            every=_every(every if which == SHADOW else which),
            what="shadow" if which == SHADOW else "spending",
            scope="team" if team else "budget" if budget else "tenant",
            name=team or budget or "",
        )
        zone, year, now_ns = registry.zone, registry.year_starts, session.store.clock_ns()
        window: Window = wanted.current(zone, now_ns, year) if current else wanted.last(zone, now_ns, year)
        rules = bootstrap.compiled_policies(session.configuration, name).rules
        policies = [policy for _, policy in sorted(rules.items())]
        message = message_of_digest(
            session.store, registry, policies, wanted, window, session.settings.pages_url
        )
    if as_json:
        print_json({"tenant": name, "title": message.title, **message.data})
        return
    console = out()
    console.print(Text(message.title, style=STRONG))
    console.print(Text(message.text, style=DIM))
    width = max((len(label) for label, _ in message.facts), default=0) + 2
    for label, text in message.facts:
        console.print(Text.assemble((label.ljust(width), DIM), text))
    for link in message.links:
        console.print(Text(f"{link.label}: {link.url}", style=DIM))


def _every(text: str) -> Every:
    for every in EVERY:
        if every == text:
            return every
    raise typer.BadParameter(f"there is no digest `{text}`; {instead(text, [*EVERY, SHADOW])}")
