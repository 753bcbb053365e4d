"""Books: balances and rates as those who decide find them and leave them: the ledger's batches, and replays.

Rule: a call is decided with the balances that earlier calls left, and only one that is admitted changes any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from zoneinfo import ZoneInfo

from aegis_gateway.application.ports import UsedKey
from aegis_gateway.domain.admit import (
    Admission,
    BudgetClaim,
    RateKey,
    StandingKey,
    Standings,
    instances_key,
)
from aegis_gateway.domain.fiscal import YearStart
from aegis_gateway.domain.ledger import NOTHING, Leg, Standing
from aegis_gateway.domain.limits import lapsed, lasting_limit, noted, opened, taken_under, wants_notes
from aegis_gateway.domain.money import NANO_USD_MAX
from aegis_gateway.domain.passing import Passed, exhausted, settled, with_thresholds
from aegis_gateway.domain.rate import RateClaim, Slot, Turns, given_back
from aegis_gateway.domain.rolling import length_of, rolled, settle_rolling
from aegis_gateway.domain.watched import Turn
from aegis_gateway.domain.window import Period, Window, window_at


class Windows:
    """The current window of each period and zone, worked out once per window rather than once per call."""

    def __init__(self) -> None:
        """Start with none."""
        self._current: dict[tuple[Period, str, YearStart], Window] = {}
        self._before: dict[tuple[Period, str, YearStart], Window] = {}

    def at(self, claim: BudgetClaim, now_ns: int) -> Window:
        """The window of a claim that an instant falls into."""
        if claim.period in ("once", "rolling"):
            return window_at(
                claim.period, ZoneInfo("UTC"), now_ns, once=claim.once, length_ns=claim.length_ns
            )
        key = (claim.period, claim.zone, claim.year_starts)
        window = self._current.get(key)
        if window is None or not window.holds(now_ns):
            window = self._current[key] = window_at(
                claim.period, ZoneInfo(claim.zone), now_ns, year_starts=claim.year_starts
            )
        return window

    def before(self, claim: BudgetClaim, window: Window) -> Window:
        """The window before another one of a claim that has many."""
        key = (claim.period, claim.zone, claim.year_starts)
        before = self._before.get(key)
        if before is None or before.ends_ns != window.starts_ns:
            before = self._before[key] = window_at(
                claim.period, ZoneInfo(claim.zone), window.starts_ns - 1, year_starts=claim.year_starts
            )
        return before


class Books:
    """Balances and rates' free turns, by tenant and key; `touched` and `taken` are what was changed of them.

    Of a balance that was touched, the quantity is kept, and the window where it may have been opened. `used` are those
    budgets with carry-over that were used before, where the window before has no balance, by tenant, budget and scope.
    `turns` are the thresholds that were passed or undone, with tenant, balance and quantity.
    """

    def __init__(
        self,
        standings: dict[tuple[str, StandingKey], Standing],
        arrivals: dict[tuple[str, RateKey], Turns],
        windows: Windows,
        used: Iterable[UsedKey] = (),
    ) -> None:
        """Begin with what stands. Both are changed."""
        self.standings = standings
        self.arrivals = arrivals
        self.used = set(used)
        self._windows = windows
        self._opening: dict[tuple[str, StandingKey], Standing] = {}
        self._lasting: dict[tuple[str, StandingKey], int] = {}
        self.touched: dict[tuple[str, StandingKey], tuple[str, Window | None]] = {}
        self.taken: dict[tuple[str, RateKey], None] = {}
        self.turns: list[tuple[str, StandingKey, str, Turn]] = []

    def standings_for(
        self,
        tenant: str,
        rates: tuple[RateClaim, ...],
        budgets: tuple[BudgetClaim, ...],
        windows: tuple[Window, ...],
        now_ns: int,
    ) -> Standings:
        """What stands for a call's claims, in their windows."""
        balances: dict[StandingKey, Standing] = {}
        opening: dict[StandingKey, Standing] = {}
        for claim, window in zip(budgets, windows, strict=True):
            key = (claim.budget, claim.scope, window.label)
            standing = self.standings.get((tenant, key))
            if standing is not None:
                if claim.length_ns:
                    standing = self.standings[tenant, key] = rolled(standing, claim.length_ns, now_ns)
                if wants_notes(claim):
                    standing = self.standings[tenant, key] = noted(claim, window, standing, now_ns)
                if claim.thresholds or (standing.notes is not None and standing.notes.watched is not None):
                    passed = with_thresholds(claim, standing, now_ns)
                    standing = self.look(tenant, key, claim.quantity, passed, window)
                balances[key] = standing
            elif wants_notes(claim) or claim.thresholds:
                before = self._before(tenant, claim, window)
                standing = opened(claim, window, before, now_ns)
                if claim.thresholds:
                    standing, _ = with_thresholds(claim, standing, now_ns)
                opening[key] = self._opening[tenant, key] = standing
            if claim.carry_over is not None and standing is not None:
                self._lasting[tenant, key] = lasting_limit(claim, window, standing, now_ns)
            if claim.instances_max is not None:
                counter = instances_key(claim, now_ns)
                if (tenant, counter) in self.standings:
                    balances[counter] = self.standings[tenant, counter]
        arrivals = {
            rate: self.arrivals[tenant, rate]
            for claim in rates
            if (tenant, rate := (claim.rate, claim.scope)) in self.arrivals
        }
        return Standings(windows=windows, balances=balances, arrivals=arrivals, opening=opening)

    def exhaust(self, tenant: str, key: StandingKey, budgets: tuple[BudgetClaim, ...], now_ns: int) -> None:
        """Note that one of a call's budgets had too little left for it."""
        standing = self.standings.get((tenant, key))
        quantity = next(each.quantity for each in budgets if (each.budget, each.scope) == key[:2])
        if standing is not None:
            is_rolling = length_of(key[2]) is not None
            self.look(tenant, key, quantity, exhausted(standing, now_ns, is_rolling=is_rolling))

    def look(
        self, tenant: str, key: StandingKey, quantity: str, passed: Passed, window: Window | None = None
    ) -> Standing:
        """Take over a balance after a look at its thresholds."""
        standing, turns = passed
        if standing is not self.standings[tenant, key]:
            self.standings[tenant, key] = standing
            self.touched.setdefault((tenant, key), (quantity, window))
            self.turns += [(tenant, key, quantity, turn) for turn in turns]
        return standing

    def _before(
        self, tenant: str, claim: BudgetClaim, window: Window
    ) -> tuple[Window, Standing | None] | None:
        """The window before another one and its balance, if the budget was used before at all."""
        if claim.carry_over is None:
            return None
        before = self._windows.before(claim, window)
        standing = self.standings.get((tenant, (claim.budget, claim.scope, before.label)))
        if standing is None and (tenant, claim.budget, claim.scope) not in self.used:
            return None
        return before, standing

    def take(
        self,
        tenant: str,
        admission: Admission,
        budgets: tuple[BudgetClaim, ...],
        windows: tuple[Window, ...],
    ) -> None:
        """Take a call in that was admitted: its legs, the balances that it opens, its turns."""
        standings, touched = self.standings, self.touched
        window_of = {
            (claim.budget, claim.scope): window for claim, window in zip(budgets, windows, strict=True)
        }
        for leg in admission.legs:
            key = (tenant, (leg.budget, leg.scope, leg.window))
            standing = standings.get(key) or self._opening.get(key, NOTHING)
            if key in self._lasting:
                standing = taken_under(self._lasting[key], standing)
                self.used.add((tenant, leg.budget, leg.scope))
            standings[key] = standing.reserve(leg.amount)
            touched[key] = (leg.quantity, window_of[leg.budget, leg.scope])
        for counter in admission.opened:
            opened = self.standings.get((tenant, counter), NOTHING)
            self.standings[tenant, counter] = Standing(posted=opened.posted + 1)
            self.touched[tenant, counter] = ("instances", None)
        for rate, arrival in admission.arrivals.items():
            self.arrivals[tenant, rate] = arrival
            self.taken[tenant, rate] = None

    def bearable(self, tenant: str, legs: tuple[Leg, ...], amounts: tuple[int, ...]) -> tuple[int, ...]:
        """What legs are settled at, by what their balances still take: a balance is a number of 64 bits.

        What fills one was nobody's to spend; it must not keep others from being settled.
        """
        return tuple(
            min(amount, max(0, NANO_USD_MAX - self.standing(tenant, leg).posted))
            for leg, amount in zip(legs, amounts, strict=True)
        )

    def settle(
        self, tenant: str, legs: tuple[Leg, ...], amounts: Iterable[int], admitted_ns: int, *, now_ns: int
    ) -> None:
        """Replace what a call holds by what was spent."""
        standings, touched = self.standings, self.touched
        for leg, amount in zip(legs, amounts, strict=True):
            key = (tenant, (leg.budget, leg.scope, leg.window))
            standing, length_ns = standings.get(key, NOTHING), length_of(leg.window)
            if length_ns is None:
                standings[key] = lapsed(standing, now_ns).settle(leg.amount, amount)
            else:
                standings[key] = settle_rolling(standing, leg.amount, amount, length_ns, admitted_ns, now_ns)
            touched.setdefault(key, (leg.quantity, None))
            if standing.notes is not None and standing.notes.watched is not None:
                passed = settled(standings[key], now_ns, is_rolling=length_ns is not None)
                self.look(tenant, key[1], leg.quantity, passed)

    def release(self, tenant: str, legs: tuple[Leg, ...], now_ns: int) -> None:
        """Give back what a call holds."""
        for leg in legs:
            key = (tenant, (leg.budget, leg.scope, leg.window))
            self.standings[key] = lapsed(self.standings.get(key, NOTHING), now_ns).release(leg.amount)
            self.touched.setdefault(key, (leg.quantity, None))

    def give_back(self, tenant: str, turns: Mapping[RateKey, Slot], now_ns: int) -> None:
        """Give back the turns of a call that was never sent."""
        for rate, turn in turns.items():
            free = self.arrivals.get((tenant, rate))
            if free is not None:
                self.arrivals[tenant, rate] = given_back(free, turn, now_ns)
                self.taken[tenant, rate] = None

    def forget(self, key: tuple[str, StandingKey]) -> None:
        """Forget a balance that was touched, as if it had never been opened."""
        del self.touched[key], self.standings[key]
        self._opening.pop(key, None)
        self._lasting.pop(key, None)

    def standing(self, tenant: str, leg: Leg) -> Standing:
        """The balance that a leg is of."""
        return self.standings.get((tenant, (leg.budget, leg.scope, leg.window)), NOTHING)
