"""A ledger driven at random beside its model, on a real store, through restarts and turned clocks.

What must hold, after every step (the numbers are those of the project's list of invariants):

- I1: what the provider bills, or can yet bill, on a hard budget is within its limit, unless the provider exceeded a
  call's maximum, or the limit was lowered.
- I2: no pending balance is negative, and at every admission what is posted and pending is within the limit.
- I3: nothing is sent that is not committed as dispatched.
- I4: a call has one terminal state; the same command again gives the same answer.
- I7: what was dispatched before a restart counts at its maximum until there is evidence.
- I8: each acknowledged decision has exactly one entry, at the place it was acknowledged with, and no place is empty.
- A rate has free what nobody took: the first turn that is, is the next call's, and what was released is free again.
- Each balance is what its calls' legs add up to; each bill is what its lines add up to.
- What is kept by hour and by day of calls and costs is what the calls add up to; what of outcomes, what is reported.
- What a reported run has cost is what its calls add up to, before the report and after it.
- Of each balance just those thresholds are passed that the model says; each passing and each undoing has one entry and
  one notice, in order.
- What is carried into a window is at most what its budget says and what was left of the window before, and is fixed.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition
from hypothesis.stateful import rule as step_rule

from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    Command,
    Dispatch,
    Expire,
    Failed,
    Look,
    Lose,
    Moved,
    Release,
    Reply,
    Seen,
    Settle,
    Stale,
    TakenTurn,
    TellOutcome,
    Told,
)
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import LedgerStore, LockedTenants, Store
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Reason, Verdict
from aegis_gateway.domain.ledger import Evidence, Standing
from aegis_gateway.domain.limits import CarryOver
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.outcome import RESULTS, Report
from aegis_gateway.domain.price import ChargeLine, charge_line
from aegis_gateway.domain.quote import OutputBound, Quote
from aegis_gateway.domain.replication import RUN_LIFETIME_NS
from aegis_gateway.domain.usage import SPANS
from aegis_gateway.domain.watched import Watched
from aegis_gateway.domain.window import Window
from tests.ledgers import (
    ATTRIBUTION,
    DAY_NS,
    HOUR_NS,
    NOON_NS,
    PERMITTED,
    SECOND_NS,
    Database,
    TurnableClock,
    admission,
    budget,
    create_tenants,
    on_exhaustion,
    rate,
    threshold,
)
from tests.properties.model import (
    BUDGETS,
    EXHAUSTED,
    FOR_EVER_NS,
    ONCE,
    OPEN,
    RATES,
    THRESHOLDS,
    Call,
    Decision,
    Model,
    Provider,
    maxima,
)

NO_PERMIT = Verdict(effect="deny", reasons=(Reason(code="no_permit", message="no policy permits this"),))
SWEEP_LIMIT = 1_000
RUNS = 3
"""Of how many runs the calls of each tenant are."""


class Killed(BaseException):
    """The process ends here. No handler in it gets to see this."""


class KillableStore:
    """A store whose process can be killed at a commit: `before` it, or `after` it and before the answer."""

    def __init__(self, store: LedgerStore) -> None:
        self.inner = store
        self.kill: Literal["", "before", "after"] = ""

    @property
    def boot(self) -> str:
        """The inner store's."""
        return self.inner.boot

    @contextmanager
    def lock(self, tenants: Any) -> Iterator[LockedTenants]:
        """The inner store's, until it is killed."""
        with self.inner.lock(tenants) as locked:
            yield locked
            if self.kill == "before":
                raise Killed
        if self.kill == "after":
            raise Killed

    def expired(self, limit: int) -> list[tuple[str, str]]:
        """The inner store's."""
        return self.inner.expired(limit)

    def orphans(self, limit: int) -> list[tuple[str, str]]:
        """The inner store's."""
        return self.inner.orphans(limit)

    def forget_old_answers(self, limit: int) -> None:
        """The inner store's."""
        self.inner.forget_old_answers(limit)

    def forget_old_runs(self, limit: int) -> None:
        """The inner store's."""
        self.inner.forget_old_runs(limit)

    def forget_old_requests(self, limit: int) -> None:
        """The inner store's."""
        self.inner.forget_old_requests(limit)


class Gateway:
    """A ledger on a database, that can be stopped and started, and somebody beside it who only looks.

    `wrap` and `make_ledger` are where faults are planted.
    """

    def __init__(
        self,
        database: Database,
        wrap: Callable[[LedgerStore], LedgerStore] = lambda store: store,
        make_ledger: Callable[[LedgerStore], Ledger] = Ledger,
    ) -> None:
        self.clock = TurnableClock()
        self._database = database
        self._wrap = wrap
        self._make_ledger = make_ledger
        self._numbers = itertools.count(1)
        self.start()
        self._reader = database.open(self.clock, read_only=True)

    def start(self) -> None:
        """Open the store and keep the ledger."""
        self.store: Store = self._database.open(self.clock)
        self.killable = KillableStore(self._wrap(self.store))
        self.ledger = self._make_ledger(self.killable)

    def restart(self) -> None:
        """Stop, whatever is going on, and start again when the database has noticed."""
        self.store.close()
        deadline = time.monotonic() + 10
        while self._database.kind == "postgres" and self._is_kept():
            assert time.monotonic() < deadline, "the server has not noticed"
        self.start()

    def new_tenants(self) -> tuple[str, str]:
        """Two tenants that nobody had before."""
        number = next(self._numbers)
        tenants = (f"a{number}", f"b{number}")
        create_tenants(self.store, *tenants)
        return tenants

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What is committed."""
        return [tuple(row.values()) for row in self._reader.query(sql, values)]

    def _is_kept(self) -> bool:
        locks = "select 1 from pg_locks where locktype = 'advisory' and objsubid = 1 and database = "
        return bool(self.rows(locks + "(select oid from pg_database where datname = current_database())"))


@dataclass(frozen=True)
class Act:
    """Something that is done to a call: the one at a place among those there are, or among the open ones."""

    event: Literal["dispatch", "settle", "release", "expire", "lose"]
    place: int
    among_open: bool
    permille: int
    lines: int
    told_tokens: bool


@dataclass(frozen=True)
class Again:
    """A call that was decided before is asked about again."""

    place: int


@dataclass(frozen=True)
class Transition:
    """What must be answered to a command that moves a call. Without a `sequence`, nothing was entered for it."""

    state: str
    cost: int | None
    overrun: bool
    sequence: int | None
    balances: tuple[tuple[int, int], ...]


Step = Call | Act | Again
Expected = Decision | Transition | None


def mostly(usual: object, *others: object) -> st.SearchStrategy[Any]:
    """The usual nine times in ten."""
    return st.sampled_from([usual] * 9 * len(others) + list(others))


odd_calls = st.builds(
    Call,
    tenant=st.sampled_from("ab"),
    agent=st.sampled_from("xy"),
    budgets=st.lists(st.sampled_from(sorted(BUDGETS)), unique=True, max_size=4).map(tuple),
    rates=st.lists(st.sampled_from(sorted(RATES)), unique=True, max_size=2).map(tuple),
    maximum=st.integers(0, 100),
    expected=st.integers(0, 100),
    tokens=st.integers(0, 20),
    price=st.sampled_from([0, 1, 3]),
    min_tokens=st.integers(0, 5),
    bounded=mostly(True, False),
    permitted=mostly(True, False),
    stale=mostly(False, True),
    reserve_for_ns=st.sampled_from([None, None, SECOND_NS, HOUR_NS]),
)
plain_calls = st.builds(
    Call,
    tenant=mostly("a", "b"),
    agent=mostly("x", "y"),
    budgets=st.sampled_from(
        [("month",), ("day",), ("day", "month"), ("soft", "tokens"), ("calls", "launch"), ()]
    ),
    rates=st.sampled_from([(), (), ("burst",), ("burst", "pace")]),
    maximum=st.integers(20, 100),
    expected=st.integers(0, 100),
    tokens=st.integers(10, 20),
    price=st.sampled_from([0, 3, 5]),
    min_tokens=st.integers(1, 5),
    reserve_for_ns=st.sampled_from([None, None, 3 * SECOND_NS]),
)
acts = st.builds(
    Act,
    event=st.sampled_from(
        ["settle", "settle", "settle", "dispatch", "dispatch", "release", "expire", "lose"]
    ),
    place=st.integers(0, 20),
    among_open=mostly(True, False),
    permille=st.sampled_from([0, 1, 500, 500, 800, 800, 999, 1_000, 1_000, 1_500]),
    lines=st.integers(0, 3),
    told_tokens=st.booleans(),
)
reports = st.builds(
    Report,
    result=st.sampled_from(["", *RESULTS]),
    value_nano_usd=st.sampled_from([None, 0, 7]),
    transactions=st.sampled_from([None, 0, 3]),
)
runs = st.integers(0, RUNS - 1)
again = st.builds(Again, place=st.integers(0, 20))
some_steps = st.lists(odd_calls | plain_calls | plain_calls | acts | acts | acts, min_size=1, max_size=7)
some_limits = st.fixed_dictionaries(
    {
        name: st.integers(2, 8) if budget.quantity == "calls" else st.integers(50, 500)
        for name, budget in BUDGETS.items()
    }
)
forward_ns = st.sampled_from(
    [1, SECOND_NS, 3 * SECOND_NS, 4 * SECOND_NS, 10 * SECOND_NS, HOUR_NS, 7 * HOUR_NS, DAY_NS, 40 * DAY_NS]
)


class LedgerMachine(RuleBasedStateMachine):
    """Random batches, restarts, limits and clocks; after each step everything is compared."""

    gateway: Gateway

    def __init__(self) -> None:
        super().__init__()
        self.names = itertools.count(1)
        self.provider = Provider()
        self.told: dict[tuple[str, str], Report] = {}
        self.began_ns: dict[tuple[str, str], int] = {}

    @initialize(limits=some_limits)
    def begin(self, limits: dict[str, int]) -> None:
        """Two tenants of their own for each example: the database is the same for all."""
        self.gateway.clock.at_ns = NOON_NS
        self.tenants = dict(zip("ab", self.gateway.new_tenants(), strict=True))
        self.model = Model(tuple(self.tenants.values()), limits)

    # -- what can happen -----------------------------------------------------------------------------------

    @step_rule(steps=some_steps)
    def batch(self, steps: list[Step]) -> None:
        """Admissions and what becomes of calls, all in one transaction."""
        commands, expected = self._commands(steps)
        replies = self.gateway.ledger.process(commands)
        assert len(commands) == len(replies)
        for command, reply, expectation in zip(commands, replies, expected, strict=True):
            self._compare(command, reply, expectation)
        self._forward(commands, replies)

    @step_rule(calls=st.lists(plain_calls, min_size=1, max_size=5))
    def call(self, calls: list[Call]) -> None:
        """Calls, mostly for the same budgets, all in one transaction."""
        self.batch(list(calls))

    @step_rule(acts=st.lists(acts, min_size=1, max_size=5))
    def act(self, acts: list[Act]) -> None:
        """What becomes of calls, all in one transaction."""
        self.batch(list(acts))

    @step_rule(again=again, calls=st.lists(plain_calls, max_size=2))
    def ask_again(self, again: Again, calls: list[Call]) -> None:
        """A call that was decided before is asked about again, beside others."""
        self.batch([*calls, again, *calls])

    @step_rule(place=st.integers(0, 20), lines=st.integers(0, 3))
    def settle_again(self, place: int, lines: int) -> None:
        """Whoever has not heard of a settlement settles again."""
        settled = self._names("settled", lambda known: True)
        if settled:
            name = settled[place % len(settled)]
            tenant, cost = self.model.calls[name].call.tenant, self.model.calls[name].cost
            evidence = Evidence(source="usage", lines=bill(cost or 0, lines))
            self.model.begin(tenant, self.gateway.clock.now_ns())
            (reply,) = self.gateway.ledger.process([Settle(call=name, tenant=tenant, evidence=evidence)])
            assert isinstance(reply, Moved), reply
            assert ("settled", cost) == (reply.state, reply.cost_nano_usd)

    @step_rule(
        told=st.lists(st.tuples(runs, reports), min_size=1, max_size=3), acts=st.lists(acts, max_size=3)
    )
    def report(self, told: list[tuple[int, Report]], acts: list[Act]) -> None:
        """An agent says what became of its runs, in the transaction in which calls of them settle."""
        tenant = self.tenants["a"]
        self.model.begin(tenant, self.gateway.clock.now_ns())
        before, expected = self._commands(list(acts[:1]))
        reports: list[Command] = [
            TellOutcome(
                call=run_id(run), tenant=tenant, number=run_number(run), report=report, by=ATTRIBUTION
            )
            for run, report in told
        ]
        states = self._told(tenant, told)
        for state in states:
            if state in ("recorded", "replaced"):
                self.model.enter_other(tenant, "outcome")
        after, more = self._commands(list(acts[1:]))
        commands = [*before, *reports, *after]
        replies = self.gateway.ledger.process(commands)
        answers = replies[len(before) : len(before) + len(reports)]
        assert states == [reply.state if isinstance(reply, Told) else "over" for reply in answers]
        calls = [*before, *after]
        of_calls = replies[: len(before)] + replies[len(before) + len(reports) :]
        for command, reply, expectation in zip(calls, of_calls, [*expected, *more], strict=True):
            self._compare(command, reply, expectation)
        self._forward(calls, of_calls)

    @step_rule()
    def sweep(self) -> None:
        """What waited too long expires; what another boot sent is put in doubt."""
        clock_ns = self.gateway.clock.now_ns()
        late = self._names("reserved", lambda known: known.expires_ns <= clock_ns)
        lost = self._names("dispatched", lambda known: known.boot != self.model.boot)
        self.gateway.ledger.sweep(SWEEP_LIMIT)
        for tenant in {self.model.calls[name].call.tenant for name in late + lost}:
            self.model.begin(tenant, clock_ns)
        # Which comes first is the store's choice; the record says.
        for name in self._as_entered(late):
            self.model.move(name, "expire")
        for name in self._as_entered(lost):
            self.model.move(name, "lose")

    @step_rule()
    def look(self) -> None:
        """The steward looks at the balances of which thresholds are passed: at windows that are over, at new limits."""
        rows = self._rows(
            'select tenant, budget, scope, starts_ns, "window", quantity, ends_ns from standing'
            " where passed is not null and tenant in (?, ?)"
        )
        looks = [
            Look(
                call=f"look_{name}",
                tenant=tenant,
                epoch=1,
                budget=name,
                scope=scope,
                window=label,
                quantity=quantity,
                ends_ns=ends_ns,
                claim=self._claim(name, scope),
            )
            for tenant, name, scope, _, label, quantity, ends_ns in rows
        ]
        if not looks:
            return
        for tenant in {row[0] for row in rows}:
            self.model.begin(tenant, self.gateway.clock.now_ns())
        assert {Seen} == {type(reply) for reply in self.gateway.ledger.process(looks)}
        for tenant, name, scope, starts_ns, _, _, ends_ns in rows:
            self.model.look((tenant, name, scope, starts_ns), ends_ns)

    @step_rule()
    def restart(self) -> None:
        """The gateway stops between two batches; what it has sent goes on without it."""
        self.gateway.restart()
        self.model.boot += 1

    @step_rule(steps=some_steps, committed=st.booleans())
    def be_killed(self, steps: list[Step], committed: bool) -> None:
        """The gateway is killed at a commit: all of the batch is there, or nothing, and nobody heard of it."""
        commands, _ = self._commands(steps, apply=committed)
        if not commands:
            return
        self.gateway.killable.kill = "after" if committed else "before"
        try:
            self.gateway.ledger.process(commands)
        except Killed:
            pass
        else:
            raise AssertionError("it went on after it was killed")
        for command in commands:
            if (
                isinstance(command, Settle)
                and self.model.calls[command.call].cost == command.evidence.cost_nano_usd
            ):
                self._hear(command)
        self.restart()

    @step_rule(name=st.sampled_from(sorted(BUDGETS)), limit=st.integers(0, 300))
    def set_limit(self, name: str, limit: int) -> None:
        """A limit is raised or lowered; it acts at once."""
        self.model.limit(name, limit)

    @precondition(lambda self: self.model.budgets_passed())
    @step_rule(place=st.integers(0, 20), call=plain_calls)
    def raise_a_limit(self, place: int, call: Call) -> None:
        """The limit of a budget with a passed threshold is raised above what stands, and a call counts on it."""
        passed = self.model.budgets_passed()
        name = passed[place % len(passed)]
        self.model.limit(name, 2 * self.model.limits[name] + 300)
        self.batch([replace(call, budgets=(name,))])

    @precondition(lambda self: self.model.budgets_passed())
    @step_rule(by_ns=st.sampled_from([DAY_NS, 40 * DAY_NS]))
    def outlast(self, by_ns: int) -> None:
        """Windows in which thresholds are passed come to their end, and the steward looks at their balances."""
        self.gateway.clock.turn(by_ns)
        self.look()

    @step_rule(by_ns=forward_ns)
    def wait(self, by_ns: int) -> None:
        """Time passes."""
        self.gateway.clock.turn(by_ns)

    @step_rule(by_ns=st.sampled_from([1, SECOND_NS, 4 * SECOND_NS, 5 * SECOND_NS]))
    def turn_back(self, by_ns: int) -> None:
        """Somebody turns the clock back by so little that time stands still meanwhile."""
        self.gateway.clock.at_ns = max(*self.model.last_ns.values(), NOON_NS) - by_ns

    @step_rule(by_ns=st.sampled_from([5 * SECOND_NS + 1, HOUR_NS, DAY_NS]), steps=some_steps)
    def turn_far_back(self, by_ns: int, steps: list[Step]) -> None:
        """Somebody turns the clock back by more than is borne, and later sets it right."""
        before_ns = self.gateway.clock.now_ns()
        self.gateway.clock.turn(-by_ns)
        self.batch(steps)
        self.gateway.clock.at_ns = before_ns

    @precondition(lambda self: self.gateway.clock.now_ns() < max(self.model.last_ns.values()))
    @step_rule()
    def catch_up(self) -> None:
        """The clock is set right."""
        self.gateway.clock.at_ns = max(self.model.last_ns.values())

    def teardown(self) -> None:
        """Leave nothing open: the next example has the same database."""
        if not hasattr(self, "model"):
            return
        self.gateway.clock.at_ns = max(self.gateway.clock.at_ns, *self.model.last_ns.values())
        ends: list[Command] = []
        for tenant in self.tenants.values():
            for name, state in self.gateway.rows("select call, state from call where tenant = ?", tenant):
                if state == "reserved":
                    ends.append(Release(call=name, tenant=tenant))
                elif state in OPEN:
                    ends.append(Settle(call=name, tenant=tenant, evidence=Evidence(source="not_sent")))
        Ledger(self.gateway.store).process(ends)

    # -- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def provider_is_owed_no_more_than_the_limits(self) -> None:
        """I1, by the provider's own bill."""
        for key in {key for places in self.provider.places.values() for key in places}:
            if BUDGETS[key[1]].hard and key not in self.provider.exceeded:
                limit = self.model.highest_limits[key[1]] + BUDGETS[key[1]].most
                assert self.provider.billed(key) <= limit, key

    @invariant()
    def balances_are_what_the_calls_add_up_to(self) -> None:
        """I2, I7: pending is the sum of the open calls' legs, posted what the settled ones came to."""
        expected = {key: (self.model.pending(key), posted) for key, posted in self.model.posted.items()}
        rows = self._rows(
            "select tenant, budget, scope, starts_ns, pending, posted from standing where tenant in (?, ?)"
        )
        assert expected == {(tenant, *key): (pending, posted) for tenant, *key, pending, posted in rows}

    @invariant()
    def rates_have_free_what_nobody_took(self) -> None:
        """From the tenant's last instant on, by the turns of all calls that were not given back."""
        rows = self._rows(
            "select tenant, rate, scope, arrival_ns, free from rate_arrival where tenant in (?, ?)"
        )
        assert self.model.turns.keys() == {(tenant, rate, scope) for tenant, rate, scope, *_ in rows}
        for tenant, rate_, scope, next_ns, free in rows:
            now_ns = self.model.last_ns[tenant]
            stretches = [*msgspec.json.decode(free or "[]"), (next_ns, FOR_EVER_NS)]
            found = [(max(begins, now_ns), ends) for begins, ends in stretches if ends > now_ns]
            assert self.model.free(tenant, rate_, scope, now_ns) == found

    @invariant()
    def what_is_carried_is_fixed(self) -> None:
        """By the model's own account of each window that was opened."""
        rows = self._rows(
            "select tenant, budget, scope, starts_ns, notes from standing"
            " where notes is not null and tenant in (?, ?)"
        )
        found = {
            (tenant, name, *key): msgspec.json.decode(notes).get("carried", 0)
            for tenant, name, *key, notes in rows
            if BUDGETS[name].most
        }
        assert self.model.carried == found

    @invariant()
    def thresholds_are_passed_once(self) -> None:
        """Those that are passed, with the balance; and what was told of each turn, in the record and to people."""
        expected = {
            key: sorted(name for name, each in watched.items() if each.state == "passed")
            for key, watched in self.model.watched.items()
        }
        rows = self._rows(
            "select tenant, budget, scope, starts_ns, passed, notes from standing where tenant in (?, ?)"
        )
        found, counted = {}, {}
        for tenant, name, scope, starts_ns, passed, notes in rows:
            if name in THRESHOLDS:
                watched = msgspec.convert(msgspec.json.decode(notes)["watched"], Watched).thresholds
                found[tenant, name, scope, starts_ns] = sorted(e.id for e in watched if e.state == "passed")
                counted[tenant, name, scope, starts_ns] = passed or 0
        assert expected == found
        assert {key: len(names) for key, names in expected.items()} == counted
        rows = self._rows(
            "select tenant, sequence, body from entry where type = 'threshold' and tenant in (?, ?)"
            " order by sequence"
        )
        for tenant, turned in self.model.turned.items():
            told = [(each, msgspec.json.decode(body)) for owner, each, body in rows if owner == tenant]
            assert turned == [
                (body["budget"], body["scope"], body["threshold"], body["act"]) for _, body in told
            ]
            notices = self._rows(
                "select tenant, sequence from notice where tenant in (?, ?) order by sequence"
            )
            assert [place for place, _ in told] == [place for owner, place in notices if owner == tenant]

    @invariant()
    def hours_are_what_the_balances_add_up_to(self) -> None:
        """What was spent of a budget is spent in some hour, and of an hourly one in its window's."""
        expected: Counter[tuple[str, str, str, int]] = Counter()
        for (tenant, name, scope, starts_ns), posted in self.model.posted.items():
            hour = starts_ns // HOUR_NS if BUDGETS[name].period == "hourly" else 0
            expected[tenant, name, scope, hour] += posted
        found: Counter[tuple[str, str, str, int]] = Counter()
        rows = self._rows(
            "select tenant, budget, scope, hour, amount from budget_hour where tenant in (?, ?)"
        )
        for tenant, name, scope, hour, amount in rows:
            found[tenant, name, scope, hour if BUDGETS[name].period == "hourly" else 0] += amount
        assert +expected == found

    @invariant()
    def sums_are_what_the_calls_add_up_to(self) -> None:
        """By hour and by day, each call once, at its cost, in the hour of its decision."""
        for span, length_ns in SPANS.items():
            expected = self._rows(
                f"select tenant, decided_ns / {length_ns} * {length_ns} as start_ns, agent, effect,"
                " count(*) as calls, sum(case when state = 'settled' then 1 else 0 end) as settled,"
                " sum(coalesce(cost_nano_usd, 0)) as cost, sum(overrun) as overruns"
                " from call where tenant in (?, ?) group by 1, 2, 3, 4 order by 1, 2, 3, 4"
            )
            found = self._rows(
                "select tenant, start_ns, agent, effect, sum(calls) as calls, sum(settled_calls) as settled,"
                " sum(cost) as cost, sum(overruns) as overruns"
                f" from usage_sum where span = '{span}' and tenant in (?, ?) group by 1, 2, 3, 4 order by 1, 2, 3, 4"
            )
            assert [tuple(map(str, row)) for row in expected] == [tuple(map(str, row)) for row in found]

    @invariant()
    def outcomes_add_up(self) -> None:
        """Each tree at what its calls came to, in the hour and the day of its first call, with its last report."""
        told = self._rows(
            "select tenant, run, began_ns, result, is_begun, cost, coalesce(transactions, 1) as transactions,"
            " coalesce(value_nano_usd, 0) as claimed from outcome where tenant in (?, ?) order by 1, 2"
        )
        costs = self._rows(
            "select tenant, substr(run, 5, 20) as number, sum(coalesce(cost_nano_usd, 0)) as cost"
            " from call where tenant in (?, ?) group by 1, 2"
        )
        of_run = {(tenant, number): int(cost) for tenant, number, cost in costs}
        for tenant, number, _, _, _, cost, _, _ in told:
            assert of_run.get((tenant, number), 0) == cost
        assert {key: report.result for key, report in self.told.items()} == {row[:2]: row[3] for row in told}
        for span, length_ns in SPANS.items():
            expected: Counter[tuple[str, int, str, str]] = Counter()
            for tenant, _, began_ns, result, begun, cost, transactions, claimed in told:
                place = (tenant, began_ns - began_ns % length_ns, result)
                amounts = {
                    "trees": 1,
                    "begun": begun,
                    "cost": cost,
                    "transactions": transactions,
                    "claimed": claimed,
                }
                for name, amount in amounts.items():
                    expected[*place, name] += amount
            found: Counter[tuple[str, int, str, str]] = Counter()
            rows = self._rows(
                "select tenant, start_ns, result, trees, begun, cost, transactions, claimed"
                f" from outcome_sum where span = '{span}' and tenant in (?, ?)"
            )
            for tenant, start_ns, result, trees, begun, cost, transactions, claimed in rows:
                amounts = {
                    "trees": trees,
                    "begun": begun,
                    "cost": cost,
                    "transactions": transactions,
                    "claimed": claimed,
                }
                for name, amount in amounts.items():
                    found[tenant, start_ns, result, name] += amount
            assert +expected == +found

    @invariant()
    def calls_are_where_they_must_be(self) -> None:
        """I3, I4, and bills add up."""
        expected = {
            name: (known.state, known.cost, int(known.overrun)) for name, known in self.model.calls.items()
        }
        rows = self._rows("select call, state, cost_nano_usd, overrun from call where tenant in (?, ?)")
        assert expected == {name: (state, cost, overrun) for name, state, cost, overrun in rows}
        for name in self.provider.bill:
            assert expected[name][0] in ("dispatched", "in_doubt", "settled"), f"{name} was sent"
        bills = self._rows("select call, nano_usd from charge_line where tenant in (?, ?)")
        billed: Counter[str] = Counter()
        for name, nano_usd in bills:
            billed[name] += nano_usd
        assert {name: known.cost for name, known in self.model.calls.items() if known.cost} == {
            name: total for name, total in billed.items() if total
        }

    @invariant()
    def the_record_is_whole(self) -> None:
        """I8: one entry for each decision and each move, in order, without gaps."""
        rows = self._rows(
            "select tenant, sequence, type, call from entry where tenant in (?, ?) order by sequence"
        )
        for tenant, entries in self.model.entries.items():
            written = [(sequence, kind, name) for owner, sequence, kind, name in rows if owner == tenant]
            assert [(place, *entry) for place, entry in enumerate(entries, start=1)] == written
        heads = self._rows("select tenant, next_sequence from tenant_head where tenant in (?, ?)")
        assert self.model.next_sequence == dict(heads)

    # -- how it is done ------------------------------------------------------------------------------------

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.gateway.rows(sql, *self.tenants.values())

    def _told(self, tenant: str, told: list[tuple[int, Report]]) -> list[str]:
        """What must be answered to reports, which are taken down."""
        now_ns, states = self.model.last_ns[tenant], []
        first: dict[str, int] = dict(
            self._rows(
                "select run, min(decided_ns) as began_ns from call where tenant in (?, ?) and tenant = '"
                f"{tenant}' group by run"
            )
        )
        for run, report in told:
            key = (tenant, run_number(run))
            before = self.told.get(key)
            began_ns: int = self.began_ns.get(key, first.get(run_id(run), now_ns))
            if before == report:
                states.append("same")
            elif now_ns - began_ns >= RUN_LIFETIME_NS:
                states.append("over")
            else:
                states.append("recorded" if before is None else "replaced")
                self.told[key], self.began_ns[key] = report, began_ns
        return states

    def _names(self, state: str, holds: Callable[[Any], bool]) -> list[str]:
        return [name for name, known in self.model.calls.items() if known.state == state and holds(known)]

    def _as_entered(self, names: list[str]) -> list[str]:
        rows = self._rows("select call, sequence from entry where tenant in (?, ?) order by sequence desc")
        last: dict[str, int] = {}
        for name, sequence in rows:
            last.setdefault(name, sequence)
        return sorted(names, key=lambda name: last[name])

    def _commands(self, steps: list[Step], *, apply: bool = True) -> tuple[list[Command], list[Expected]]:
        """The commands of a batch, and what must be answered to each by the model, which they are applied to."""
        commands: list[Command] = []
        expected: list[Expected] = []
        begun: set[str] = set()
        for step in steps:
            if isinstance(step, Call):
                name, call = f"{self.tenants['a']}-{next(self.names)}", self._placed(step)
            else:
                found = self._found(step)
                if found is None:
                    continue
                name, call = found, self.model.calls[found].call
            if apply and call.tenant not in begun:
                begun.add(call.tenant)
                self.model.begin(call.tenant, self.gateway.clock.now_ns())
            if isinstance(step, Act):
                commands.append(self._act_command(name, step))
                expected.append(self._acted(name, step) if apply else None)
            else:
                commands.append(self._admission(name, call))
                expected.append(self.model.admit(name, call) if apply else None)
        return commands, expected

    def _placed(self, call: Call) -> Call:
        """A drawn call as it can be: at a tenant of this example, with parts that agree."""
        return replace(
            call,
            tenant=self.tenants[call.tenant],
            price=call.price if call.bounded else 0,
            min_tokens=min(call.min_tokens, call.tokens),
        )

    def _found(self, step: Act | Again) -> str | None:
        """The call that a step is about, if there is any."""
        among_open = isinstance(step, Act) and step.among_open
        names = [name for name, known in self.model.calls.items() if not among_open or known.state in OPEN]
        return names[step.place % len(names)] if names else None

    def _admission(self, name: str, call: Call) -> Admit:
        price = UnitPrice(nano_usd=call.price)
        output = OutputBound(
            tokens=call.tokens,
            min_tokens=call.min_tokens,
            choices=1,
            price=price,
            fixed_nano_usd=call.maximum,
            fixed_tokens=0,
        )
        return admission(
            name,
            tenant=call.tenant,
            epoch=2 if call.stale else 1,
            verdict=PERMITTED if call.permitted else NO_PERMIT,
            budgets=tuple(self._claim(budget, call.agent) for budget in call.budgets),
            rates=tuple(rate(each, *RATES[each], scope=call.agent) for each in call.rates),
            quoted=Quote(
                expected={"usd": call.expected, "tokens": call.tokens, "calls": 1},
                maximum=maxima(call, call.tokens),
                unbounded={} if call.bounded else {"usd": "`image_url` has no upper bound on what it costs"},
                output=output if call.price else None,
            ),
            reserve_for_ns=call.reserve_for_ns,
            attribution=msgspec.structs.replace(ATTRIBUTION, run=run_id(int(name.rpartition("-")[2]) % RUNS)),
        )

    def _claim(self, name: str, agent: str) -> BudgetClaim:
        defined = BUDGETS[name]
        claim = budget(
            name,
            self.model.limits[name],
            hard=defined.hard,
            quantity=defined.quantity,
            scope=agent if defined.split else "",
            period=defined.period,
            zone="Asia/Kolkata" if defined.offset_ns else "UTC",
            once=Window(label="launch", starts_ns=ONCE[0], ends_ns=ONCE[1])
            if defined.period == "once"
            else None,
            thresholds=tuple(
                on_exhaustion("notify") if each == EXHAUSTED else threshold(percent, "notify")
                for each, percent in THRESHOLDS.get(name, {}).items()
            ),
        )
        if not defined.most:
            return claim
        carry_over = CarryOver(most=defined.most, expires_ns=defined.expires_ns)
        return msgspec.structs.replace(claim, carry_over=carry_over)

    def _act_command(self, name: str, act: Act) -> Command:
        tenant = self.model.calls[name].call.tenant
        match act.event:
            case "dispatch":
                return Dispatch(call=name, tenant=tenant)
            case "release":
                turns = self._turns(name)
                return Release(call=name, tenant=tenant, reason="the caller hung up", turns=turns)
            case "expire":
                return Expire(call=name, tenant=tenant)
            case "lose":
                return Lose(call=name, tenant=tenant, reason="no answer")
            case "settle":
                cost, tokens = self._outcome(name, act)
                actual = {} if tokens is None else {"tokens": tokens}
                evidence = Evidence(source="usage", lines=bill(cost, act.lines), actual=actual)
                return Settle(call=name, tenant=tenant, evidence=evidence)

    def _turns(self, name: str) -> tuple[TakenTurn, ...]:
        """The turns that a call was told that it has."""
        known = self.model.calls[name]
        return tuple(
            TakenTurn(rate=each, scope=known.call.agent, begins_ns=begins_ns, ends_ns=ends_ns)
            for each, (begins_ns, ends_ns) in known.turns.items()
        )

    def _outcome(self, name: str, act: Act) -> tuple[int, int | None]:
        """What a call came to: below, at or above what it could come to. Its tokens are told or not."""
        known = self.model.calls[name]
        most = known.most.get("usd", known.call.expected)
        return most * act.permille // 1_000, known.most[
            "tokens"
        ] * act.permille // 1_000 if act.told_tokens else None

    def _acted(self, name: str, act: Act) -> Transition | None:
        """What must be answered to an act."""
        tenant = self.model.calls[name].call.tenant
        place = self.model.next_sequence[tenant]
        if act.event == "settle":
            state = self.model.settle(name, *self._outcome(name, act))
        else:
            state = self.model.move(name, act.event)
        known = self.model.calls[name]
        if state is None:
            return None
        return Transition(
            state=known.state,
            cost=known.cost,
            overrun=known.overrun,
            sequence=place if self.model.next_sequence[tenant] > place else None,
            balances=self.model.balances(name),
        )

    def _compare(self, command: Command, reply: Reply, expected: Expected) -> None:
        if expected is None:
            stale = isinstance(command, Admit) and command.epoch != 1
            kind = (
                "stale" if isinstance(reply, Stale) else reply.kind if isinstance(reply, Failed) else "done"
            )
            assert ("stale" if stale else "illegal_transition") == kind, reply
        elif isinstance(expected, Decision):
            assert isinstance(command, Admit)
            assert isinstance(reply, Admitted), reply
            assert expected == Decision(
                effect=reply.effect,
                code=reply.reasons[0].code,
                state=reply.state,
                sequence=reply.sequence,
                output_tokens=reply.output_tokens,
                balances=pairs(reply.balances),
            )
            assert (self._turns(command.call) if reply.state == "reserved" else ()) == reply.turns
            for claim, balance in zip(command.budgets, reply.balances, strict=False):
                most = BUDGETS[claim.budget].most
                assert balance.pending + balance.posted <= claim.limit + most, "I2"
        else:
            assert isinstance(reply, Moved), reply
            assert expected == Transition(
                state=reply.state,
                cost=reply.cost_nano_usd,
                overrun=reply.overrun,
                sequence=reply.sequence if expected.sequence is not None else None,
                balances=pairs(reply.balances),
            )

    def _forward(self, commands: list[Command], replies: list[Reply]) -> None:
        """Send what may be sent, and let the provider bill what it has answered."""
        for command, reply in zip(commands, replies, strict=True):
            known = self.model.calls.get(command.call)
            if isinstance(reply, Admitted | Moved) and known is not None:
                if isinstance(command, Admit | Dispatch) and reply.state == "dispatched":
                    self.provider.send(command.call, [key for key, _, _ in known.legs], known.most)
                elif isinstance(command, Settle):
                    self._hear(command)

    def _hear(self, settle: Settle) -> None:
        """What a settlement rests on is what the provider has billed, if it was sent to it."""
        if settle.call in self.provider.bill:
            amounts = {"usd": settle.evidence.cost_nano_usd, **settle.evidence.actual}
            self.provider.answer(settle.call, amounts)


def run_number(run: int) -> str:
    """The number of one of a tenant's runs."""
    return f"{run:020x}"


def run_id(run: int) -> str:
    """Its id, with a proof that the ledger doesn't look at."""
    return f"run_{run_number(run)}{'0' * 16}"


def machine_on(gateway: Gateway) -> type[LedgerMachine]:
    """The machine on a gateway."""
    return type("LedgerMachine", (LedgerMachine,), {"gateway": gateway})


def bill(cost: int, variety: int) -> tuple[ChargeLine, ...]:
    """Lines that come to a cost, some of them rounded up."""
    if cost == 0:
        return () if variety else (charge_line("call", 0, "call", UnitPrice(nano_usd=5), "c1"),)
    first = cost if variety < 2 else cost // 2
    whole = charge_line("output", cost - first, "token", UnitPrice(nano_usd=1), "c1")
    rounded = charge_line(
        "input", 3 * first - variety % 3 if first else 0, "token", UnitPrice(nano_usd=1, per=3), "c1"
    )
    return (rounded, whole)


def pairs(balances: tuple[Standing, ...]) -> tuple[tuple[int, int], ...]:
    """Balances as the model has them."""
    return tuple((balance.pending, balance.posted) for balance in balances)
