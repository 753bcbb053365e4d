"""What the screen shows of budgets, calls and the provider's bill, looked up a few times a second.

Rule: it only looks, through a connection of its own, and nothing of the story waits for it.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from typing import Any

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import CallReport
from aegis_gateway.demo.books import Books
from aegis_gateway.demo.names import (
    FEES,
    GUEST_DAY,
    LENDING,
    LOAN_ADVISOR,
    PAYOUTS,
    RESEARCH,
    RESEARCHER,
    TENANT,
)
from aegis_gateway.demo.stage import Stage
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.domain.registry import Budget

INTERVAL_S = 0.12
EVENTS_KEPT = 100
SHOWN_BUDGETS = (LENDING, RESEARCH, PAYOUTS)
OTHER_BUDGETS = (FEES, GUEST_DAY)

_BILLED_AGENT = {LENDING: LOAN_ADVISOR, RESEARCH: RESEARCHER}


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One budget as the screen shows it, in nano-dollars."""

    budget: str
    owner: str
    spent: int
    reserved: int
    limit: int

    @property
    def left(self) -> int:
        """What is left; below nothing where nobody held the limit."""
        return self.limit - self.spent - self.reserved


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, or so many calls of one kind that came in a row, and what they cost."""

    at: str
    effect: str
    who: str
    what: str
    count: int = 1
    nano_usd: int = 0


class _Row(msgspec.Struct, kw_only=True):
    """An event to which calls of its kind are still added; `costs` are by call."""

    event: Event
    kind: tuple[str, ...] = ()
    costs: dict[str, int] = {}

    def shown(self) -> Event:
        if not self.costs:
            return self.event
        return msgspec.structs.replace(self.event, count=len(self.costs), nano_usd=sum(self.costs.values()))


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider charges one agent's calls."""

    agent: str
    nano_usd: int
    requests: int


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's bill as the screen shows it, the dearest agents first."""

    nano_usd: int = 0
    paid_out_nano_usd: int = 0
    requests: int = 0
    lines: tuple[BillLine, ...] = ()


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Everything as of one look; `events` newest last."""

    bars: tuple[Bar, ...] = ()
    others: tuple[Bar, ...] = ()
    events: tuple[Event, ...] = ()
    bill: Bill = Bill()


class Feed:
    """Looks in a thread of its own while it is open."""

    def __init__(self, stage: Stage) -> None:
        """Look at a stage that is set up."""
        self._stage = stage
        self._store = bootstrap.store(stage.settings, read_only=True)
        self._books = Books(self._store, TENANT, stage.registry())
        self._read_to = self._books.last_sequence()
        self._rows: deque[_Row] = deque(maxlen=EVENTS_KEPT)
        self._notes: list[_Row] = []
        self._by_call: dict[str, _Row] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._look = Look()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Feed:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look a last time, and no more."""
        self._stopping.set()
        self._thread.join()
        self._store.close()

    def look(self) -> Look:
        """The last look."""
        with self._lock:
            return self._look

    def note(self, effect: str, who: str, what: str) -> None:
        """Something that no ledger has; it is put behind the calls that were decided before it."""
        with self._lock:
            self._notes.append(_Row(event=Event(at=_clock(), effect=effect, who=who, what=what)))

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_S):
            self._look_again()
        self._look_again()

    def _look_again(self) -> None:
        with self._lock:
            notes, self._notes = self._notes, []
        try:
            bill = self._stage.bill()
            until = self._books.last_sequence()
            calls = self._books.calls_of_entries(self._read_to, until) if until > self._read_to else []
            is_held = self._stage.aegis_decides
            bars = self._held(SHOWN_BUDGETS) if is_held else self._wished(bill)
            others = self._held(OTHER_BUDGETS) if is_held else ()
        except (AegisError, OSError, ValueError):
            return  # the stage is being taken down: the last look stays
        self._read_to = until
        with self._lock:
            for call in calls:
                self._follow(call)
            self._rows += notes
            self._look = Look(
                bars=bars, others=others, events=tuple(row.shown() for row in self._rows), bill=_bill(bill)
            )

    def _held(self, budgets: tuple[str, ...]) -> tuple[Bar, ...]:
        """Budgets as the ledger has them."""
        return tuple(
            _bar(each.budget, spent=each.spent, reserved=each.reserved, limit=each.limit)
            for each in self._books.standings(budgets)
        )

    def _wished(self, bill: dict[str, Any]) -> tuple[Bar, ...]:
        """Budgets that nobody holds: what the provider has charged against what was meant."""
        return tuple(
            _bar(
                self._books.registry.budgets[budget],
                spent=bill["by_agent"].get(_BILLED_AGENT[budget], {}).get("nano_usd", 0)
                if budget in _BILLED_AGENT
                else bill["paid_out_nano_usd"],
                reserved=0,
                limit=self._books.registry.budgets[budget].limit,
            )
            for budget in SHOWN_BUDGETS
        )

    def _follow(self, call: CallReport) -> None:
        """Put a call to the ones of its kind, if they were the last ones, and its cost to it when that is known."""
        known = self._by_call.get(call.call)
        if known is not None:
            known.costs[call.call] = call.counted_nano_usd or 0
            return
        kind = (call.agent, call.tool, call.effect, call.reason_code)
        last = self._rows[-1] if self._rows else None
        if last is None or last.kind != kind:
            event = Event(at=_clock(), effect=call.effect, who=call.agent, what=what_of(call))
            last = _Row(event=event, kind=kind, costs={})
            self._rows.append(last)
        last.costs[call.call] = call.counted_nano_usd or 0
        self._by_call[call.call] = last


def what_of(call: CallReport) -> str:
    """What a call was about: its model or tool, or why it was refused."""
    return (call.model or call.tool) if call.effect == "allow" else call.reason_code.replace("_", " ")


def _bar(budget: Budget, *, spent: int, reserved: int, limit: int) -> Bar:
    return Bar(budget=budget.id, owner=budget.owner, spent=spent, reserved=reserved, limit=limit)


def _bill(summary: dict[str, Any]) -> Bill:
    lines = [
        BillLine(agent=agent, nano_usd=line["nano_usd"], requests=line["requests"])
        for agent, line in summary["by_agent"].items()
    ]
    return Bill(
        nano_usd=summary["total_nano_usd"],
        paid_out_nano_usd=summary["paid_out_nano_usd"],
        requests=summary["requests"],
        lines=tuple(sorted(lines, key=lambda line: (-line.nano_usd, line.agent))),
    )


def _clock() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"
