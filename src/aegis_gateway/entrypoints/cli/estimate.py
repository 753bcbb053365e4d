"""`aegis estimate`: what a request would cost, and what would be decided, before it is sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from aegis_gateway.application.claims import claims_of
from aegis_gateway.application.judgement import Circumstances, judgement_of
from aegis_gateway.domain.errors import CallError, ConfigurationError
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.quote import TOKENS, USD, Quote
from aegis_gateway.domain.registry import Key
from aegis_gateway.entrypoints.cli.options import JsonOption, StoreOption, TenantOption
from aegis_gateway.entrypoints.cli.output import DIM, STRONG, effect_text, out, print_json
from aegis_gateway.entrypoints.cli.session import Session, opened
from aegis_gateway.entrypoints.data_plane.models.call import describe
from aegis_gateway.entrypoints.data_plane.models.dialect import Address, Dialect
from aegis_gateway.entrypoints.dialects import DIALECTS

REFUSED = 3

_ESTIMATE_KEY = Key(id="", agent="", hash=b"", hint="", issued_ns=0)
"""An estimate is nobody's call: budgets and rates of single keys don't apply."""


def estimate(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The request's JSON body, or - for stdin.", show_default=False),
    ],
    agent: Annotated[
        str, typer.Option(metavar="ID", help="The agent who would send it.", show_default=False)
    ],
    api: Annotated[str, typer.Option(metavar="API", help=f"One of {', '.join(DIALECTS)}.")] = "chat",
    model: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The model, where the body doesn't name one.", show_default=False),
    ] = None,
    store: StoreOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Price a request to a model before it is sent, and say what policies and budgets would make of it.

    Nothing is sent, reserved or recorded. Exit code 3 says that it would be refused.
    """
    dialect = DIALECTS.get(api)
    if dialect is None:
        raise ConfigurationError(f"`{api}` is no API; there are {', '.join(DIALECTS)}")
    raw = _read(file)
    with opened(store) as session:
        name = session.tenant(tenant)
        record, lines, refused = _estimated(session, name, agent, dialect, raw, model or "")
    if as_json:
        print_json({"tenant": name, "agent": agent, **record})
    else:
        out().print(Group(*lines))
    if refused:
        raise typer.Exit(REFUSED)


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as fault:
        raise ConfigurationError(f"`{file}` cannot be read: {fault.strerror}") from fault


def _estimated(
    session: Session, tenant: str, agent_id: str, dialect: Dialect, raw: bytes, model: str
) -> tuple[dict[str, object], list[Text], bool]:
    """The estimate for a program, in lines for a person, and whether the call would be refused."""
    view = session.view(tenant)
    agent = view.registry.agents.get(agent_id)
    if agent is None:
        raise ConfigurationError(f"there is no agent `{agent_id}`; `aegis agent list` lists them")
    request = dialect.parse(Address(model=model), raw)
    judgement = judgement_of(
        view,
        agent,
        lambda view, model, redactions: describe(view, dialect, request, model, redactions),
        Circumstances(now_ns=session.clock.now_ns()),
    )
    described, verdict, quote = judgement.described, judgement.verdict, judgement.quote
    if quote is None:
        message = verdict.reasons[0].message
        return {"refused": message}, [Text.assemble(effect_text("deny"), f"  {message}")], True
    try:
        _, claims = claims_of(
            view,
            agent,
            _ESTIMATE_KEY,
            connector=described.connector,
            tool=described.tool,
            model=described.model,
            run="",
            opens_run=True,
            customer=None,
            throttles=verdict.throttles,
        )
    except CallError as fault:
        raise ConfigurationError(str(fault)) from fault
    now_ns = session.clock.now_ns()
    budgets = [view.registry.budgets[claim.budget] for claim in claims]
    standings = [
        standing
        for standing in session.reports.standings(tenant, budgets, now_ns)
        if any((claim.budget, claim.scope) == (standing.budget.id, standing.scope) for claim in claims)
    ]
    lines = [_quote_line(described.model or "", quote)]
    lines += [Text(f"no upper bound: {why}") for why in dict.fromkeys(quote.unbounded.values())]
    effect = "require_approval" if verdict.asks else verdict.effect
    reasons = verdict.asks or verdict.reasons
    lines.append(Text.assemble(effect_text(effect), f"  {reasons[0].message}"))
    refused = effect != "allow"
    left: dict[str, object] = {}
    for standing in standings:
        each = standing.budget
        needed = (quote.maximum if each.hard else quote.expected).get(each.quantity)
        unbounded = each.hard and each.quantity in quote.unbounded
        least = (
            0 if quote.output is None else quote.output.maximum(quote.output.min_tokens).get(each.quantity, 0)
        )
        is_short = unbounded or (needed is not None and standing.left < (least or needed))
        refused = refused or (is_short and each.mode == "enforce")
        left[each.id] = {"left": standing.left, "quantity": each.quantity, "bears": not is_short}
        amount = usd_text(standing.left) if each.quantity == USD else f"{standing.left:,} {each.quantity}"
        words = "does not bear it" if is_short else "bears it"
        if each.mode == "shadow":
            words += " (in shadow)"
        lines.append(Text.assemble(f"budget {each.id} has {amount} left and ", (words, STRONG)))
    record: dict[str, object] = {
        "model": described.model,
        "expected_nano_usd": quote.expected.get(USD),
        "maximum_nano_usd": quote.maximum.get(USD),
        "expected_tokens": quote.expected.get(TOKENS),
        "maximum_tokens": quote.maximum.get(TOKENS),
        "unbounded": quote.unbounded,
        "price_source": quote.price_source,
        "price_version": quote.price_version,
        "effect": effect,
        "reasons": [reason.message for reason in reasons],
        "budgets": left,
        "refused": refused,
    }
    return record, lines, refused


def _quote_line(model: str, quote: Quote) -> Text:
    most = usd_text(quote.maximum[USD]) if USD in quote.maximum else "no bound"
    return Text.assemble(
        (model, STRONG),
        f"  expected {usd_text(quote.expected[USD])}, at most {most}",
        (f"  prices from {quote.price_source} {quote.price_version}", DIM),
    )
