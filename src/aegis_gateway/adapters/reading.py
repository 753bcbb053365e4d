"""Reading from outside the ledger: a connection of its own, opened when something is first read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from aegis_gateway.application.ports import Store


class Reading:
    """A store that is only read, by one thread at a time. It blocks: nothing asks it on an event loop."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        """Open by `open_store`."""
        self._open = open_store
        self._store: Store | None = None
        self._reading = threading.Lock()

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Read rows as dictionaries; `?` stands for a value.

        Raises:
            StoreError: the store cannot be opened.
            LedgerUnavailable: it cannot be read.
        """
        with self._reading:
            if self._store is None:
                self._store = self._open()
            return self._store.query(sql, values)
