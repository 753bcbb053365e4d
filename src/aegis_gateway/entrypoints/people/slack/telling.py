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

Arguments = dict[str, Any]

_log = logging.getLogger("aegis.slack")


class SlackTelling:
    """Calls the Web API beside everything else."""

    def __init__(self, secrets: Secrets, clock: Clock) -> None:
        """`secrets` has the channels' tokens."""
        self._secrets = secrets
        self._clock = clock
        self._free = threading.BoundedSemaphore(UNDER_WAY_MAX)

    def __call__(
        self,
        channel: Channel,
        method: str,
        arguments: Arguments,
        otherwise: tuple[str, Arguments] | None = None,
    ) -> None:
        """Begin to call a method, and come back at once. `otherwise` is called if it doesn't work."""
        if not self._free.acquire(blocking=False):
            _log.warning("`%s` is slow, so `%s` was left out", channel.id, method)
            return
        # A thread that no end of the process waits for.
        calls = ((method, arguments), *((otherwise,) if otherwise is not None else ()))
        threading.Thread(target=self._call, args=(channel, calls), daemon=True).start()

    def _call(self, channel: Channel, calls: tuple[tuple[str, Arguments], ...]) -> None:
        try:
            slack = SlackChannel(channel, self._secrets, self._clock)
            for method, arguments in calls:
                outcome = slack.call(method, arguments)
                if not isinstance(outcome, NotSent):
                    return
                _log.warning("`%s` in `%s` did not work: %s", method, channel.id, outcome.fault)
        except AegisError as fault:
            _log.warning("nobody can be told anything in `%s`: %s", channel.id, fault)
        finally:
            self._free.release()
