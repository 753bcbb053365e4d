"""Runs as blocks of code: opened when the block begins, ended when it ends.

    with run() as session: …          async with run() as session: …

A run within a run, or within a guarded call, is delegated from it: it spends on its budgets too, and ends with it.
"""

from __future__ import annotations

import logging
import os
from types import TracebackType

from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import Run
from aegis_sdk.decision import OpenedRun
from aegis_sdk.defaults import async_client_for, client_for
from aegis_sdk.errors import AegisError, InvalidRequest

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

    def __enter__(self) -> RunBlock:
        """Open it, if it isn't; what follows is of it."""
        if self._is_first():
            try:
                self._take(client_for(self._client).open_run())
            except BaseException:
                self._is_last()
                raise
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What follows is of the run before; the last one out ends it."""
        super().__exit__(kind, error, trace)
        if self._is_last() and self.id is not None:
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
                self._is_last()
                raise
        super().__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What follows is of the run before; the last one out ends it."""
        super().__exit__(kind, error, trace)
        if self._is_last() and self.id is not None:
            try:
                await async_client_for(self._client).end_run(self.id)
            except AegisError as fault:
                _not_ended(self.id, fault)

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

    def _is_last(self) -> bool:
        """Go out; whether it has to be ended."""
        with self._lock:
            self._inside -= 1
            return not self._inside and self._opened_by == os.getpid()  # not a forked process


def _not_ended(run: str, fault: AegisError) -> None:
    _log.warning("run `%s…` was not ended, and counts as open until it is idle: %s", run[:40], fault)
