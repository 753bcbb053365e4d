"""How often a request is tried, and for how long.

Rule: every request of this package may be sent twice: decisions have a name, so the second is the first; settling alike
      settles once; the rest changes nothing. So whatever failed on the way may be tried again, within one deadline.
"""

from __future__ import annotations

import time
from typing import Final

from aegis_sdk.errors import Unavailable
from aegis_sdk.http1 import Response
from aegis_sdk.settings import Settings

_FIRST_PAUSE_S: Final = 0.05


class Attempts:
    """The attempts at one request."""

    def __init__(self, settings: Settings, timeout_s: float | None = None) -> None:
        """Begin the first one now."""
        self._settings = settings
        self._timeout_s = settings.timeout_s if timeout_s is None else timeout_s
        self._deadline = time.monotonic() + self._timeout_s
        self._made = 0
        self._may_have_arrived = False

    @property
    def left_s(self) -> float:
        """How long this attempt may still take."""
        return self._deadline - time.monotonic()

    def pause_s(self, outcome: Response | Exception, *, sent: bool) -> float | None:
        """How long to wait before the next attempt; None for an answer that is to be taken as it is.

        `sent`: the gateway may have got this attempt.

        Raises:
            Unavailable: there is to be no further attempt.
        """
        self._made += 1
        self._may_have_arrived |= sent
        pause_s: float = _FIRST_PAUSE_S * 2 ** (self._made - 1)
        if isinstance(outcome, Response):
            told_s = _retry_after_s(outcome)
            if outcome.status != 503 or told_s is None:
                return None
            pause_s = told_s
        if self._made < self._settings.attempts_max and pause_s < self.left_s:
            return pause_s
        if isinstance(outcome, Response):
            return None
        raise Unavailable(self._words(outcome), may_have_arrived=self._may_have_arrived) from outcome

    def _words(self, fault: Exception) -> str:
        where = self._settings.address
        if isinstance(fault, TimeoutError):
            return f"the gateway at {where} did not answer within {self._timeout_s:g} s"
        return f"the gateway at {where} was not reached: {str(fault) or type(fault).__name__}"


def _retry_after_s(response: Response) -> float | None:
    told = response.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdecimal() and len(told) < 6 else None
