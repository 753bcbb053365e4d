"""Stores for threads: a store serves one at a time, and is opened when one more is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aegis_gateway.application.ports import Store
from aegis_gateway.domain.errors import LedgerUnavailable, StoreError


class StorePool:
    """At most so many stores. Who finds none free waits for one, in its thread."""

    def __init__(self, open_store: Callable[[], Store], size: int, patience_s: float = 10.0) -> None:
        """Open by `open_store`, `size` at most."""
        self._open = open_store
        self._patience_s = patience_s
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[Store] = []

    @contextmanager
    def lease(self) -> Iterator[Store]:
        """A store of one's own until the end of the block. One that failed is not used again.

        Raises:
            StoreError: none can be opened.
            LedgerUnavailable: none became free in time.
        """
        if not self._free.acquire(timeout=self._patience_s):
            raise LedgerUnavailable("the database is busy with what others asked for; try again in a moment")
        try:
            store = self._idle.pop() if self._idle else self._open()
            try:
                yield store
            except (LedgerUnavailable, StoreError):
                store.close()
                raise
            except BaseException:
                self._idle.append(store)
                raise
            self._idle.append(store)
        finally:
            self._free.release()
