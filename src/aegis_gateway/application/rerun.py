"""A rerun: recorded calls decided anew under one configuration, in the order in which they were.

Rule 1: what decides is what decides live calls: `judgement_of` (in `rejudging.py`), `claims_of`, `admitted`, `Books`.
Rule 2: what the record says of a call afterwards holds for the rerun too: it is settled when it was, at what it cost.
        What a person agreed to is agreed to where no other policies ask. What was refused and would now pass is taken
        to cost what was expected of it, at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec

from aegis_gateway.application.books import Books, Windows
from aegis_gateway.application.claims import claim_on, claims_of
from aegis_gateway.application.directory import Combination
from aegis_gateway.application.judgement import Described
from aegis_gateway.application.limits_then import LimitsThen
from aegis_gateway.application.measuring import learnt_measures, measures_on, with_thresholds_of
from aegis_gateway.application.recorded import RecordedDecision, RecordedSettlement, charges_of, legs_of
from aegis_gateway.application.rejudging import Rejudged, Rejudging
from aegis_gateway.application.runs import RUN_CHARACTERS, recorded_run
from aegis_gateway.domain.admit import (
    Admission,
    BudgetClaim,
    RateKey,
    Standings,
    admit,
    admitted,
    all_act,
    instances_key,
    leg_of,
    needed_of,
    utilisation,
)
from aegis_gateway.domain.budget_change import BudgetChange
from aegis_gateway.domain.decision import Effect, Undecided
from aegis_gateway.domain.errors import CallError
from aegis_gateway.domain.ledger import Leg, settled_amounts
from aegis_gateway.domain.limits import lasting_limit, taken_under, wants_notes
from aegis_gateway.domain.measure import Measure, measures
from aegis_gateway.domain.price import Kind, Usage, model_charges
from aegis_gateway.domain.quote import USD, Quote
from aegis_gateway.domain.rate import ALL_FREE, RateClaim, Slot, taken, turn_of
from aegis_gateway.domain.registry import (
    ON_THE_FLY,
    Agent,
    Budget,
)
from aegis_gateway.domain.rolling import bucket_ns
from aegis_gateway.domain.rule_name import rule_of
from aegis_gateway.domain.window import Window

_JUDGED_AGAIN_MAX = 8
_DAY_NS = 24 * 3_600 * 1_000_000_000
_FAR_AWAY_NS = 2**63 - 1
_PERIODS_BEFORE = 2
"""How many periods of a rate before the first call are looked at to know when it expects its next one."""
_WINDOWS_CARRIED = 4
"""How many windows before the first call are looked at to know what is carried into its own. Each may have something of
the one before, so it is exact where one of them was used up, or left more than may be carried."""
_WINDOWS_REMEMBERED_MAX = 65_536
_NOT_SENT = "not_sent"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call: by which rule, for which code of reason; of an allowed one, what was sent.

    `undecided` are the policies that could make it another one, for all that the record tells.
    """

    effect: Effect
    code: str = ""
    rule: str = ""
    model: str | None = None
    output_tokens: int | None = None
    expected_nano_usd: int = 0
    undecided: tuple[Undecided, ...] = ()

    @property
    def allows(self) -> bool:
        """Whether the call is forwarded."""
        return self.effect == "allow"


UNCHANGED = Outcome(effect="allow")
"""Of an allowed call: it is sent as it was."""


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """A call judged, and the rates and budgets that it is admitted by as they stand."""

    judged: Rejudged
    rates: tuple[RateClaim, ...]
    budgets: tuple[BudgetClaim, ...]
    standings: Standings


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    """What an admitted call holds until it is settled, and how it is settled otherwise than the record says."""

    legs: tuple[Leg, ...]
    admitted_ns: int
    turns: Mapping[RateKey, Slot] = {}
    model: str | None = None
    maximum: Mapping[str, int] | None = None


class Rerun:
    """One configuration, over the recorded calls of one tenant."""

    def __init__(
        self,
        rejudging: Rejudging,
        before: Mapping[str, Budget],
        throttle_ns: int = 0,
        limits: Iterable[BudgetChange] = (),
    ) -> None:
        """`before` are the budgets in force; `throttle_ns` is the longest period that a policy throttles in; `limits`
        is what was ever done to limits.
        """
        self.view = view = rejudging.view
        self._rejudging = rejudging
        self._throttle_ns = throttle_ns
        self._throttles_from_ns = _FAR_AWAY_NS
        self._tenant = view.registry.tenant
        self._windows = Windows()
        self._books = Books({}, {}, self._windows)
        self._fixed_claims: dict[Combination, tuple[tuple[RateClaim, ...], tuple[BudgetClaim, ...]]] = {}
        self._windows_known: dict[int, tuple[tuple[BudgetClaim, ...], tuple[Window, ...], int, int]] = {}
        self._held: dict[str, _Held] = {}
        self._used: dict[str, int] = {}
        self._measured: dict[str, tuple[Measure, ...]] = {}
        self._limits = LimitsThen(view.registry.budgets, limits)
        self._kept = {
            name
            for name, budget in view.registry.budgets.items()
            if name in before and _same_balances(budget, before[name])
        }

    def come_to(self, sequence: int) -> None:
        """Take up what had been done to limits when a place of the record was written."""
        for act in self._limits.until(sequence):
            for budget in act.touched:
                if budget.carry_over is not None and not budget.per:
                    self._note_what_is_carried_over(budget, act.at_ns)
            registry = msgspec.structs.replace(self.view.registry, budgets=act.budgets)
            self.view = msgspec.structs.replace(self.view, registry=registry, claims={})
            self._fixed_claims.clear()
            self._windows_known.clear()

    def _note_what_is_carried_over(self, budget: Budget, at_ns: int) -> None:
        """Note in a balance by which limit it goes on, as whoever changes it does (`amending.py`)."""
        claim = claim_on(self.view, budget, "")
        window = self._windows.at(claim, at_ns)
        key = (claim.budget, claim.scope, window.label)
        found = self._books.standings_for(self._tenant, (), (claim,), (window,), at_ns)
        standing = found.balances.get(key) or found.opening[key]
        limit = lasting_limit(claim, window, standing, at_ns)
        self._books.standings[self._tenant, key] = taken_under(limit, standing)
        self._books.touched.setdefault((self._tenant, key), (claim.quantity, window))
        self._books.used.add((self._tenant, claim.budget, claim.scope))

    def begin(self, start_ns: int) -> int:
        """Get ready for calls from an instant on; returns from when on those before it have to be taken up."""
        registry = self.view.registry
        if self._throttle_ns:
            self._throttles_from_ns = start_ns - _PERIODS_BEFORE * self._throttle_ns
        back = [min(start_ns, self._throttles_from_ns)]
        back += [
            start_ns - _PERIODS_BEFORE * max(rate.period_ns, -(-rate.burst * rate.period_ns // rate.limit))
            for rate in registry.rates.values()
        ]
        for budget in registry.budgets.values():
            if budget.period == "rolling":
                back.append(start_ns - budget.length_ns - bucket_ns(budget.length_ns))
            else:
                starts_ns = budget.window(start_ns).starts_ns
                for _ in range(0 if budget.carry_over is None else _WINDOWS_CARRIED):
                    starts_ns = budget.window(starts_ns - 1).starts_ns
                back.append(min(starts_ns, start_ns))
            if not set(ON_THE_FLY).isdisjoint(budget.per):
                back.append(start_ns - start_ns % _DAY_NS)  # balances that are opened are counted by days
        return min(back)

    def open(self, decision: RecordedDecision, body: bytes, at_ns: int) -> None:
        """Take a call as it was decided: one from before, or one that can't be decided anew. `body` is its entry.

        Budgets that are in force as they are hold what the record says; others what they would have.
        """
        agent = self._rejudging.agent(decision)
        if decision.quote is None or agent is None:
            return
        quote = Quote(expected=decision.quote.expected, maximum=decision.quote.maximum)
        if decision.effect != "allow":
            if decision.reason.code == "budget_exhausted":
                self._exhaust(decision, agent, quote, at_ns)
            return
        judged = None
        if decision.asked is not None and at_ns >= self._throttles_from_ns:
            judged = self._rejudging.judge(decision, agent, self._used.get(agent.id, 0))
        rates, budgets = self._claims(decision, agent, judged)
        recorded = {(leg.budget, leg.scope, leg.window): leg.amount for leg in legs_of(body).legs}
        windows = self._windows_of(budgets, at_ns)
        if any(wants_notes(budget) or budget.thresholds for budget in budgets):
            self._books.standings_for(self._tenant, (), budgets, windows, at_ns)
        legs, opened = [], []
        for budget, window in zip(budgets, windows, strict=True):
            amount: int | None
            if budget.budget in self._kept:
                amount = recorded.get((budget.budget, budget.scope, window.label))
            else:
                amount = needed_of(budget, quote, quote.maximum)
            if amount is None:
                continue
            legs.append(leg_of(budget, window, amount))
            is_there = (self._tenant, (budget.budget, budget.scope, window.label)) in self._books.standings
            if budget.instances_max is not None and not is_there:
                opened.append(instances_key(budget, at_ns))
        free = {
            key: self._books.arrivals.get((self._tenant, key), ALL_FREE)
            for key in ((rate.rate, rate.scope) for rate in rates)
        }
        turns = {(rate.rate, rate.scope): turn_of(rate, free[rate.rate, rate.scope], at_ns) for rate in rates}
        admission = Admission(
            effect="allow",
            legs=tuple(legs),
            turns=turns,
            arrivals={key: taken(free[key], turn, at_ns) for key, turn in turns.items()},
            opened=tuple(opened),
        )
        self._books.take(self._tenant, admission, budgets, windows)
        self._held[decision.call] = _Held(legs=admission.legs, admitted_ns=at_ns, turns=admission.turns)

    def _exhaust(self, decision: RecordedDecision, agent: Agent, quote: Quote, at_ns: int) -> None:
        """Note of a call from before that a budget had too little left for it: what the budget then does goes on."""
        _, budgets = self._claims(decision, agent, None)
        windows = self._windows_of(budgets, at_ns)
        standings = self._books.standings_for(self._tenant, (), budgets, windows, at_ns)
        admission = admit(quote, (), budgets, standings, at_ns)
        if admission.exhausted is not None:
            self._books.exhaust(self._tenant, admission.exhausted, budgets, at_ns)

    def decide(self, decision: RecordedDecision, at_ns: int) -> Outcome:
        """Decide a call anew."""
        agent = self._rejudging.agent(decision)
        if agent is None:
            return Outcome(effect="deny", code="unknown_agent", rule=f"agent:{decision.agent}")
        try:
            case = self._case(decision, agent, at_ns)
        except CallError as fault:
            return Outcome(effect="deny", code="not_understood", rule=fault.field or "")
        verdict, quote, model = case.judged.verdict, case.judged.quote, case.judged.model
        if verdict.undecided:
            if decision.effect == "allow" and quote is not None:
                # As it was decided, as far as rates and budgets let it.
                admission = admit(quote, case.rates, case.budgets, case.standings, at_ns)
                self._take(decision, case, admission, at_ns)
            return Outcome(effect=decision.effect, undecided=verdict.undecided)
        if decision.was_agreed_to([ask.subject for ask in verdict.asks]):
            verdict = msgspec.structs.replace(verdict, asks=())
        admission = admitted(verdict, quote, case.rates, case.budgets, case.standings, at_ns)
        if admission.exhausted is not None:
            self._books.exhaust(self._tenant, admission.exhausted, case.budgets, at_ns)
        if admission.effect != "allow":
            first = admission.reasons[0]
            return Outcome(
                effect=admission.effect,
                code=first.code,
                rule=rule_of(first.code, first.subject, first.message),
            )
        self._take(decision, case, admission, at_ns)
        tokens = admission.output_tokens
        if self._rejudging.is_proxied:
            tokens = self._output_tokens_asked(decision)
        if decision.effect == "allow" and tokens == decision.sent_output_tokens and model == decision.model:
            return UNCHANGED
        return Outcome(
            effect="allow",
            model=model,
            output_tokens=tokens,
            expected_nano_usd=0 if quote is None else quote.expected.get(USD, 0),
        )

    @staticmethod
    def _output_tokens_asked(decision: RecordedDecision) -> int | None:
        """The caller's own output limit, which is sent where everything passes as it was asked."""
        shape = decision.asked.shape if decision.asked is not None else None
        return shape.output_tokens if shape is not None else None

    def _case(self, decision: RecordedDecision, agent: Agent, at_ns: int) -> _Case:
        """A call judged with what of its budgets is used, and what it is admitted by."""
        used = self._used.get(agent.id, 0)
        case = self._case_at(decision, agent, used, at_ns)
        for _ in range(_JUDGED_AGAIN_MAX):
            now_used = used
            if case.judged.verdict.saw_utilisation:
                now_used = utilisation(case.budgets, case.standings, at_ns)
            if now_used == used and not self._is_measured_otherwise(decision, agent, case, at_ns):
                break
            used = self._used[agent.id] = now_used
            case = self._case_at(decision, agent, used, at_ns)
        self._books.turns.clear()
        return case

    def _is_measured_otherwise(
        self, decision: RecordedDecision, agent: Agent, case: _Case, at_ns: int
    ) -> bool:
        """Whether other measures hold for a call than it was judged by; they are remembered for the next time."""
        found = measures(case.budgets, case.standings, at_ns)
        watched: tuple[BudgetClaim, ...] = ()
        if case.judged.asked is not None:
            watched = with_thresholds_of(self._budgets_of(decision, agent, case.judged.asked), case.budgets)
            windows = tuple(self._windows.at(claim, at_ns) for claim in watched)
            asked = self._books.standings_for(self._tenant, (), watched, windows, at_ns)
            found += measures(watched, asked, at_ns)
        if {*found} == {*case.judged.measures}:
            return False
        known = self._measured.get(agent.id, ())
        self._measured[agent.id] = learnt_measures(known, (*case.budgets, *watched), found)
        return True

    def _budgets_of(
        self, decision: RecordedDecision, agent: Agent, described: Described
    ) -> tuple[BudgetClaim, ...]:
        """The budgets that a call counts on as it is described, and that act."""
        run = recorded_run(decision.run or "")
        _, budgets = claims_of(
            self.view,
            agent,
            self._rejudging.key(decision),
            connector=described.connector,
            tool=described.tool,
            model=described.model,
            run=run.scope,
            delegators=self._rejudging.delegators(run),
            opens_run=False,
            customer=decision.customer,
        )
        return tuple(budget for budget in budgets if budget.mode == "enforce")

    def _case_at(self, decision: RecordedDecision, agent: Agent, used: int, at_ns: int) -> _Case:
        known = self._measured.get(agent.id, ())

        def measures_of(described: Described) -> tuple[Measure, ...]:
            return measures_on(known, self._budgets_of(decision, agent, described))

        judged = self._rejudging.judge(decision, agent, used, measures_of if known else None)
        rates, budgets = self._claims(decision, agent, judged)
        windows = self._windows_of(budgets, at_ns)
        standings = self._books.standings_for(self._tenant, rates, budgets, windows, at_ns)
        return _Case(judged=judged, rates=rates, budgets=budgets, standings=standings)

    def settle(self, call: str, settlement: RecordedSettlement, body: bytes, now_ns: int) -> None:
        """Settle a call as it was; one of another model, or of a shorter answer, at what that comes to.

        `body` is the entry, whose lines are read where they are needed.
        """
        held = self._held.pop(call, None)
        if held is None:
            return
        actual = settlement.actual
        if settlement.evidence == _NOT_SENT:
            actual = {leg.quantity: 0 for leg in held.legs}
        amounts = settled_amounts(held.legs, self._cost(held, settlement, body), actual)
        if held.maximum is not None:
            amounts = tuple(
                min(amount, held.maximum.get(leg.quantity, amount))
                for leg, amount in zip(held.legs, amounts, strict=True)
            )
        self._books.settle(self._tenant, held.legs, amounts, held.admitted_ns, now_ns=now_ns)

    def release(self, call: str, now_ns: int, *, expired: bool = False) -> None:
        """Give back what a call holds that was never sent, and its turns, unless they have `expired`."""
        held = self._held.pop(call, None)
        if held is not None:
            self._books.release(self._tenant, held.legs, now_ns)
            self._books.give_back(self._tenant, {} if expired else held.turns, now_ns)

    def forget(self, now_ns: int) -> None:
        """Forget what no call looks at again: balances of windows that are over and hold nothing any more (a window
        later, where they carry over), and turns of rates that are past, which is as if there had been none.
        """
        for key, (_, window) in list(self._books.touched.items()):
            if window is None or self._books.standings[key].pending:
                continue
            budget = self.view.registry.budgets.get(key[1][0])
            is_carried = budget is not None and budget.carry_over is not None
            if window.ends_ns + is_carried * 2 * (window.ends_ns - window.starts_ns) <= now_ns:
                self._books.forget(key)
        for rate, turns in list(self._books.arrivals.items()):
            if turns.next_ns <= now_ns:
                del self._books.arrivals[rate]
                self._books.taken.pop(rate, None)

    def _take(self, decision: RecordedDecision, case: _Case, admission: Admission, at_ns: int) -> None:
        if admission.effect != "allow":
            return
        self._books.take(self._tenant, admission, case.budgets, case.standings.windows)
        quote, model = case.judged.quote, case.judged.model
        if decision.effect != "allow":
            expected = {} if quote is None else quote.expected
            amounts = [min(expected.get(leg.quantity, leg.amount), leg.amount) for leg in admission.legs]
            self._books.settle(self._tenant, admission.legs, amounts, at_ns, now_ns=at_ns)
            return
        is_other = model != decision.model
        is_shorter = (admission.output_tokens or 0) < (decision.output_tokens or 0)
        self._held[decision.call] = _Held(
            legs=admission.legs,
            admitted_ns=at_ns,
            turns=admission.turns,
            model=model if is_other else None,
            maximum=admission.maximum if is_other or is_shorter else None,
        )

    def _cost(self, held: _Held, settlement: RecordedSettlement, body: bytes) -> int:
        model = None if held.model is None else self.view.registry.models[held.model]
        if model is None or model.price is None:
            return settlement.cost_nano_usd
        used = Usage(units={cast(Kind, line.kind): line.quantity for line in charges_of(body).charges})
        lines = model_charges(model.price, used)
        return settlement.cost_nano_usd if not lines else sum(line.nano_usd for line in lines)

    def _claims(
        self, decision: RecordedDecision, agent: Agent, judged: Rejudged | None
    ) -> tuple[tuple[RateClaim, ...], tuple[BudgetClaim, ...]]:
        """The rates and budgets that apply to a call and act; those in shadow change nothing."""
        connector = decision.connector if judged is None else judged.connector
        model = decision.model if judged is None else judged.model
        throttles = () if judged is None else judged.verdict.throttles
        combination = (decision.key, connector, decision.tool, model)
        is_special = bool(throttles) or (decision.run is not None and len(decision.run) > RUN_CHARACTERS)
        fixed = None if is_special else self._fixed_claims.get(combination)
        if fixed is not None:
            return fixed
        run = recorded_run(decision.run or "")
        rates, budgets = claims_of(
            self.view,
            agent,
            self._rejudging.key(decision),
            connector=connector,
            tool=decision.tool,
            model=model,
            run=run.scope,
            delegators=self._rejudging.delegators(run),
            opens_run=decision.asked is not None and decision.asked.opens_run,
            customer=decision.customer,
            throttles=throttles,
        )
        if not all_act(rates, budgets):
            rates = tuple(rate for rate in rates if rate.mode == "enforce")
            budgets = tuple(budget for budget in budgets if budget.mode == "enforce")
        known = self.view.claims.get(combination)
        is_fixed = known is not None and not (throttles or known.later_rates or known.later_budgets)
        if is_fixed and not run.delegators:
            self._fixed_claims[combination] = rates, budgets
        return rates, budgets

    def _windows_of(self, budgets: tuple[BudgetClaim, ...], at_ns: int) -> tuple[Window, ...]:
        """The windows of claims; those of the same claims as before are remembered while they last."""
        known = self._windows_known.get(id(budgets))
        if known is not None and known[0] is budgets and known[2] <= at_ns < known[3]:
            return known[1]
        windows = tuple(self._windows.at(budget, at_ns) for budget in budgets)
        if len(self._windows_known) >= _WINDOWS_REMEMBERED_MAX:
            self._windows_known.clear()
        since_ns = max((window.starts_ns for window in windows), default=0)
        until_ns = min((window.ends_ns for window in windows), default=_FAR_AWAY_NS)
        self._windows_known[id(budgets)] = (budgets, windows, since_ns, until_ns)
        return windows


def _same_balances(budget: Budget, other: Budget) -> bool:
    """Whether two budgets count the same into the same balances, however much they let through."""
    return _counting(budget) == _counting(other)


def _counting(budget: Budget) -> Budget:
    return msgspec.structs.replace(
        budget,
        owner="",
        deputy=None,
        limit=0,
        hard=True,
        mode="enforce",
        instances_max=None,
        currency=None,
        carry_over=None,
        thresholds=(),
        changes=(),
    )
