"""Teams, by a Workflows webhook: an Adaptive Card with links. Answers are given on the page that the card leads to,
because such a webhook brings nothing back.
"""

from __future__ import annotations

from typing import Any

from aegis_gateway.adapters.channels.posting import json_body, outcome_of, post
from aegis_gateway.application.ports import Clock, Secrets
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import Delivery, Outcome
from aegis_gateway.domain.message import Message, Tone

_COLORS: dict[Tone, str] = {
    "plain": "default", "good": "good", "attention": "warning", "warning": "attention",
}  # fmt: skip


class TeamsChannel:
    """One Teams channel or chat."""

    def __init__(self, channel: Channel, secrets: Secrets, clock: Clock) -> None:
        """`clock` tells how far away a time is until which it asks to be left alone."""
        self._channel = channel
        self._secrets = secrets
        self._clock = clock

    def send(self, delivery: Delivery, _before: tuple[str, ...]) -> Outcome:
        """Post the message as a card.

        Raises:
            ConfigurationError: there is no address.
        """
        url = self._secrets.resolve(self._channel.credential)
        headers = [("content-type", "application/json"), ("x-aegis-delivery", delivery.id)]
        answer = post(url, headers, json_body(envelope(delivery)), self._channel.network)
        return outcome_of(answer, self._clock.now_ns())


def envelope(delivery: Delivery) -> dict[str, Any]:
    """What a workflow takes: a message with one card."""
    return {
        "type": "message",
        "id": delivery.id,
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": card(delivery.message, delivery.id),
            }
        ],
    }


def card(message: Message, name: str) -> dict[str, Any]:
    """A message as an Adaptive Card."""
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": _plain(message.title),
            "size": "large",
            "weight": "bolder",
            "color": _COLORS[message.tone],
            "wrap": True,
        }
    ]
    if message.text:
        body.append({"type": "TextBlock", "text": _plain(message.text), "wrap": True})
    if message.facts:
        facts = [{"title": _plain(label), "value": _plain(value)} for label, value in message.facts]
        body.append({"type": "FactSet", "facts": facts})
    body.append({"type": "TextBlock", "text": name, "isSubtle": True, "size": "small", "wrap": True})
    return {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "fallbackText": message.title,
        "msteams": {"width": "Full"},
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": link.label, "url": link.url} for link in message.links
        ],
    }


def _plain(text: str) -> str:
    """Text that is read as it stands: cards take Markdown, and what agents say may not become links or images."""
    for sign in ("\\", "[", "]", "*", "_", "`", "!"):
        text = text.replace(sign, f"\\{sign}")
    return text
