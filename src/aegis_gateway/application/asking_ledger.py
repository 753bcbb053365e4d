"""The ledger, as those ask it who don't wait in a thread of their own."""

from __future__ import annotations

from typing import Protocol

from aegis_gateway.application.commands import Command, Reply


class AsyncLedger(Protocol):
    """The ledger, asked without blocking."""

    async def ask(self, command: Command) -> Reply:
        """Have a command carried out; the answer is on disk when this returns.

        Raises:
            LedgerUnavailable: it was not done, or it is not known whether it was.
        """
