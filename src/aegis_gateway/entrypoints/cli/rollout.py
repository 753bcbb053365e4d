"""`aegis rollout`: how far the rollout is, step by step, and what to do next; reviews; taking a rule out of shadow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from aegis_gateway.domain.errors import ConfigurationError, StoreNotMade
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.rollout import Measure, Rollout, Step
from aegis_gateway.entrypoints.cli import options
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption, one_line
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    GOOD,
    STRONG,
    WARNING,
    bar,
    out,
    percent,
    print_json,
    say,
    utc,
)
from aegis_gateway.entrypoints.cli.session import opened, settings_for

PROPOSED = 4
_BAR_WIDTH = 20

app = typer.Typer(
    name="rollout",
    help="How far the rollout is, in five steps, and what to do next.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def rollout(
    context: typer.Context,
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the five steps of a rollout: tag agents, gateway, cost policies, alerts and dashboards, reviews.

    Each is measured from what is in force and in the ledger: how far it is, what is missing by name, and the next
    command, which can be copied as it stands (DIR is the directory of your configuration). Calls and spending are those
    of the last 30 days.
    """
    if context.invoked_subcommand is not None:
        return
    from aegis_gateway.entrypoints.rollout import rollout_now, rollout_record

    try:
        with opened(store) as session:
            found = rollout_now(session, tenant)
    except StoreNotMade:
        if tenant is not None:
            raise
        found = _not_begun(store)
    if as_json:
        print_json(rollout_record(found, utc))
        return
    console = out()
    whose = found.tenant or "nothing is in force yet"
    console.print(Text.assemble((f"{found.done} of {len(found.steps)} steps done", STRONG), f"  {whose}"))
    for line in _lines(found, console):
        console.print(line)


@app.command("review")
def review(
    note: Annotated[
        str,
        typer.Option(
            "--note", metavar="WORDS", help="What was looked at, what was decided.", parser=one_line
        ),
    ],
    next_review: Annotated[
        str | None,
        typer.Option(
            "--next",
            metavar="TIME",
            help="When the next one is due: 91d, 2027-03-01; in a quarter, where it is left out.",
            show_default=False,
        ),
    ] = None,
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a review: it stands in the record with your name, and says when the next one is due."""
    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        session.configured(name)
        now_ns = session.store.clock_ns()
        due_ns = None if next_review is None else options.until_ns(next_review, now_ns)
        done = session.reviews().record(name, note, due_ns)
    if as_json:
        print_json(
            {
                "tenant": name,
                "sequence": done.sequence,
                "by": done.by,
                "note": done.note,
                "at": utc(done.at_ns),
                "next": utc(done.next_ns),
            }
        )
    else:
        say(
            f"recorded as entry {done.sequence} of {name}, by {done.by}; the next one is due {utc(done.next_ns)}"
        )


@app.command("reviews")
def reviews(
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many at most.")] = 20,
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the reviews that were recorded, the newest first."""
    from aegis_gateway.adapters.rollout_reports import RolloutReports

    with opened(store) as session:
        name = session.tenant(tenant)
        found = RolloutReports(session.store.query).reviews(name, limit)
    if as_json:
        records = [
            {
                "sequence": each.sequence,
                "at": utc(each.at_ns),
                "by": each.by,
                "note": each.note,
                "next": utc(each.next_ns),
            }
            for each in found
        ]
        print_json({"tenant": name, "reviews": records})
        return
    if not found:
        say("nothing was reviewed yet; `aegis rollout review --note WORDS` records a review")
    for each in found:
        out().print(Text.assemble((utc(each.at_ns), DIM), f"  {each.by}: {each.note}"))


@app.command("enforce")
def enforce(
    rule: Annotated[
        str,
        typer.Argument(
            metavar="RULE",
            help="As `aegis shadow` names it: a policy's id, budget:ID, rate:ID.",
            show_default=False,
        ),
    ],
    note: Annotated[
        str,
        typer.Option("--note", metavar="WORDS", help="Why; it stands with the version.", callback=one_line),
    ] = "",
    tenant: TenantOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take one rule out of shadow in the files that are in force, and nothing else; the same as on its page.

    It goes the way of every change: its tests are run, it has to have been tried for as long as the tenant demands, and
    where two people are needed it is proposed (exit code 4). Change it in your own directory as well.
    """
    from aegis_gateway.domain.shadow_rules import how_to_enforce, in_shadow
    from aegis_gateway.entrypoints import enforcing

    with opened(store, writable=True) as session:
        name = session.tenant(tenant)
        view = session.view(name)
        rules = in_shadow(view.registry, view.policies.rules.values())
        if rule not in rules:
            raise ConfigurationError(f"`{rule}` is not in shadow in {name}; `aegis shadow` lists what is")
        asked = enforcing.enforcement_of(session, name, rule)
        done = enforcing.enforce(session, asked, note or f"enforce {rule}")
    is_proposal = isinstance(done, Proposal)
    if as_json:
        number = {"proposed": done.number} if isinstance(done, Proposal) else {"version": done.version}
        print_json({"tenant": name, "rule": rule, **number})
    elif isinstance(done, Proposal):
        say(f"proposed as {done.number}; somebody else approves it: `aegis proposals approve {done.number}`")
    else:
        say(f"`{rule}` is enforced since version {done.version}")
        say(f"in your own directory: {how_to_enforce(rule, rules[rule])}")
    if is_proposal:
        raise typer.Exit(PROPOSED)


def _not_begun(store: str | None) -> Rollout:
    """What is told where there isn't even a store."""
    from aegis_gateway.adapters.clock import SystemClock
    from aegis_gateway.domain.rollout_facts import RolloutFacts
    from aegis_gateway.domain.rollout_steps import rollout_of

    url = settings_for(store).pages_url
    return rollout_of(RolloutFacts(tenant="", now_ns=SystemClock().now_ns(), url=url))


def _lines(found: Rollout, console: Console) -> Iterator[Text]:
    for number, step in enumerate(found.steps, 1):
        mark = Text("✓ done", style=GOOD) if step.is_done else Text("… to do", style=WARNING)
        yield Text.assemble("\n", (f"{number}. {step.title}", STRONG), "  ", mark, (f"  {step.when}", DIM))
        for measure in step.measures:
            yield _measure(measure, console)
        for missing in step.missing:
            yield Text(f"   - {missing}")
        if step.missing_count > len(step.missing):
            yield Text(f"   and {step.missing_count - len(step.missing)} more", style=DIM)
        yield from _next(step, found)


def _measure(measure: Measure, console: Console) -> Text:
    told = (
        f"{usd_short(measure.numerator)} of {usd_short(measure.denominator)}"
        if measure.unit == "usd"
        else f"{measure.numerator:,} of {measure.denominator:,}"
    )
    filled = bar(measure.numerator, 0, measure.denominator, _BAR_WIDTH, console)
    share = percent(measure.numerator, measure.denominator)
    return Text.assemble("   ", filled, f" {share:>5}  {told} ", (measure.words, DIM))


def _next(step: Step, found: Rollout) -> Iterator[Text]:
    if step.then is None:
        if step.id == "reviews" and found.next_review_ns is not None:
            yield Text(f"   the next one is due {utc(found.next_review_ns)}", style=DIM)
        return
    yield Text(f"   next: {step.then.words}", style=DIM)
    for line in step.then.write.splitlines():
        yield Text(f"     {line}")
    yield Text(f"   $ {step.then.command}", style=STRONG)
