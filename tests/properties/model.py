"""A model of the ledger in plain dictionaries, and a provider that keeps its own bill: the oracle of the tests.

Nothing here is taken from the code that is tested but the names of states and the shape of commands: windows are
worked out by division, output limits by trying each, pending balances by adding up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from tests.ledgers import DAY_NS, HOUR_NS, NOON_NS, SECOND_NS

INDIA_NS = 5 * HOUR_NS + HOUR_NS // 2
CLOCK_FALL_NS = 5 * SECOND_NS
ONCE = (NOON_NS - HOUR_NS, NOON_NS + 2 * DAY_NS)

Period = Literal["hourly", "daily", "monthly", "once"]
Key = tuple[str, str, str, int]
"""A balance: tenant, budget, scope, the instant its window begins."""

OPEN = ("reserved", "dispatched", "in_doubt")
MOVES = {
    ("reserved", "dispatch"): "dispatched",
    ("reserved", "release"): "released",
    ("reserved", "expire"): "expired",
    ("dispatched", "settle"): "settled",
    ("dispatched", "lose"): "in_doubt",
    ("in_doubt", "settle"): "settled",
}


@dataclass(frozen=True)
class Budget:
    """A budget of the tests. Those that are split have a standing for each agent; some carry over, for a time."""

    quantity: str
    hard: bool
    period: Period
    offset_ns: int = 0
    split: bool = False
    most: int = 0
    expires_ns: int = 0


BUDGETS = {
    "calls": Budget("calls", hard=True, period="hourly"),
    "day": Budget(
        "usd", hard=True, period="daily", offset_ns=INDIA_NS, split=True, most=80, expires_ns=9 * HOUR_NS
    ),
    "launch": Budget("usd", hard=True, period="once"),
    "month": Budget("usd", hard=True, period="monthly"),
    "soft": Budget("usd", hard=False, period="hourly", split=True),
    "tokens": Budget("tokens", hard=True, period="daily", split=True),
}

EXHAUSTED = "exhausted"
THRESHOLDS = {
    "calls": {EXHAUSTED: 100},
    "day": {"60": 60, EXHAUSTED: 100},
    "month": {"50": 50, "80": 80, EXHAUSTED: 100},
    "soft": {"50": 50},
}
"""At how many percent of which budgets something is done, by the thresholds' ids."""

FOR_EVER_NS = 2**63 - 1

RATES = {"burst": (2, 10 * SECOND_NS), "pace": (5, HOUR_NS)}
"""How many calls, in how long; both are kept for each agent."""


@dataclass(frozen=True)
class Call:
    """A call as its caller makes it: who, on which budgets and rates, and what it comes to at most.

    With `price`, it asks for `tokens` of output at that price each beside `maximum`, and takes fewer, down to
    `min_tokens`. `bounded` calls have a maximum.
    """

    tenant: str
    agent: str
    budgets: tuple[str, ...]
    rates: tuple[str, ...]
    maximum: int
    expected: int
    tokens: int
    price: int = 0
    min_tokens: int = 0
    bounded: bool = True
    permitted: bool = True
    stale: bool = False
    reserve_for_ns: int | None = None


@dataclass(frozen=True)
class Decision:
    """What must be answered to an admission. `code` is of its first reason."""

    effect: str
    code: str
    state: str
    sequence: int
    output_tokens: int | None = None
    balances: tuple[tuple[int, int], ...] = ()


@dataclass
class Watch:
    """A threshold of a balance: at which amount it is passed, and whether it is, or was in a window that is over."""

    amount: int
    state: Literal["ready", "passed", "over"] = "ready"


Stretch = tuple[int, int]
"""When something begins and ends: the turn of a rate that a call has."""

Turn = tuple[Key, str, str]
"""A threshold of a balance, and what happened to it."""


@dataclass
class Known:
    """A call as the ledger must know it."""

    call: Call
    state: str
    boot: int
    legs: list[tuple[Key, str, int]]
    maximum: int | None
    expires_ns: int | None
    cost: int | None = None
    overrun: bool = False
    most: dict[str, int] = field(default_factory=dict)
    turns: dict[str, Stretch] = field(default_factory=dict)


class Model:
    """What a ledger must answer and hold. Time comes in; `boot` counts how often the store was opened."""

    def __init__(self, tenants: tuple[str, ...], limits: dict[str, int]) -> None:
        self.limits = limits
        self.highest_limits = dict(limits)
        self.last_ns = dict.fromkeys(tenants, 0)
        self.fell_ns = dict.fromkeys(tenants, 0)
        self.next_sequence = dict.fromkeys(tenants, 1)
        self.calls: dict[str, Known] = {}
        self.posted: dict[Key, int] = {}
        self.carried: dict[Key, int] = {}
        self.lapsed: set[Key] = set()
        self.taken_under: dict[Key, int] = {}
        self.turns: dict[tuple[str, str, str], list[Stretch]] = {}
        self.watched: dict[Key, dict[str, Watch]] = {}
        self.watched_limits: dict[Key, int] = {}
        self.turned: dict[str, list[tuple[str, str, str, str]]] = {tenant: [] for tenant in tenants}
        self.entries: dict[str, list[tuple[str, str | None]]] = {tenant: [] for tenant in tenants}
        self.boot = 0

    def limit(self, budget: str, limit: int) -> None:
        """Change a budget's limit; what is held and spent stays."""
        self.limits[budget] = limit
        self.highest_limits[budget] = max(limit, self.highest_limits[budget])

    def pending(self, key: Key) -> int:
        """What the open calls hold of a balance."""
        return sum(
            amount
            for known in self.calls.values()
            if known.state in OPEN
            for place, _, amount in known.legs
            if place == key
        )

    def keys(self, call: Call, now_ns: int) -> list[Key]:
        """The balances that a call needs, in its budgets' windows."""
        return [
            (call.tenant, name, call.agent if BUDGETS[name].split else "", begins(BUDGETS[name], now_ns))
            for name in call.budgets
        ]

    # -- commands ------------------------------------------------------------------------------------------

    def begin(self, tenant: str, clock_ns: int) -> None:
        """Begin a batch that touches a tenant: time stands still in it, and doesn't go back."""
        self.fell_ns[tenant] = self.last_ns[tenant] - clock_ns
        self.last_ns[tenant] = max(clock_ns, self.last_ns[tenant])

    def admit(self, name: str, call: Call) -> Decision | None:
        """Decide a call; None where it must be sent back or was decided before."""
        if call.stale or name in self.calls:
            return None
        tenant, now_ns = call.tenant, self.last_ns[call.tenant]
        turned = [turn for key in self.keys(call, now_ns) for turn in self._looked_at_by_call(key, now_ns)]
        tokens = self._output_tokens(call, now_ns)
        refusal = self._refusal(call, now_ns)
        legs = self._legs(call, tokens, now_ns)
        if refusal is None and legs is None:
            refusal = ("budget_exhausted", "deny")
            turned += self._exhausted(call, tokens, now_ns)
        if refusal or legs is None:
            legs = []
        code, effect = refusal or ("permitted", "allow")
        turns: dict[str, Stretch] = {}
        if effect == "allow":
            turns = {rate: self._turn(rate, call, now_ns) for rate in call.rates}
            for rate, turn in turns.items():
                self.turns.setdefault((tenant, rate, call.agent), []).append(turn)
            for key, _, _ in legs:
                self._open(key, now_ns)
        waits = call.reserve_for_ns
        state = "refused" if effect != "allow" else "dispatched" if waits is None else "reserved"
        most = maxima(call, tokens)
        self.calls[name] = Known(
            call=call,
            state=state,
            boot=self.boot,
            legs=legs,
            maximum=most.get("usd"),
            expires_ns=None if waits is None else now_ns + waits,
            most=most,
            turns=turns,
        )
        sequence = self._enter(name, "decision")
        self._tell(turned)
        return Decision(
            effect=effect,
            code=code,
            state=state,
            sequence=sequence,
            output_tokens=tokens if effect == "allow" and call.price else None,
            balances=self.balances(name),
        )

    def move(self, name: str, event: str) -> str | None:
        """Move a call otherwise than by settling it; the state after, or None where that is not possible."""
        known = self.calls[name]
        ran_out = known.expires_ns is not None and self.last_ns[known.call.tenant] >= known.expires_ns
        if known.state == "reserved" and event == "expire" and not ran_out:
            return known.state
        if known.state == "reserved" and event == "dispatch" and ran_out:
            event = "expire"
        state = MOVES.get((known.state, event))
        if state is None:
            return None
        if state in ("released", "expired"):
            self._lapse([key for key, _, _ in known.legs], self.last_ns[known.call.tenant])
            known.cost = 0
        if state == "released":
            for rate, turn in known.turns.items():
                self.turns[known.call.tenant, rate, known.call.agent].remove(turn)
        known.state = state
        self._enter(name, "doubt" if event == "lose" else event)
        return state

    def settle(self, name: str, cost: int, tokens: int | None) -> str | None:
        """Settle a call; the state after, or None where that is not possible. Again at the same cost is nothing new.

        Without word of its tokens it settles at what was reserved of them.
        """
        known = self.calls[name]
        if known.state == "settled" and known.cost == cost:
            return known.state
        if (known.state, "settle") not in MOVES:
            return None
        self._lapse([key for key, _, _ in known.legs], self.last_ns[known.call.tenant])
        known.state, known.cost = "settled", cost
        known.overrun = known.maximum is not None and cost > known.maximum
        for key, quantity, reserved in known.legs:
            told = {"usd": cost, "tokens": reserved if tokens is None else tokens}
            amount = told.get(quantity, reserved)
            self.posted[key] += amount
            known.overrun = known.overrun or amount > reserved
        self._enter(name, "settlement")
        self._tell([turn for key, _, _ in known.legs for turn in self._reached(key)])
        return "settled"

    def look(self, key: Key, ends_ns: int) -> None:
        """Look at a balance's thresholds besides all calls: at its window's end none is passed any more."""
        now_ns = self.last_ns[key[0]]
        if now_ns < ends_ns:
            self._tell(self._looked_at(key, now_ns))
            return
        passed = [name for name, each in self.watched[key].items() if each.state == "passed"]
        for name in passed:
            self.watched[key][name].state = "over"
        self._tell([(key, name, "undone") for name in passed])

    def balances(self, name: str) -> tuple[tuple[int, int], ...]:
        """Pending and posted of each of a call's legs."""
        return tuple((self.pending(key), self.posted[key]) for key, _, _ in self.calls[name].legs)

    # -- deciding ------------------------------------------------------------------------------------------

    def _refusal(self, call: Call, now_ns: int) -> tuple[str, str] | None:
        if not call.permitted:
            return "no_permit", "deny"
        if self.fell_ns[call.tenant] > CLOCK_FALL_NS:
            return "clock_fell_back", "deny"
        for rate in call.rates:
            limit, period_ns = RATES[rate]
            if self._turn(rate, call, now_ns)[1] > now_ns + limit * -(-period_ns // limit):
                return "rate_limited", "throttle"
        for name in call.budgets:
            budget = BUDGETS[name]
            if budget.period == "once" and not ONCE[0] <= now_ns < ONCE[1]:
                return "budget_exhausted", "deny"
            if budget.hard and budget.quantity == "usd" and not call.bounded:
                return "unbounded_cost", "deny"
        return None

    def _turn(self, rate: str, call: Call, now_ns: int) -> Stretch:
        """The first stretch of one interval from now on in which nobody has a turn."""
        limit, period_ns = RATES[rate]
        interval_ns = -(-period_ns // limit)
        free = self.free(call.tenant, rate, call.agent, now_ns)
        begins_ns = next(begins for begins, ends in free if ends - begins >= interval_ns)
        return begins_ns, begins_ns + interval_ns

    def free(self, tenant: str, rate: str, agent: str, now_ns: int) -> list[Stretch]:
        """The stretches from an instant on in which nobody has a turn; the last one has no end."""
        begins_ns, found = now_ns, []
        for turn in sorted(self.turns.get((tenant, rate, agent), ())):
            if turn[0] > begins_ns:
                found.append((begins_ns, turn[0]))
            begins_ns = max(begins_ns, turn[1])
        return [*found, (begins_ns, FOR_EVER_NS)]

    def _output_tokens(self, call: Call, now_ns: int) -> int:
        """The most output that fits into every hard budget, found by trying; the least if none does."""
        if not call.price:
            return call.tokens
        for tokens in range(call.tokens, call.min_tokens, -1):
            most = maxima(call, tokens)
            if all(
                most.get(BUDGETS[key[1]].quantity, 0) <= self._left(key, now_ns)
                for key in self.keys(call, now_ns)
                if BUDGETS[key[1]].hard
            ):
                return tokens
        return call.min_tokens

    def _legs(self, call: Call, tokens: int, now_ns: int) -> list[tuple[Key, str, int]] | None:
        legs = self._needed(call, tokens, now_ns)
        return legs if all(needed <= self._left(key, now_ns) for key, _, needed in legs) else None

    def _needed(self, call: Call, tokens: int, now_ns: int) -> list[tuple[Key, str, int]]:
        most = maxima(call, tokens)
        expected = {"usd": call.expected, "tokens": call.tokens, "calls": 1}
        legs = []
        for key in self.keys(call, now_ns):
            quantity = BUDGETS[key[1]].quantity
            needed = most.get(quantity, 0)
            if not BUDGETS[key[1]].hard:
                needed = min(expected[quantity], most.get(quantity, expected[quantity]))
            legs.append((key, quantity, needed))
        return legs

    def budgets_passed(self) -> list[str]:
        """The budgets with a threshold that is passed."""
        passed = {
            key[1]
            for key, watched in self.watched.items()
            if any(each.state == "passed" for each in watched.values())
        }
        return sorted(passed)

    # -- thresholds ----------------------------------------------------------------------------------------

    def _looked_at_by_call(self, key: Key, now_ns: int) -> list[Turn]:
        """As `_looked_at`; what a call finds changed is written with its balance as it is now."""
        before = self.watched_limits.get(key)
        turned = self._looked_at(key, now_ns)
        if turned or before != self.watched_limits.get(key):
            self._lapse([key], now_ns)
        return turned

    def _looked_at(self, key: Key, now_ns: int) -> list[Turn]:
        """Thresholds follow the limit: what it was raised above is undone. Then what is reached is passed."""
        if key not in self.watched:
            return []
        turned: list[Turn] = []
        self.watched_limits[key] = limit = self.limits[key[1]] + self._carries(key, now_ns)
        for name, percent in THRESHOLDS[key[1]].items():
            each, amount = self.watched[key][name], -(-limit * percent // 100)
            stands = self._used(key) if name == EXHAUSTED else self.posted[key]
            if each.state == "passed" and stands < amount > each.amount:
                each.state = "ready"
                turned.append((key, name, "undone"))
            each.amount = amount
        return turned + self._reached(key)

    def _reached(self, key: Key) -> list[Turn]:
        """Pass what is reached by what is spent."""
        reached = [
            name
            for name, each in self.watched.get(key, {}).items()
            if each.state == "ready" and 0 < each.amount <= self.posted[key]
        ]
        for name in reached:
            self.watched[key][name].state = "passed"
        return [(key, name, "passed") for name in reached]

    def _exhausted(self, call: Call, tokens: int, now_ns: int) -> list[Turn]:
        """Pass what is done on exhaustion, where the first budget that is too small would be great enough empty."""
        key, needed = next(
            (key, needed)
            for key, _, needed in self._needed(call, tokens, now_ns)
            if needed > self._left(key, now_ns)
        )
        each = self.watched.get(key, {}).get(EXHAUSTED)
        if each is None or each.state != "ready" or needed > self._left(key, now_ns) + self._used(key):
            return []
        each.state = "passed"
        return [(key, EXHAUSTED, "passed")]

    def _watch(self, key: Key, now_ns: int) -> None:
        """Begin to watch a balance that is opened."""
        self.watched_limits[key] = limit = self.limits[key[1]] + self._carries(key, now_ns)
        self.watched[key] = {
            name: Watch(amount=-(-limit * percent // 100)) for name, percent in THRESHOLDS[key[1]].items()
        }

    def _tell(self, turned: list[Turn]) -> None:
        for key, name, act in turned:
            tenant = key[0]
            self.turned[tenant].append((key[1], key[2], name, act))
            self.entries[tenant].append(("threshold", None))
            self.next_sequence[tenant] += 1

    # -- what is left --------------------------------------------------------------------------------------

    def _left(self, key: Key, now_ns: int) -> int:
        return self.limits[key[1]] + self._carries(key, now_ns) - self._used(key)

    def _used(self, key: Key) -> int:
        return self.posted.get(key, 0) + self.pending(key)

    def _open(self, key: Key, now_ns: int) -> None:
        """Take a leg into a balance, which is opened if it is not."""
        if BUDGETS[key[1]].most:
            self._lapse([key], now_ns)
            if key not in self.posted:
                self.carried[key] = self._carries(key, now_ns)
                if now_ns >= key[3] + BUDGETS[key[1]].expires_ns:
                    self.lapsed.add(key)
            self.taken_under[key] = self.limits[key[1]]
        if key not in self.posted:
            self.posted[key] = 0
            if key[1] in THRESHOLDS:
                self._watch(key, now_ns)

    def _lapse(self, keys: list[Key], now_ns: int) -> None:
        """Before a balance changes: what was carried into it and is over time counts as far as it was used."""
        for key in keys:
            if (
                key in self.carried
                and key not in self.lapsed
                and now_ns >= key[3] + BUDGETS[key[1]].expires_ns
            ):
                self.carried[key] = min(self.carried[key], self._used(key))
                self.lapsed.add(key)

    def _carries(self, key: Key, now_ns: int) -> int:
        """What of the window before counts in one, or would if it were opened now."""
        tenant, name, scope, starts_ns = key
        budget = BUDGETS[name]
        if not budget.most:
            return 0
        if key in self.posted:
            amount = self.carried[key]
        else:
            before = (tenant, name, scope, starts_ns - DAY_NS)
            left = 0
            if before in self.posted:
                limit = min(self.taken_under[before], self.limits[name])
                left = limit + self._carries(before, starts_ns) - self._used(before)
            elif any(other[:3] == key[:3] for other in self.posted):
                left = self.limits[name]
            amount = max(0, min(budget.most, left))
        if key not in self.lapsed and now_ns >= starts_ns + budget.expires_ns:
            return min(amount, self._used(key))
        return amount

    def enter_other(self, tenant: str, kind: str) -> None:
        """Enter something that is about no call."""
        self.entries[tenant].append((kind, None))
        self.next_sequence[tenant] += 1

    def _enter(self, name: str, kind: str) -> int:
        tenant = self.calls[name].call.tenant
        self.entries[tenant].append((kind, name))
        sequence = self.next_sequence[tenant]
        self.next_sequence[tenant] += 1
        return sequence


def maxima(call: Call, tokens: int) -> dict[str, int]:
    """What a call can come to of each quantity, at an output limit."""
    most = {"calls": 1, "tokens": tokens}
    if call.bounded:
        most["usd"] = call.maximum + call.price * tokens
    return most


def begins(budget: Budget, now_ns: int) -> int:
    """When the window begins that an instant falls into."""
    match budget.period:
        case "hourly":
            return now_ns - now_ns % HOUR_NS
        case "daily":
            return now_ns - (now_ns + budget.offset_ns) % DAY_NS
        case "monthly":
            month = datetime.fromtimestamp(now_ns // SECOND_NS, tz=UTC).replace(
                day=1, hour=0, minute=0, second=0
            )
            return int(month.timestamp()) * SECOND_NS
        case "once":
            return ONCE[0]


class Provider:
    """Who is paid. It bills what was sent to it, and knows only what it was told when it was sent.

    A call that it has not answered may come to its maximum yet: that is what it counts until then.
    """

    def __init__(self) -> None:
        self.bill: dict[str, dict[str, int]] = {}
        self.places: dict[str, list[Key]] = {}
        self.exceeded: set[Key] = set()

    def send(self, name: str, places: list[Key], most: dict[str, int]) -> None:
        """Take a call."""
        assert name not in self.bill, f"{name} was sent twice"
        self.bill[name] = dict(most)
        self.places[name] = places

    def answer(self, name: str, amounts: dict[str, int]) -> None:
        """Bill a call for good. What is more than it was to come to is its provider's doing."""
        for quantity, amount in amounts.items():
            if amount > self.bill[name].get(quantity, amount):
                self.exceeded.update(self.places[name])
            self.bill[name][quantity] = amount

    def billed(self, key: Key) -> int:
        """What was billed, or can yet be, on a balance."""
        quantity = BUDGETS[key[1]].quantity
        return sum(self.bill[name].get(quantity, 0) for name, places in self.places.items() if key in places)
