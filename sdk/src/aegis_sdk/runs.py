"""Runs as blocks of code: opened when the block begins, ended when it ends.

    with run() as session: …          async with run() as session: …

What became of the work is said within the block (`session.succeeded()`), and told to the gateway when it is left.

A run within a run, or within a guarded call, is delegated from it: it spends on its budgets too, and ends with it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from types import TracebackType

from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import Run
from aegis_sdk.decision import Money, OpenedRun, RunOutcome
from aegis_sdk.defaults import async_client_for, client_for
from aegis_sdk.errors import AegisError, InvalidRequest
from aegis_sdk.wire import outcome_of_run_request

_log = logging.getLogger("aegis_sdk")


def run(id: str | None = None, *, client: Aegis | AsyncAegis | None = None) -> RunBlock:
    """A run for a block of code: a new one, which ends with the block; or, by its id, one that there is.

    The block raises at its beginning what keeps the run from being opened: a `Refused` (`TooManyRuns`, `Denied`), or
    another `AegisError`.
    """
    return RunBlock(id, client)


class RunBlock(Run):
    """A run that is opened and ended by the block that it is entered for. While it is open, others may enter it too."""

    def __init__(self, id: str | None, client: Aegis | AsyncAegis | None) -> None:
        """Nothing is opened yet."""
        super().__init__(id)
        self._client = client
        self._inside = 0
        self._opened_by: int | None = None
        self._said: RunOutcome | None = None

    def __enter__(self) -> RunBlock:
        """Open it, if it isn't; what follows is of it."""
        if self._is_first():
            try:
                self._take(client_for(self._client).open_run())
            except BaseException:
                self._leave()
                raise
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What follows is of the run before; the last one out ends it."""
        super().__exit__(kind, error, trace)
        told, is_ours = self._leave()
        if self.id is None:
            return
        if told is not None:
            try:
                client_for(self._client).report_outcome(self.id, told)
            except AegisError as fault:
                _not_told(self.id, fault)
        if is_ours:
            try:
                client_for(self._client).end_run(self.id)
            except AegisError as fault:
                _not_ended(self.id, fault)

    async def __aenter__(self) -> RunBlock:
        """Open it, if it isn't; what follows is of it."""
        if self._is_first():
            try:
                self._take(await async_client_for(self._client).open_run())
            except BaseException:
                self._leave()
                raise
        super().__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What follows is of the run before; the last one out ends it."""
        super().__exit__(kind, error, trace)
        told, is_ours = self._leave()
        if self.id is None:
            return
        if told is not None:
            try:
                await async_client_for(self._client).report_outcome(self.id, told)
            except AegisError as fault:
                _not_told(self.id, fault)
        if is_ours:
            try:
                await async_client_for(self._client).end_run(self.id)
            except AegisError as fault:
                _not_ended(self.id, fault)

    def succeeded(
        self,
        name: str = "",
        *,
        value_usd: Money | None = None,
        note: str = "",
        transactions: int | Sequence[str] | None = None,
    ) -> None:
        """The work did what it was for. It is told when the block is left, as are the others; the last one said counts.

        `name` says what it was, `value_usd` what it is claimed to be worth, `transactions` how many it finished in all,
        or their names.
        """
        self._say("success", name, note, value_usd, transactions)

    def partly_succeeded(
        self,
        name: str = "",
        *,
        value_usd: Money | None = None,
        note: str = "",
        transactions: int | Sequence[str] | None = None,
    ) -> None:
        """The work did a part of what it was for."""
        self._say("partial", name, note, value_usd, transactions)

    def failed(
        self, name: str = "", *, note: str = "", transactions: int | Sequence[str] | None = None
    ) -> None:
        """The work did not do what it was for."""
        self._say("failure", name, note, None, transactions)

    def cancelled(
        self, name: str = "", *, note: str = "", transactions: int | Sequence[str] | None = None
    ) -> None:
        """Nobody wanted the work any more."""
        self._say("cancelled", name, note, None, transactions)

    def _is_first(self) -> bool:
        """Go in; whether it has to be opened.

        Raises:
            InvalidRequest: another is opening it just now.
        """
        with self._lock:
            if self._inside and self._id is None:
                raise InvalidRequest("this run is being opened; enter it once it is open", field="run")
            self._inside += 1
            return self._id is None

    def _take(self, opened: OpenedRun) -> None:
        with self._lock:
            self._id, self._opened_by = opened.id, os.getpid()

    def _say(
        self,
        outcome: str,
        name: str,
        note: str,
        value_usd: Money | None,
        transactions: int | Sequence[str] | None,
    ) -> None:
        """Keep what is to be told.

        Raises:
            InvalidRequest: it can't be told.
        """
        said = RunOutcome(
            outcome=outcome, name=name, note=note, value_usd=value_usd, transactions=transactions
        )
        outcome_of_run_request(
            "run_0", said
        )  # what can't be said is an error here, and not where the block ends
        with self._lock:
            self._said = said

    def _leave(self) -> tuple[RunOutcome | None, bool]:
        """Go out. What is to be told of it, if this is the last one out; and whether it has to be ended."""
        with self._lock:
            self._inside -= 1
            if self._inside:
                return None, False
            said, self._said = self._said, None
            return said, self._opened_by == os.getpid()  # not a forked process


def _not_ended(run: str, fault: AegisError) -> None:
    _log.warning("run `%s…` was not ended, and counts as open until it is idle: %s", run[:40], fault)


def _not_told(run: str, fault: AegisError) -> None:
    _log.warning("what became of run `%s…` was not told: %s", run[:40], fault)
