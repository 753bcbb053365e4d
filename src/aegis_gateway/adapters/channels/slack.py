"""Slack, by its Web API: a message is posted, and later put in the place of the one before it.

Its own client isn't used: it connects to whatever a name leads to, goes by proxies of the environment and can't be
given an address that was vetted. What is used of it are the blocks' models and the check of signatures.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.adapters.channels.posting import json_body, outcome_of, post, retry_after_ns
from aegis_gateway.adapters.channels.slack_blocks import blocks_of
from aegis_gateway.application.ports import Clock, Secrets
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import Delivery, NotSent, Outcome, Sent

_LATER = (
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
)
_GONE = ("`message_not_found`", "`cant_update_message`", "`edit_window_closed`")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What Slack answers; `ts` is how it calls a message within a channel."""

    ok: bool
    error: str = ""
    channel: str | None = None
    ts: str | None = None


class SlackChannel:
    """One Slack channel."""

    def __init__(self, channel: Channel, secrets: Secrets, clock: Clock) -> None:
        """`clock` tells how far away a time is until which it asks to be left alone."""
        self._channel = channel
        self._secrets = secrets
        self._clock = clock

    def send(self, delivery: Delivery, before: tuple[str, ...]) -> Outcome:
        """Post the message, or put it in the place of those before it, which references (`C012/1700000.0001`) name.

        Raises:
            ConfigurationError: there is no token.
        """
        message = delivery.message
        content: dict[str, Any] = {
            "text": message.title,
            "blocks": blocks_of(message, delivery.id, self._channel.id if self._channel.secret else ""),
            "metadata": {"event_type": "aegis_delivery", "event_payload": {"id": delivery.id}},
        }
        changed: Sent | None = None
        for reference in before:
            channel, _, ts = reference.partition("/")
            outcome = self.call("chat.update", {"channel": channel, "ts": ts, **content})
            if isinstance(outcome, Sent):
                changed = changed or outcome
            elif not outcome.fault.endswith(_GONE):
                return outcome
        return changed or self.call(
            "chat.postMessage",
            {"channel": self._channel.place, "unfurl_links": False, "unfurl_media": False, **content},
        )

    def call(self, method: str, arguments: dict[str, Any]) -> Outcome:
        """Call a method of the Web API.

        Raises:
            ConfigurationError: there is no token.
        """
        token = self._secrets.resolve(self._channel.credential)
        headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("authorization", f"Bearer {token}"),
        ]
        url = f"{self._channel.address}/{method}"
        answer = post(url, headers, json_body(arguments), self._channel.network)
        now_ns = self._clock.now_ns()
        outcome = outcome_of(answer, now_ns)
        if isinstance(outcome, NotSent) or isinstance(answer, NotSent):
            return outcome
        try:
            said = msgspec.json.decode(answer.body, type=Answer)
        except msgspec.DecodeError:
            return NotSent(fault="the other side's answer isn't Slack's")
        if not said.ok:
            return NotSent(
                fault=f"Slack refused it: `{said.error[:80]}`",
                is_final=said.error not in _LATER,
                retry_after_ns=retry_after_ns(answer, now_ns),
            )
        return Sent(reference=f"{said.channel}/{said.ts}" if said.channel and said.ts else "")
