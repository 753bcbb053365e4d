"""What a digest tells: figures of one period beside those of the one before, and the message that they make.

Rule 1: what is spent is what the ledger has settled, of calls by when they were admitted; what is still open is told
        beside it, at most, and what is believed to be saved is told apart from both.
Rule 2: nothing is guessed: a forecast has its band, and where something was never sent, that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction

import msgspec

from aegis_gateway.domain.amounts import exact_text
from aegis_gateway.domain.digest import Digest, name_of
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.message import Link, Message, Tone
from aegis_gateway.domain.money import usd_text
from aegis_gateway.domain.registry import Quantity
from aegis_gateway.domain.report_message import report_address
from aegis_gateway.domain.rolling import length_of
from aegis_gateway.domain.window import Window

DRIVERS_SHOWN = 5
BUDGETS_SHOWN = 8
_NAMED_MAX = 6
_SECOND_NS = 1_000_000_000
_FULL_PERCENT = 100
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
"""What a month of the calendar is labelled by; those of fiscal years have labels of their own, and no report."""


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent, model or tool has cost, and what it had in the period before; in nano-USD."""

    name: str
    calls: int
    nano_usd: int
    before_nano_usd: int

    @property
    def change_nano_usd(self) -> int:
        """How much more it is."""
        return self.nano_usd - self.before_nano_usd


class BudgetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How a budget ended its last window of the period, or how it stands in the one that goes on; in smallest units.

    `scale` of them make one of what people write. A forecast is there where there are hours to tell it from.
    """

    budget: str
    scope: str
    window: str
    quantity: str
    scale: int
    is_money: bool
    limit: int
    spent: int
    reserved: int
    expected: int | None = None
    low: int | None = None
    high: int | None = None

    @property
    def percent(self) -> int:
        """How much of it is spent."""
        return _FULL_PERCENT * self.spent // self.limit if self.limit > 0 else 0


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls one rule refused or held."""

    rule: str
    code: str
    effect: str
    calls: int


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What people were asked in the period, and how long the answered ones waited in the middle."""

    asked: int = 0
    answered: int = 0
    waiting: int = 0
    median_ns: int | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one period. Amounts in nano-USD unless a budget says otherwise.

    `missing` are whole periods before this one of which no digest was made.
    """

    tenant: str
    tenant_name: str
    zone: str
    of: str
    every: str
    window: Window
    before: Window
    nano_usd: int
    before_nano_usd: int
    calls: int
    open_calls: int
    open_nano_usd: int
    agents: tuple[Driver, ...] = ()
    models: tuple[Driver, ...] = ()
    tools: tuple[Driver, ...] = ()
    budgets: tuple[BudgetFigures, ...] = ()
    thresholds: tuple[str, ...] = ()
    refused: tuple[Refusals, ...] = ()
    words: Words = Words()
    held_keys: tuple[str, ...] = ()
    incidents_opened: int = 0
    incidents_open: int = 0
    saved_nano_usd: int = 0
    missing: tuple[Window, ...] = ()


def digest_message(digest: Digest, figures: Figures, pages_url: str) -> Message:
    """The message that figures make."""
    period = name_of(figures.window, figures.zone)
    facts = tuple((label, text) for label, text in _facts(figures) if text)
    tone: Tone = "attention" if figures.incidents_open or figures.words.waiting else "plain"
    links = [Link(label="Open approvals", url=f"{pages_url}/approvals")] if figures.words.waiting else []
    if digest.every == "monthly" and digest.scope == "tenant" and _MONTH.fullmatch(figures.window.label):
        address = report_address(figures.tenant, figures.window.label)
        links.insert(0, Link(label="Open the report of the month", url=f"{pages_url}{address}"))
    return Message(
        title=f"{figures.of}, {period}: {usd_text(figures.nano_usd)} spent",
        text=_missing(figures) or f"The same as of now: {_command(digest, figures.tenant)}",
        tone=tone,
        facts=facts,
        links=tuple(links),
        tenant=figures.tenant,
        at_ns=figures.window.ends_ns,
        data={"digest": digest.id, "period": period, **msgspec.to_builtins(figures)},
    )


def _command(digest: Digest, tenant: str) -> str:
    scope = "" if digest.scope == "tenant" else f" --{digest.scope} {digest.name}"
    return f"aegis digest show {digest.every} --tenant {tenant}{scope}"


def _missing(figures: Figures) -> str:
    if not figures.missing:
        return ""
    names = [name_of(window, figures.zone) for window in figures.missing]
    told = ", ".join(names[:_NAMED_MAX]) + (
        f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    )
    return f"Nobody was there to make the digest of {told}; this is the newest alone."


def _facts(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "tenant", figures.tenant_name
    before = name_of(figures.before, figures.zone)
    yield (
        "spent",
        f"{usd_text(figures.nano_usd)} in {_calls(figures.calls)}; "
        f"{usd_text(figures.before_nano_usd)} in {before}{_percent(figures)}",
    )
    if figures.open_calls:
        yield "not settled yet", f"{_calls(figures.open_calls)}, at most {usd_text(figures.open_nano_usd)}"
    for budget in figures.budgets[:BUDGETS_SHOWN]:
        yield f"budget {budget.budget} {budget.scope}".strip(), _budget(budget)
    yield "top agents", _drivers(figures.agents)
    yield "top models", _drivers(figures.models)
    yield "top tools", _drivers(figures.tools)
    yield "changed most", _changes(figures)
    yield "thresholds passed", _some(figures.thresholds)
    yield "refused", _refused(figures.refused)
    yield "approvals", _words(figures.words)
    yield "keys held", _some(figures.held_keys)
    if figures.incidents_opened or figures.incidents_open:
        yield "incidents", f"{figures.incidents_opened} opened, {figures.incidents_open} open now"
    if figures.saved_nano_usd:
        yield (
            "saved",
            f"{usd_text(figures.saved_nano_usd)} less than was asked for, as expected when cheaper models were "
            "called instead; no part of what was spent",
        )


def _percent(figures: Figures) -> str:
    if figures.before_nano_usd <= 0:
        return ""
    change = Fraction(figures.nano_usd - figures.before_nano_usd, figures.before_nano_usd)
    return f" ({round(_FULL_PERCENT * change):+d} %)"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"


def _amount(budget: BudgetFigures, amount: int) -> str:
    quantity = Quantity(id=budget.quantity, scale=budget.scale, is_money=budget.is_money)
    return exact_text(amount, quantity)


def _budget(budget: BudgetFigures) -> str:
    length_ns = length_of(budget.window)
    window = budget.window if length_ns is None else f"the last {duration_text(length_ns)}"
    told = f"{_amount(budget, budget.spent)} of {_amount(budget, budget.limit)} in {window}"
    told += f" ({budget.percent} %)"
    if budget.reserved:
        told += f", {_amount(budget, budget.reserved)} reserved"
    if budget.expected is not None:
        told += f"; forecast {_amount(budget, budget.expected)}"
        if budget.low is not None and budget.high is not None:
            told += f" ({_amount(budget, budget.low)} to {_amount(budget, budget.high)})"
    return told


def _drivers(drivers: Iterable[Driver]) -> str:
    spenders = [each for each in drivers if each.nano_usd][:DRIVERS_SHOWN]
    return ", ".join(f"{each.name} {usd_text(each.nano_usd)}" for each in spenders)


def _changes(figures: Figures) -> str:
    changed = sorted(
        (each for each in figures.agents if each.change_nano_usd),
        key=lambda each: (-abs(each.change_nano_usd), each.name),
    )
    return ", ".join(
        f"{each.name} {'+' if each.change_nano_usd > 0 else ''}{usd_text(each.change_nano_usd)}"
        for each in changed[:DRIVERS_SHOWN]
    )


def _refused(refused: Iterable[Refusals]) -> str:
    return _some([f"{_calls(each.calls)} by {each.rule}" for each in refused])


def _words(words: Words) -> str:
    if not words.asked and not words.waiting:
        return ""
    told = f"{words.asked} asked, {words.answered} answered, {words.waiting} waiting now"
    if words.median_ns is not None:
        told += f"; answered within {_span(words.median_ns)} in the middle"
    return told


def _span(span_ns: int) -> str:
    seconds = span_ns // _SECOND_NS
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _some(texts: Iterable[str]) -> str:
    every = list(texts)
    more = f" and {len(every) - _NAMED_MAX} more" if len(every) > _NAMED_MAX else ""
    return ", ".join(every[:_NAMED_MAX]) + more
