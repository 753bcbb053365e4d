"""What Slack's Web API is called for besides the answer to a request: a form, or words that one person alone sees.

Rule: nobody waits for it, and nothing that is decided depends on it. No address that came with a request is called.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from aegis_gateway.adapters.channels.slack import SlackChannel
from aegis_gateway.application.ports import Clock, Secrets
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import NotSent
from aegis_gateway.domain.errors import AegisError

UNDER_WAY_MAX = 16

_log = logging.getLogger("aegis.slack")


class SlackTelling:
    """Calls the Web API beside everything else."""

    def __init__(self, secrets: Secrets, clock: Clock) -> None:
        """`secrets` has the channels' tokens."""
        self._secrets = secrets
        self._clock = clock
        self._free = threading.BoundedSemaphore(UNDER_WAY_MAX)

    def __call__(self, channel: Channel, method: str, arguments: dict[str, Any]) -> None:
        """Begin to call a method, and come back at once."""
        if not self._free.acquire(blocking=False):
            _log.warning("`%s` is slow, so `%s` was left out", channel.id, method)
            return
        # A thread that no end of the process waits for.
        threading.Thread(target=self._call, args=(channel, method, arguments), daemon=True).start()

    def _call(self, channel: Channel, method: str, arguments: dict[str, Any]) -> None:
        try:
            outcome = SlackChannel(channel, self._secrets, self._clock).call(method, arguments)
            if isinstance(outcome, NotSent):
                _log.warning("`%s` in `%s` did not work: %s", method, channel.id, outcome.fault)
        except AegisError as fault:
            _log.warning("`%s` in `%s` did not work: %s", method, channel.id, fault)
        finally:
            self._free.release()
