"""What both clients are made of, without any asking: their settings, and what is told to the gateway later."""

from __future__ import annotations

import logging
import math
import ssl
import time
from collections.abc import Callable
from typing import Self

from aegis_sdk.decision import Decision, ToolCall
from aegis_sdk.errors import AegisError, InvalidRequest, Unavailable
from aegis_sdk.http1 import Request
from aegis_sdk.settings import ATTEMPTS_MAX, EXIT_TIMEOUT_S, TIMEOUT_S, Settings, read_settings
from aegis_sdk.settler import Outcome, Settler, instead_of
from aegis_sdk.wire import approval_request, is_minted

_log = logging.getLogger("aegis_sdk")


class Waiting:
    """Waiting for a person's word: how often, and until when, the gateway is asked."""

    def __init__(self, approval: str | Decision, within_s: float, settings: Settings) -> None:
        """Wait so long, in questions that are answered in time.

        Raises:
            InvalidRequest: a decision that is about none.
        """
        if isinstance(approval, Decision):
            if approval.approval is None:
                raise InvalidRequest(f"call `{approval.id}` waits for nobody's word", field="approval")
            approval = approval.approval.id
        self._approval = approval
        self._until_s = time.monotonic() + within_s
        self._at_once_s = min(30, int(settings.timeout_s / 2))

    def request(self) -> Request:
        """The next question."""
        left_s = max(0, math.ceil(self._until_s - time.monotonic()))
        return approval_request(self._approval, min(left_s, self._at_once_s))

    @property
    def is_over(self) -> bool:
        """Whether it was waited for long enough."""
        return time.monotonic() >= self._until_s


class ClientBase:
    """A client without its I/O."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        attempts_max: int = ATTEMPTS_MAX,
        exit_timeout_s: float = EXIT_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """What is left out is read from `AEGIS_URL` and `AEGIS_API_KEY`. No call of it takes longer than `timeout_s`.

        The end of the process waits up to `exit_timeout_s` for what is still to be told to the gateway.

        Raises:
            InvalidRequest: the address is none.
            Unauthorized: there is no key.
        """
        self._begin(
            read_settings(
                url,
                api_key,
                timeout_s=timeout_s,
                attempts_max=attempts_max,
                exit_timeout_s=exit_timeout_s,
                ssl_context=ssl_context,
            )
        )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """A client with the settings of another."""
        made = cls.__new__(cls)
        made._begin(settings)
        return made

    def __reduce__(self) -> tuple[Callable[[Settings], Self], tuple[Settings]]:
        """Clients are handed to other processes as their settings."""
        return type(self).of, (self.settings,)

    def _begin(self, settings: Settings) -> None:
        self.settings = settings
        self._settler = Settler(settings)

    def finish_later(self, outcome: Outcome) -> None:
        """Tell what became of a call in the background alone."""
        self._settler.put(outcome)

    @property
    def pending(self) -> int:
        """How many outcomes are still to be told to the gateway."""
        return self._settler.pending

    def _not_told(self, outcome: Outcome, fault: Exception) -> Outcome | None:
        """What to tell the gateway now instead of an outcome; None if there is nothing, or it is told later."""
        if isinstance(fault, AegisError) and not isinstance(fault, Unavailable):
            return instead_of(outcome, fault)
        if isinstance(fault, Unavailable):
            _log.warning("call %s is settled later: %s", outcome.name, fault)
        else:  # the tool has run: what it gave is its caller's, whatever comes from there
            _log.error("call %s is settled later: telling the gateway failed", outcome.name, exc_info=fault)
        self._settler.put(outcome)
        return None

    def _undo(self, call: ToolCall, fault: BaseException) -> None:
        """Tell the gateway of a call whose decision never came that it is not made.

        Only where nobody else can ask for it by its name, and where the gateway may have decided it.
        """
        is_unknown = not isinstance(fault, AegisError) or (
            isinstance(fault, Unavailable) and fault.may_have_arrived
        )
        if is_minted(call.name) and is_unknown:
            self._settler.put(Outcome(call=call, kind="release"))
