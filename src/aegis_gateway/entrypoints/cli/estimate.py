"""`aegis estimate`: what a call would cost, and what would be decided, before it is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from aegis_gateway.adapters.balances import StoredBalances
from aegis_gateway.application.books import Windows
from aegis_gateway.application.considered import NEW_RUN, considered_as
from aegis_gateway.application.estimates import ASKED_AGAIN_MAX, Estimate, Seen, balances_for, estimated
from aegis_gateway.application.judgement import Circumstances, Described
from aegis_gateway.application.runs import recorded_run
from aegis_gateway.domain.errors import CallError, ConfigurationError
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.price import ChargeLine
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.domain.registry import Key
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import (
    DIM,
    STRONG,
    Column,
    Row,
    effect_text,
    out,
    print_json,
    table,
)
from aegis_gateway.entrypoints.cli.session import Session, opened
from aegis_gateway.entrypoints.data_plane.estimates import (
    EstimateRequest,
    description,
    lines_of,
    written,
)
from aegis_gateway.entrypoints.dialects import DIALECTS

REFUSED = 3

_ESTIMATE_KEY = Key(id="", agent="", hash=b"", hint="", issued_ns=0)
"""An estimate is nobody's call: budgets and rates of single keys don't apply."""


def estimate(
    agent: Annotated[
        str, typer.Option(metavar="ID", help="The agent who would make the call.", show_default=False)
    ],
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="The request's JSON body, or the tool's arguments; - for stdin.",
            show_default=False,
        ),
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(
            metavar="API",
            help=f"One of {', '.join(DIALECTS)}; told by the request if left out.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The model, where the body doesn't name one.", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A prompt in place of FILE.", show_default=False)
    ] = None,
    tool: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="A tool, CONNECTOR.OPERATION, in place of a model.", show_default=False
        ),
    ] = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Price a call before it is made: what it would cost, what policies and budgets would make of it, which models of
    yours would be cheaper.

    Nothing is sent, reserved or recorded. Exit code 3 says that it would be refused.
    """
    given = None if file is None else msgspec.Raw(_read(file))
    asked = EstimateRequest(tool=tool, model=model, prompt=prompt, api=api)
    if tool is not None:
        asked.arguments = asked.arguments if given is None else given
    elif given is not None:
        asked.request = given
    with opened(store) as session:
        name = session.tenant(tenant)
        found = _estimated(session, name, agent, asked)
    refused = found.admission.effect != "allow"
    if as_json:
        print_json({"tenant": name, "agent": agent, **written(found), "refused": refused})
    else:
        out().print(_shown(found))
    if refused:
        raise typer.Exit(REFUSED)


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as fault:
        raise ConfigurationError(f"`{file}` cannot be read: {fault.strerror}") from fault


def _estimated(session: Session, tenant: str, agent_id: str, asked: EstimateRequest) -> Estimate[Described]:
    """The estimate, with what of the budgets is used as policies would see it."""
    view = session.view(tenant)
    agent = view.registry.agents.get(agent_id)
    if agent is None:
        raise ConfigurationError(f"there is no agent `{agent_id}`; `aegis agent list` lists them")
    balances, windows, now_ns = StoredBalances(session.store.query), Windows(), session.clock.now_ns()
    seen = Seen()
    try:
        describe = description(view, asked)
        for _ in range(ASKED_AGAIN_MAX):
            circumstances = Circumstances(now_ns=now_ns, run=NEW_RUN, utilisation=seen.utilisation)
            considered = considered_as(
                view,
                agent,
                _ESTIMATE_KEY,
                describe,
                circumstances,
                recorded_run(NEW_RUN),
                opens_run=True,
                measures=seen.measures,
            )
            found = estimated(considered, balances_for(considered, balances, windows), windows, seen)
            if isinstance(found, Estimate):
                return found
            seen = found
    except CallError as fault:
        raise ConfigurationError(str(fault)) from fault
    raise ConfigurationError(
        "a policy downgrades this call by how much of its budgets is used, and as the other model's call it counts on "
        "others, by which it isn't downgraded; have both models' calls count on the same budgets"
    )


def _shown(found: Estimate[Described]) -> Group:
    """An estimate for a person."""
    quote, described = found.quote, found.described
    parts: list[RenderableType] = []
    if quote is not None:
        expected, maximum = lines_of(described, quote)
        parts.append(_quote_line(described.model or described.tool, quote))
        parts += [Text(f"no upper bound: {why}") for why in dict.fromkeys(quote.unbounded.values())]
        parts.append(_lines(expected, maximum))
    parts += [
        Text.assemble(effect_text(found.admission.effect), f"  {reason.message}") for reason in found.reasons
    ]
    for each in found.budgets:
        budget, left = each.budget, each.left
        amount = usd_text(left) if budget.is_money else f"{left / budget.scale:,g} {budget.quantity}"
        if budget.currency is not None and each.rate is not None:
            amount = budget.currency.text(left, each.rate)
        words = "bears it" if each.fits else "does not bear all that it may come to"
        if budget.mode == "shadow":
            words += " (in shadow)"
        parts.append(Text.assemble(f"budget {budget.budget} has {amount} left and ", (words, STRONG)))
    if found.cheaper:
        columns = (
            Column(name="cheaper"),
            Column(name="expected", right=True),
            Column(name="at most", right=True),
            Column(name="saves", right=True),
            Column(name=""),
        )
        rows = [
            Row(
                cells=(
                    offer.model.id,
                    usd_text(offer.quote.expected[USD]),
                    _most(offer.quote),
                    usd_text(offer.saving_nano_usd),
                    "a person is asked" if offer.asks else "",
                )
            )
            for offer in found.cheaper
        ]
        parts.append(table(columns, rows, out()))
    return Group(*parts)


def _lines(expected: tuple[ChargeLine, ...], maximum: tuple[ChargeLine, ...]) -> Text:
    columns = (
        Column(name="line"),
        Column(name="expected", right=True),
        Column(name="comes to", right=True),
        Column(name="at most", right=True),
        Column(name="comes to", right=True),
    )
    likely, most = ({line.kind: line for line in lines} for lines in (expected, maximum))
    rows = [
        Row(cells=(kind, *_amount(likely.get(kind)), *_amount(most.get(kind)))) for kind in {**likely, **most}
    ]
    return table(columns, rows, out())


def _amount(line: ChargeLine | None) -> tuple[str, str]:
    if line is None:
        return "", ""
    return f"{line.quantity:,} {line.unit}", usd_text(line.nano_usd)


def _most(quote: Quote) -> str:
    return usd_text(quote.maximum[USD]) if USD in quote.maximum else "no bound"


def _quote_line(name: str, quote: Quote) -> Text:
    expected = usd_text(quote.expected[USD]) if USD in quote.expected else "what nobody knows"
    return Text.assemble(
        (name, STRONG),
        f"  expected {expected}, at most {_most(quote)}",
        (f"  prices from {quote.price_source} {quote.price_version}", DIM),
    )
