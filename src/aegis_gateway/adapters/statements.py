"""Statements in a transaction: SQL that both stores understand as it is; `?` stands for a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any


class Statements(ABC):
    """How a store carries statements out."""

    _skip_locked = ""
    """What stands behind a query that takes rows to work on, and leaves those that another has taken."""

    _locked = ""
    """What stands behind a query that takes rows to change, and waits for whoever has taken them."""

    @abstractmethod
    def _rows(self, sql: str, values: tuple[object, ...]) -> Iterable[tuple[Any, ...]]:
        """Read rows."""

    @abstractmethod
    def _do(self, sql: str, values: tuple[object, ...]) -> None:
        """Carry out a statement that has no rows to give."""
