"""Single calls, read from outside the ledger by whoever asks how one stands."""

from __future__ import annotations

import threading
from collections.abc import Callable

from aegis_gateway.adapters.reports import CallReport, Reports
from aegis_gateway.application.ports import Store


class CallReader:
    """Reads on a connection of its own, opened when it is first needed; one thread at a time."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        """Open by `open_store`."""
        self._open = open_store
        self._reports: Reports | None = None
        self._reading = threading.Lock()

    def find(self, tenant: str, call: str) -> CallReport | None:
        """A tenant's call. Blocks."""
        with self._reading:
            if self._reports is None:
                self._reports = Reports(self._open().query)
            return self._reports.call(tenant, call)
