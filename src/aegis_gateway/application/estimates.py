"""Estimates: what would be decided of a call, and what it would cost, if it were made now.

Rule 1: it goes the way of a call, up to the ledger: the same description, the same judgement, the same `admitted`.
        Balances are read, in one snapshot, and nothing is recorded, reserved or counted.
Rule 2: it promises nothing: what is left may be gone a moment later. Only a decision holds.
"""

from __future__ import annotations

import asyncio
from typing import Generic

import msgspec

from aegis_gateway.application.books import Books, Windows
from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.considered import Considered
from aegis_gateway.application.judgement import D, D_co, Describe, Described, judged
from aegis_gateway.application.measuring import learnt_measures
from aegis_gateway.application.ports import BalanceReader, Balances
from aegis_gateway.domain.admit import (
    Admission,
    BudgetClaim,
    Standings,
    admitted,
    instances_key,
    needed_of,
    utilisation,
)
from aegis_gateway.domain.currency import ExchangeRate
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import CallError, LedgerUnavailable
from aegis_gateway.domain.limits import limit_of, rate_of
from aegis_gateway.domain.measure import Measure, measures
from aegis_gateway.domain.price import Kind, ModelPrice
from aegis_gateway.domain.quote import (
    BYTES_PER_TOKEN_EXPECTED,
    USD,
    ModelShape,
    Quote,
    quote_model,
    quote_proxied,
)
from aegis_gateway.domain.rate import ALL_FREE, RateClaim, wait_ns
from aegis_gateway.domain.registry import Model
from aegis_gateway.domain.replication import run_refusal
from aegis_gateway.domain.window import Window

ASKED_AGAIN_MAX = 8
"""How often a call is judged for an estimate. One that is downgraded may count on other budgets, by whose use it isn't:
that could go back and forth for ever."""
CHEAPER_JUDGED_MAX = 64
CHEAPER_SHOWN_MAX = 5


class BudgetOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """What a budget has left of its limit, in its quantity's smallest unit, and what the call needs of it: its maximum,
    or what is expected where the budget is soft; None where nothing bounds that. `rate` is that of its currency.
    """

    budget: BudgetClaim
    window: Window
    limit: int
    left: int
    needed: int | None
    rate: ExchangeRate | None = None

    @property
    def fits(self) -> bool:
        """Whether it bears all that the call may need."""
        return self.needed is not None and self.needed <= self.left


class RateOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """How long a call would have to wait for a rate's next turn."""

    rate: RateClaim
    wait_ns: int


class Cheaper(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the caller may use, that takes the request as far as is known, and that is expected to cost less."""

    model: Model
    quote: Quote
    saving_nano_usd: int
    asks: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a call is judged by of its budgets: how much of them is used, and what holds for it by that."""

    utilisation: int = 0
    measures: tuple[Measure, ...] = ()


class Estimate(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """What would become of a call. `quote` is of the call as it would be sent; without one there is no price."""

    considered: Considered[D_co]
    admission: Admission
    budgets: tuple[BudgetOutlook, ...] = ()
    rates: tuple[RateOutlook, ...] = ()
    cheaper: tuple[Cheaper, ...] = ()

    @property
    def described(self) -> D_co:
        """The call as it would be sent."""
        return self.considered.judgement.described

    @property
    def quote(self) -> Quote | None:
        """What it would come to."""
        return self.considered.judgement.quote

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why it would be decided so."""
        is_allowed = self.admission.effect == "allow"
        return self.considered.judgement.verdict.reasons if is_allowed else self.admission.reasons


class Estimates:
    """Estimates for callers."""

    def __init__(self, calls: Calls, balances: BalanceReader) -> None:
        """Look at calls as they would be decided, against what is stored."""
        self._calls = calls
        self._balances = balances
        self._windows = Windows()
        # One at a time: whoever waits for the store takes no thread from what decides.
        self._reading = asyncio.Lock()

    async def estimate(self, key: str | None, describe: Describe[D], context: CallContext) -> Estimate[D]:
        """Estimate a call.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood.
            LedgerUnavailable: what is left cannot be read.
        """
        seen = Seen()
        for _ in range(ASKED_AGAIN_MAX):
            considered = await self._calls.consider(key, describe, context, seen.utilisation, seen.measures)
            async with self._reading:
                balances = await asyncio.to_thread(balances_for, considered, self._balances, self._windows)
            if balances.epoch > considered.view.epoch:
                await self._calls.directory.refresh(considered.view.registry.tenant, balances.epoch)
                continue
            found = estimated(considered, balances, self._windows, seen)
            if isinstance(found, Estimate):
                return found
            seen = found
        raise LedgerUnavailable("the configuration keeps changing; try again in a moment")


def balances_for(considered: Considered[Described], reader: BalanceReader, windows: Windows) -> Balances:
    """Read what a call would count against. Blocks."""
    now_ns = considered.circumstances.now_ns
    keys = {
        (claim.budget, claim.scope, windows.at(claim, now_ns).label): None
        for claim in considered.judged_against
    }
    keys |= {
        instances_key(claim, now_ns): None for claim in considered.budgets if claim.instances_max is not None
    }
    carrying = [claim for claim in considered.budgets if claim.carry_over is not None]
    for claim in carrying:
        keys[claim.budget, claim.scope, windows.before(claim, windows.at(claim, now_ns)).label] = None
    used = [(claim.budget, claim.scope) for claim in carrying]
    turns = {(claim.rate, claim.scope): None for claim in considered.rates}
    return reader.read(considered.view.registry.tenant, list(keys), list(turns), considered.run, now_ns, used)


def estimated(
    considered: Considered[D], balances: Balances, windows: Windows, seen: Seen
) -> Estimate[D] | Seen:
    """What would become of a call with these balances. Or, where it was judged by something else of its budgets than
    they say (`seen`), what they say: by that it is to be judged again.
    """
    now_ns = considered.circumstances.now_ns
    standings = _standings_of(considered, considered.budgets, balances, windows)
    used = utilisation(considered.budgets, standings, now_ns)
    found = measures(considered.budgets, standings, now_ns)
    if considered.watched:
        asked = _standings_of(considered, considered.watched, balances, windows)
        found += measures(considered.watched, asked, now_ns)
    saw_otherwise = considered.judgement.verdict.saw_utilisation and used != seen.utilisation
    if saw_otherwise or {*found} != {*considered.judgement.measures}:
        known = learnt_measures(seen.measures, considered.judged_against, found)
        return Seen(utilisation=used, measures=known)
    return _estimate(considered, standings, balances)


def _standings_of(
    considered: Considered[Described], budgets: tuple[BudgetClaim, ...], balances: Balances, windows: Windows
) -> Standings:
    """What stands for a call's claims, as the ledger would find it."""
    tenant, now_ns = considered.view.registry.tenant, considered.circumstances.now_ns
    books = Books(
        {(tenant, key): standing for key, standing in balances.standings.items()},
        {(tenant, key): arrival for key, arrival in balances.arrivals.items()},
        windows,
        {(tenant, *key) for key in balances.used},
    )
    of_claims = tuple(windows.at(claim, now_ns) for claim in budgets)
    return books.standings_for(tenant, considered.rates, budgets, of_claims, now_ns)


def _estimate(considered: Considered[D], standings: Standings, balances: Balances) -> Estimate[D]:
    judgement, now_ns = considered.judgement, considered.circumstances.now_ns
    quote = judgement.quote
    budgets = tuple(
        BudgetOutlook(
            budget=claim,
            window=window,
            limit=(limit := limit_of(claim, standing := standings.balance(claim, window), now_ns)),
            left=standing.available(limit),
            needed=_needed(claim, window, quote, now_ns),
            rate=rate_of(claim, standing),
        )
        for claim, window in zip(considered.budgets, standings.windows, strict=True)
    )
    rates = tuple(
        RateOutlook(
            rate=claim,
            wait_ns=wait_ns(claim, standings.arrivals.get((claim.rate, claim.scope), ALL_FREE), now_ns),
        )
        for claim in considered.rates
    )
    return Estimate(
        considered=considered,
        admission=_admission(considered, standings, balances),
        budgets=budgets,
        rates=rates,
        cheaper=cheaper_models(considered),
    )


def _admission(considered: Considered[Described], standings: Standings, balances: Balances) -> Admission:
    judgement, run, now_ns = considered.judgement, considered.run, considered.circumstances.now_ns
    over = None if run is None else run_refusal(run, balances.run, balances.others_open, now_ns)
    if over is not None and run is not None and judgement.verdict.permits and not run.only_notes(over):
        return Admission(effect="deny", reasons=(over,))
    return admitted(
        judgement.verdict, judgement.quote, considered.rates, considered.budgets, standings, now_ns
    )


def _needed(claim: BudgetClaim, window: Window, quote: Quote | None, now_ns: int) -> int | None:
    if quote is None or not window.holds(now_ns) or (claim.hard and claim.quantity in quote.unbounded):
        return None
    if not claim.hard and claim.quantity in quote.unbounded and claim.quantity not in quote.expected:
        return None
    return needed_of(claim, quote, quote.maximum)


def cheaper_models(considered: Considered[Described]) -> tuple[Cheaper, ...]:
    """Models that would do for a call and are expected to cost less, the cheapest first.

    What they can is told by what the registry says of them: the API that they are called by, limits, prices of what the
    request has beside text. It doesn't say how good their answers are.
    """
    judgement, registry = considered.judgement, considered.view.registry
    described, quote = judgement.described, judgement.quote
    shape = described.shape
    if shape is None or quote is None or USD not in quote.expected or described.model is None:
        return ()
    quote_anew = quote_model if registry.proxy is None else quote_proxied
    found: list[tuple[int, Model, Quote]] = []
    for model in registry.models.values():
        is_of_kind = registry.connectors[model.connector].kind in described.kinds
        if model.id == described.model or not is_of_kind or not takes(model, shape):
            continue
        try:
            other = quote_anew(model, shape)
        except CallError:  # it could cost more than can be counted
            continue
        if isinstance(other, Quote) and other.expected.get(USD, quote.expected[USD]) < quote.expected[USD]:
            found.append((other.expected[USD], model, other))
    found.sort(key=lambda each: (each[0], each[1].id))
    offers: list[Cheaper] = []
    for _, model, other in found[:CHEAPER_JUDGED_MAX]:
        offer = _offered(considered, described, model, other, quote.expected[USD])
        if offer is not None:
            offers.append(offer)
            if len(offers) == CHEAPER_SHOWN_MAX:
                break
    return tuple(offers)


def _offered(
    considered: Considered[Described], described: Described, model: Model, quote: Quote, asked_nano_usd: int
) -> Cheaper | None:
    """A model as it is offered, if policies let the caller use it for this and it then still saves something."""
    connector = considered.view.registry.connectors[model.connector]
    other = msgspec.structs.replace(
        described, connector=connector.id, region=connector.region, model=model.id, quote=quote
    )
    verdict, lowered = judged(considered.agent, other, quote, considered.view, considered.circumstances)
    if not verdict.permits or verdict.model not in (None, model.id):
        return None
    saving = asked_nano_usd - lowered.expected[USD]
    return Cheaper(model=model, quote=lowered, saving_nano_usd=saving, asks=bool(verdict.asks))


def takes(model: Model, shape: ModelShape) -> bool:
    """Whether a model takes a request, as far as its registry entry and its prices tell."""
    price = model.price
    if price is None or _is_priced(price, "output") is not shape.has_output:
        return False
    most_out, most_in = model.max_output_tokens, model.max_input_tokens
    if most_out is not None and (shape.output_tokens or 0) > most_out:
        return False
    if most_in is not None and shape.input_bytes > BYTES_PER_TOKEN_EXPECTED * most_in:
        return False
    if shape.unbounded_input_by is not None and most_in is None:
        return False  # who takes images and files is told by the bound that hard budgets want for them
    return all(_is_priced(price, kind) for kind in (shape.input_kinds | shape.output_kinds) - {"input_image"})


def _is_priced(price: ModelPrice, kind: Kind) -> bool:
    """Whether a model has a price of its own for a kind: what it has none for, it doesn't know."""
    return kind in price.tiers[0].prices
