"""What could not be told to the gateway at once is told later, from a thread of its own.

Rule 1: meanwhile the gateway counts each such call at its maximum, so nothing is overspent by its being late.
Rule 2: the thread runs only while there is something to tell. The process does not end before it had a few seconds for
        that, and what is given up is said in the log.
Rule 3: a forked process has nothing of its parent's to tell.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aegis_sdk.connections import Connections
from aegis_sdk.decision import Decision, Money, ToolCall
from aegis_sdk.errors import AegisError, InvalidRequest, Unavailable
from aegis_sdk.forks import forget_in_forks
from aegis_sdk.http1 import Request
from aegis_sdk.settings import Settings
from aegis_sdk.wire import (
    decide_request,
    read_decision,
    read_settlement,
    release_request,
    settle_request,
)

PENDING_MAX = 10_000
GIVEN_UP_AFTER_S = 3_600.0
_TOLD_WITHIN_S = 5.0
_PAUSE_S = 0.1
_PAUSE_S_MAX = 5.0
_LOOK_S = 0.2

_log = logging.getLogger("aegis_sdk")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a call: it was run (`settle`), or it was not (`release`).

    `decision` is missing where the gateway's answer never came: it is found by the name of `call`.
    """

    call: ToolCall
    decision: Decision | None = None
    kind: Literal["settle", "release"] = "settle"
    result: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cost: Money | None = None
    since_s: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """What the call is known by."""
        return self.decision.id if self.decision is not None else f"named {self.call.name}"


def outcome_request(outcome: Outcome) -> Request:
    """Tells the gateway of an outcome."""
    assert outcome.decision is not None, "it is decided"
    if outcome.kind == "release":
        return release_request(outcome.decision)
    return settle_request(outcome.decision, outcome.result, outcome.cost)


def instead_of(outcome: Outcome, fault: AegisError) -> Outcome | None:
    """What to tell the gateway instead of an outcome that it does not take; None if there is nothing."""
    if isinstance(fault, InvalidRequest) and fault.field in ("cost", "cost_usd") and outcome.cost is not None:
        _log.error("call %s is settled without the stated cost: %s", outcome.name, fault)
        return dataclasses.replace(outcome, cost=None)
    if isinstance(fault, InvalidRequest) and fault.field == "result" and outcome.result:
        _log.error("call %s is settled without the result's numbers: %s", outcome.name, fault)
        return dataclasses.replace(outcome, result={})
    _log.error("call %s stays as it is, as its %s is not taken: %s", outcome.name, outcome.kind, fault)
    return None


class Settler:
    """Tells outcomes, again and again, until the gateway has taken them."""

    def __init__(self, settings: Settings) -> None:
        """Begin with nothing to tell."""
        self._connections = Connections(settings)
        self._exit_timeout_s = settings.exit_timeout_s
        self.forget()
        forget_in_forks(self)

    def forget(self) -> None:
        """Begin afresh, in a process that was forked."""
        self._pending: deque[Outcome] = deque()
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, outcome: Outcome) -> None:
        """Have an outcome told."""
        with self._changed:
            if len(self._pending) >= PENDING_MAX:
                _log.error("call %s stays at its maximum: too many wait to be settled", outcome.name)
                return
            self._pending.append(outcome)
            if self._thread is None:
                # Not a daemon: the interpreter waits for it, and it for no longer than it may.
                thread = threading.Thread(target=self._work, name="aegis-settler")
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is shutting down
                    self._pending.pop()
                    _log.error("call %s stays at its maximum: the process ends", outcome.name)
                    return
                self._thread = thread

    @property
    def pending(self) -> int:
        """How many outcomes are still to be told."""
        return len(self._pending)

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is told; whether it is."""
        self._hurry.set()
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    def _work(self) -> None:
        pause_s = _PAUSE_S
        ends: float | None = None
        while True:
            with self._changed:
                if not self._pending:
                    self._connections.close()
                    self._thread = None
                    self._changed.notify_all()
                    return
                outcome = self._pending[0]
            if ends is None and not threading.main_thread().is_alive():
                ends = time.monotonic() + self._exit_timeout_s
            later = self._told(outcome, _TOLD_WITHIN_S if ends is None else max(ends - time.monotonic(), 0.1))
            with self._changed:
                self._pending.popleft()
                if later is not None:
                    self._pending.append(later)
                if ends is not None and time.monotonic() >= ends:
                    for each in self._pending:
                        _log.error(
                            "call %s stays at its maximum: the process ends, and it is not told", each.name
                        )
                    self._pending.clear()
            if later is None:
                pause_s = _PAUSE_S
                continue
            self._rest(pause_s, ends)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    def _rest(self, pause_s: float, ends: float | None) -> None:
        """A pause, cut short when somebody waits, or the process is about to end; none goes on after `ends`."""
        until = time.monotonic() + pause_s
        if ends is not None:
            until = min(until, ends)
        was_alive = threading.main_thread().is_alive()
        while (left_s := until - time.monotonic()) > 0:
            hurry = self._hurry.wait(min(left_s, _LOOK_S))
            if hurry or (was_alive and not threading.main_thread().is_alive()):
                self._hurry.clear()
                return

    def _told(self, outcome: Outcome, timeout_s: float) -> Outcome | None:
        """Tell an outcome; what of it is to be tried again, or None where that is over."""
        try:
            if outcome.decision is None:
                outcome = self._decided(outcome, timeout_s)
                if outcome.decision is None:
                    return None
            read_settlement(self._connections.exchange(outcome_request(outcome), timeout_s))
            return None
        except Unavailable as fault:
            if time.monotonic() - outcome.since_s < GIVEN_UP_AFTER_S:
                return outcome
            _log.error("call %s stays at its maximum: %s", outcome.name, fault)
            return None
        except AegisError as fault:
            return instead_of(outcome, fault)
        except Exception:  # the others are told all the same
            _log.exception("call %s stays at its maximum: telling the gateway failed", outcome.name)
            return None

    def _decided(self, outcome: Outcome, timeout_s: float) -> Outcome:
        """An outcome with the decision that its call has, by its name."""
        response = self._connections.exchange(decide_request(outcome.call), timeout_s)
        decision = read_decision(response, outcome.call)
        if not decision.allowed:
            if outcome.kind == "settle":
                _log.error(
                    "a call was run that the gateway had not allowed, and is not in its books: %s",
                    decision.why,
                )
            return outcome
        return dataclasses.replace(outcome, decision=decision)
