"""Webhooks as Standard Webhooks describes them: the message as JSON, signed with a secret that both sides have.

Rule: the id is the delivery's, the same with each try. A receiver that has seen it has the message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime

from aegis_gateway.adapters.channels.posting import json_body, outcome_of, post
from aegis_gateway.application.ports import Clock, Secrets
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import Delivery, NotSent, Outcome

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with

_SECOND_NS = 1_000_000_000


class WebhookChannel:
    """One receiver."""

    def __init__(self, channel: Channel, secrets: Secrets, clock: Clock) -> None:
        """`clock` dates what is signed."""
        self._channel = channel
        self._secrets = secrets
        self._clock = clock

    def send(self, delivery: Delivery, _before: tuple[str, ...]) -> Outcome:
        """Post the message, signed.

        Raises:
            ConfigurationError: there is no secret.
        """
        key = signing_key(self._secrets.resolve(self._channel.secret))
        if key is None:
            return NotSent(
                fault=f"`{self._channel.secret}` is no secret of a webhook; "
                f"write `{SECRET_PREFIX}` and 24 to 64 bytes in base64",
                is_final=True,
            )
        now_ns = self._clock.now_ns()
        body = json_body(payload(delivery))
        timestamp = str(now_ns // _SECOND_NS)
        headers = [
            ("content-type", "application/json"),
            ("webhook-id", delivery.id),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature(key, delivery.id, timestamp, body)),
        ]
        return outcome_of(post(self._channel.address, headers, body, self._channel.network), now_ns)


def payload(delivery: Delivery) -> dict[str, object]:
    """What is sent: what kind of thing happened and when, in words and as data."""
    message = delivery.message
    return {
        "type": delivery.kind,
        "timestamp": datetime.fromtimestamp(message.at_ns // _SECOND_NS, UTC).isoformat(),
        "data": {
            "tenant": delivery.tenant,
            "title": message.title,
            "text": message.text,
            "facts": dict(message.facts),
            "links": {link.label: link.url for link in message.links},
            "details": message.data,
        },
    }


def signing_key(secret: str) -> bytes | None:
    """The key that a secret is written for; None if it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return None
    return key if secret.startswith(SECRET_PREFIX) and 24 <= len(key) <= 64 else None


def signature(key: bytes, name: str, timestamp: str, body: bytes) -> str:
    """The signature of a message, its id and its time."""
    digest = hmac.new(key, f"{name}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
