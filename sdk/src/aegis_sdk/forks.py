"""What must not go on in a forked process: sockets, threads and locks are its parent's."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Has something that belongs to the process that made it."""

    def forget(self) -> None:
        """Begin afresh, in a process that was forked."""


class _Forks:
    """Tells those who are concerned, in the forked process, before anything else runs there."""

    def __init__(self) -> None:
        self._concerned: weakref.WeakSet[Forked] = weakref.WeakSet()
        self._is_registered = False

    def concern(self, forked: Forked) -> None:
        self._concerned.add(forked)
        if not self._is_registered and hasattr(os, "register_at_fork"):  # there is no fork on Windows
            self._is_registered = True
            os.register_at_fork(after_in_child=self._tell)

    def _tell(self) -> None:
        for forked in list(self._concerned):
            forked.forget()


_forks = _Forks()


def forget_in_forks(forked: Forked) -> None:
    """Have `forget` called in each process that is forked from this one, as long as the object lives."""
    _forks.concern(forked)
