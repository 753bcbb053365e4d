"""`admit`: whether a judged call fits, decided under the lock of its tenant. Pure: balances and time come in.

Guards in a fixed order, each returning a named reason: rates, then all budget legs. All must let it through or
nothing is taken: a refused call consumes nothing.

Rates and budgets in shadow come after that, each alone beside the enforced ones: it takes the call in if it would have
let it pass, and is told of if not. They change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from aegis_gateway.domain.currency import Currency, ExchangeRate, day_of
from aegis_gateway.domain.decision import Effect, Mode, Reason, Shadow, Verdict
from aegis_gateway.domain.fiscal import CALENDAR_YEAR, YearStart
from aegis_gateway.domain.ledger import NOTHING, Leg, Standing
from aegis_gateway.domain.limit_change import LimitChange
from aegis_gateway.domain.limits import CarryOver, limit_of, rate_of
from aegis_gateway.domain.money import usd_rounded_up, usd_text
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.domain.rate import ALL_FREE, RateClaim, Slot, Turns, taken, turn_of, wait_for
from aegis_gateway.domain.threshold import OF_BUDGET, Threshold
from aegis_gateway.domain.window import Period, Window

StandingKey = tuple[str, str, str]
"""Budget, scope, window label."""

RateKey = tuple[str, str]
"""Rate, scope."""

INSTANCES = "#instances"
"""What follows a budget's id where its balances are counted; no id has such a sign in it."""

THRESHOLDS = (50, 80, 100)
"""What policies see of how much of a budget is used: the last of these that it has passed, in percent."""

_DAY_NS = 24 * 3_600 * 1_000_000_000


class BudgetClaim(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One budget as it applies to one call: whose, of what, how much of it, in which windows.

    `limit` is in the quantity's smallest unit, or that of its currency; `scale` of them make one of what people write.
    What it comes to in a window is said by `limit_of`. A budget that has a balance of its own for each run or customer
    bounds how many of them one agent (`instances_of`) opens in a day. `is_tried`: another version of the configuration
    is tried beside this one, and its calls count on the same balances.
    """

    budget: str
    scope: str
    quantity: str
    scale: int
    is_money: bool
    limit: int
    hard: bool
    period: Period
    zone: str
    owner: str
    once: Window | None = None
    length_ns: int = 0
    year_starts: YearStart = CALENDAR_YEAR
    instances_max: int | None = None
    instances_of: str = ""
    mode: Mode = "enforce"
    currency: Currency | None = None
    carry_over: CarryOver | None = None
    changes: tuple[LimitChange, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    is_tried: bool = False


class Standings(msgspec.Struct, frozen=True, kw_only=True):
    """What stands when a call is decided: windows by claim, balances by key, free turns by rate.

    `opening` are the balances that the call would open, where something is fixed when they are.
    """

    windows: tuple[Window, ...]
    balances: Mapping[StandingKey, Standing]
    arrivals: Mapping[RateKey, Turns]
    opening: Mapping[StandingKey, Standing] = {}

    def balance(self, budget: BudgetClaim, window: Window) -> Standing:
        """A claim's balance in a window, as it stands or as it would be opened."""
        key = (budget.budget, budget.scope, window.label)
        return self.balances.get(key) or self.opening.get(key, NOTHING)


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome: allowed with its legs and turns, or refused with reasons and neither.

    `output_tokens` is the output limit that fits, where the quote had one; `maximum` what the call can come to
    at that limit. `turns` are those that it takes of its rates, and `arrivals` say which are free after it. `wait_ns`
    is how long an allowed call has to wait before it may be sent; `opened` are the counters of balances that it opens.
    Legs of budgets in shadow come last; `shadow` are those that would have refused it.
    `exhausted` is the balance that had too little left for a call that would have fit into an empty one.
    """

    effect: Effect
    reasons: tuple[Reason, ...] = ()
    legs: tuple[Leg, ...] = ()
    turns: dict[RateKey, Slot] = {}
    arrivals: dict[RateKey, Turns] = {}
    output_tokens: int | None = None
    maximum: dict[str, int] = {}
    wait_ns: int = 0
    opened: tuple[StandingKey, ...] = ()
    shadow: tuple[Shadow, ...] = ()
    exhausted: StandingKey | None = None


def instances_key(budget: BudgetClaim, now_ns: int) -> StandingKey:
    """Where it is counted how many balances of a budget an agent opened on a day (in UTC)."""
    return (f"{budget.budget}{INSTANCES}", budget.instances_of, f"{now_ns // _DAY_NS}")


def utilisation(budgets: tuple[BudgetClaim, ...], standings: Standings, now_ns: int) -> int:
    """The highest threshold that any enforced budget of a call has passed before it, in percent; 0 below all."""
    passed = 0
    for budget, window in zip(budgets, standings.windows, strict=True):
        if budget.mode == "enforce":
            standing = standings.balance(budget, window)
            limit = limit_of(budget, standing, now_ns)
            used = limit - standing.available(limit)
            passed = max(passed, *(each for each in (0, *THRESHOLDS) if 100 * used >= each * limit))
    return passed


def admitted(
    verdict: Verdict,
    quote: Quote | None,
    rates: tuple[RateClaim, ...],
    budgets: tuple[BudgetClaim, ...],
    standings: Standings,
    now_ns: int,
) -> Admission:
    """What becomes of a judged call: refused as the policies say, or by rates and budgets, or put before a person.

    Asking holds nothing, and nobody is asked about a call that budgets or rates would refuse.
    """
    if not verdict.permits:
        return Admission(effect=verdict.effect, reasons=verdict.reasons)
    if quote is None:
        return Admission(effect="deny", reasons=verdict.reasons)
    admission = admit(quote, rates, budgets, standings, now_ns)
    if admission.effect == "allow" and verdict.asks:
        return Admission(effect="require_approval", reasons=verdict.asks)
    return admission


def admit(
    quote: Quote,
    rates: tuple[RateClaim, ...],
    budgets: tuple[BudgetClaim, ...],
    standings: Standings,
    now_ns: int,
) -> Admission:
    """Take a call into every enforced rate and budget that applies to it, or into none; then into those in shadow."""
    if all_act(rates, budgets):
        return _admit_enforced(quote, rates, budgets, standings, now_ns)
    enforced_rates = tuple(rate for rate in rates if rate.mode == "enforce")
    claims = tuple(zip(budgets, standings.windows, strict=True))
    enforced = [claim for claim in claims if claim[0].mode == "enforce"]

    def alone(
        rate: tuple[RateClaim, ...] = (), budget: tuple[tuple[BudgetClaim, Window], ...] = ()
    ) -> Admission:
        claimed = (*enforced, *budget)
        those = msgspec.structs.replace(standings, windows=tuple(window for _, window in claimed))
        return _admit_enforced(
            quote, (*enforced_rates, *rate), tuple(claim for claim, _ in claimed), those, now_ns
        )

    admission = alone()
    if admission.effect != "allow":
        return admission
    shadow = []
    turns, arrivals = dict(admission.turns), dict(admission.arrivals)
    legs, opened = list(admission.legs), list(admission.opened)
    for rate in rates:
        if rate.mode == "shadow":
            would = alone(rate=(rate,))
            if would.effect == "allow":
                key = (rate.rate, rate.scope)
                turns[key], arrivals[key] = would.turns[key], would.arrivals[key]
            else:
                shadow.append(Shadow(rule=rate.rule, would="throttle"))
    for budget, window in claims:
        if budget.mode == "shadow":
            would = alone(budget=((budget, window),))
            if would.effect == "allow":
                # What the call really holds: lowering its output limit is the enforced ones' to do.
                legs.append(leg_of(budget, window, needed_of(budget, quote, admission.maximum)))
                opened += [counter for counter in would.opened if counter not in opened]
            else:
                shadow.append(Shadow(rule=f"budget:{budget.budget}", would="deny"))
    return msgspec.structs.replace(
        admission,
        legs=tuple(legs),
        turns=turns,
        arrivals=arrivals,
        opened=tuple(opened),
        shadow=tuple(shadow),
    )


def all_act(rates: tuple[RateClaim, ...], budgets: tuple[BudgetClaim, ...]) -> bool:
    """Whether none of them is in shadow."""
    for rate in rates:
        if rate.mode != "enforce":
            return False
    for budget in budgets:  # noqa: SIM110 - a generator costs more than what it looks at
        if budget.mode != "enforce":
            return False
    return True


def _admit_enforced(
    quote: Quote,
    rates: tuple[RateClaim, ...],
    budgets: tuple[BudgetClaim, ...],
    standings: Standings,
    now_ns: int,
) -> Admission:
    turns: dict[RateKey, Slot] = {}
    wait = 0
    if rates:
        waits = []
        for each in rates:
            free = standings.arrivals.get((each.rate, each.scope), ALL_FREE)
            turn = turns[each.rate, each.scope] = turn_of(each, free, now_ns)
            waits.append((wait_for(each, turn, now_ns), each))
        wait, slowest = max(waits, key=lambda each: each[0])
        if wait and any(0 < needed > rate.delay_ns for needed, rate in waits):
            return Admission(effect="throttle", reasons=(_rate_limited(slowest, wait),))

    for budget, window in zip(budgets, standings.windows, strict=True):
        if not window.holds(now_ns):
            return Admission(effect="deny", reasons=(_window_closed(budget),))
        if budget.hard and budget.quantity in quote.unbounded:
            return Admission(effect="deny", reasons=(_unbounded(budget, quote),))
        if budget.currency is not None and rate_of(budget, standings.balance(budget, window)) is None:
            return Admission(effect="deny", reasons=(_without_rate(budget, budget.currency, window),))

    balances = standings.balances
    keys = [
        (budget.budget, budget.scope, window.label)
        for budget, window in zip(budgets, standings.windows, strict=True)
    ]
    standing = [balances.get(key) or standings.opening.get(key, NOTHING) for key in keys]
    limits = [limit_of(budget, each, now_ns) for budget, each in zip(budgets, standing, strict=True)]
    left = [each.available(limit) for each, limit in zip(standing, limits, strict=True)]
    output_tokens = _output_tokens_that_fit(quote, budgets, left)
    maximum = quote.maximum
    if quote.output is not None and output_tokens is not None:
        maximum = {**maximum, **quote.output.maximum(output_tokens)}

    legs = []
    opened = []
    for place, (budget, window, key) in enumerate(zip(budgets, standings.windows, keys, strict=True)):
        needed = needed_of(budget, quote, maximum)
        if budget.instances_max is not None and key not in balances:
            counter = instances_key(budget, now_ns)
            if balances.get(counter, NOTHING).posted >= budget.instances_max:
                return Admission(effect="deny", reasons=(_too_many_instances(budget),))
            opened.append(counter)
        if needed > left[place]:
            rate = rate_of(budget, standing[place])
            reason = _exhausted(budget, window, rate, left[place], limits[place], needed)
            is_exhausted = needed <= limits[place]  # what fits into no window says nothing of this one
            return Admission(effect="deny", reasons=(reason,), exhausted=key if is_exhausted else None)
        legs.append(leg_of(budget, window, needed))
    return Admission(
        effect="allow",
        legs=tuple(legs),
        turns=turns,
        arrivals={
            of: taken(standings.arrivals.get(of, ALL_FREE), turn, now_ns) for of, turn in turns.items()
        },
        output_tokens=output_tokens,
        maximum=maximum,
        wait_ns=wait,
        opened=tuple(opened),
    )


def leg_of(budget: BudgetClaim, window: Window, amount: int) -> Leg:
    """What a call holds of a budget's balance in a window.

    Balances of runs and customers live too short for anybody to ask what is spent of them in which hour.
    """
    return Leg(
        budget=budget.budget,
        scope=budget.scope,
        window=window.label,
        quantity=budget.quantity,
        amount=amount,
        by_hour=budget.instances_max is None,
    )


def _output_tokens_that_fit(quote: Quote, budgets: tuple[BudgetClaim, ...], left: list[int]) -> int | None:
    """The highest output limit that every hard budget bears with what is left of it, not below the model's minimum."""
    output = quote.output
    if output is None:
        return None
    tokens = output.tokens
    for budget, available in zip(budgets, left, strict=True):
        if budget.hard:
            tokens = min(tokens, output.tokens_within(budget.quantity, available))
    return max(tokens, output.min_tokens)


def needed_of(budget: BudgetClaim, quote: Quote, maximum: Mapping[str, int]) -> int:
    """What a budget must bear: the maximum if it is hard, the expected amount if it is soft.

    A call that carries nothing of the quantity needs nothing of it.
    """
    if budget.hard:
        return maximum.get(budget.quantity, 0)
    expected = quote.expected.get(budget.quantity, 0)
    return min(expected, maximum.get(budget.quantity, expected))


def _rate_limited(rate: RateClaim, wait: int) -> Reason:
    seconds = rate.period_ns / 1_000_000_000
    kind, subject = ("policy", rate.rule) if rate.is_of_policy else ("rate limit", rate.rate)
    kind = "threshold" if subject.startswith(OF_BUDGET) else kind
    return Reason(
        code="rate_limited",
        subject=subject,
        wait_ns=wait,
        message=f"{kind} `{subject}` allows {rate.limit} calls in {seconds:g} s; "
        f"try again in {-(-wait // 1_000_000) / 1000:.3f} s",
    )


def _unbounded(budget: BudgetClaim, quote: Quote) -> Reason:
    return Reason(
        code="unbounded_cost",
        subject=budget.budget,
        message=f"budget `{budget.budget}` is hard and needs an upper bound: {quote.unbounded[budget.quantity]}",
    )


def _window_closed(budget: BudgetClaim) -> Reason:
    return Reason(
        code="budget_exhausted",
        subject=budget.budget,
        message=f"budget `{budget.budget}` is not open now: it is a one-off from a date to a date; "
        f"ask its owner {budget.owner}",
    )


def _without_rate(budget: BudgetClaim, currency: Currency, window: Window) -> Reason:
    day = day_of(window.starts_ns, budget.zone)
    return Reason(
        code="budget_exhausted",
        subject=budget.budget,
        message=f"budget `{budget.budget}` is in {currency.code}, and no rate of it is dated {day} or before; "
        f"ask its owner {budget.owner} to add one",
    )


def _exhausted(
    budget: BudgetClaim, window: Window, rate: ExchangeRate | None, available: int, limit: int, needed: int
) -> Reason:
    left, most, need = (_amount(budget, rate, amount) for amount in (available, limit, needed))
    at = f" at {budget.currency.rate_text(rate)}" if rate and budget.currency else ""
    return Reason(
        code="budget_exhausted",
        subject=budget.budget,
        message=f"budget `{budget.budget}`{_of(budget)} has {left} of {most} left for {window.label}{at} "
        f"and the call may need {need}; ask its owner {budget.owner}: {_ask_for(budget, needed - available)}",
    )


def _ask_for(budget: BudgetClaim, missing: int) -> str:
    """The command by which people ask for what a call lacks; of what isn't dollars they say themselves how much."""
    in_dollars = budget.currency is None and (budget.quantity == USD or budget.is_money)
    amount = f"{usd_rounded_up(missing, 2):f}" if in_dollars else "AMOUNT"
    return f"`aegis budget ask {budget.budget} {amount} --until TIME --reason WHY`"


def _too_many_instances(budget: BudgetClaim) -> Reason:
    return Reason(
        code="too_many_instances",
        subject=budget.budget,
        message=f"budget `{budget.budget}` lets agent `{budget.instances_of}` open {budget.instances_max} balances in "
        f"a day, and this would be one more; go on with a run that is open, or ask its owner {budget.owner}",
    )


def _of(budget: BudgetClaim) -> str:
    """Which of a budget's balances, where it has one for each run or customer."""
    return f" of `{budget.scope}`" if budget.instances_max is not None else ""


def _amount(budget: BudgetClaim, rate: ExchangeRate | None, amount: int) -> str:
    if rate is not None and budget.currency is not None:
        return budget.currency.text(amount, rate)
    if budget.quantity == USD or budget.is_money:
        return usd_text(amount)
    return f"{Decimal(amount) / budget.scale:f} {budget.quantity}"
