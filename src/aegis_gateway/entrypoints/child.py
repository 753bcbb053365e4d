"""What the processes that the ledger process starts have in common."""

from __future__ import annotations

import asyncio
import logging
import os


def keep_log() -> None:
    """Log as the ledger process does, on its standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")


def end_unless(stopping: asyncio.Event) -> None:
    """The ledger process is gone. If we were not stopping, nothing can be put in order any more: end at once."""
    if not stopping.is_set():
        os._exit(70)
