"""Which channel: told by its kind."""

from __future__ import annotations

from aegis_gateway.adapters.channels.mail import MailChannel
from aegis_gateway.adapters.channels.slack import SlackChannel
from aegis_gateway.adapters.channels.teams import TeamsChannel
from aegis_gateway.adapters.channels.webhook import WebhookChannel
from aegis_gateway.application.delivery_ports import ChannelSender
from aegis_gateway.application.ports import Clock, Secrets
from aegis_gateway.domain.channel import Channel


def open_channel(channel: Channel, secrets: Secrets, clock: Clock) -> ChannelSender:
    """What messages are sent by to a channel."""
    match channel.kind:
        case "slack":
            return SlackChannel(channel, secrets, clock)
        case "teams":
            return TeamsChannel(channel, secrets, clock)
        case "email":
            return MailChannel(channel, secrets)
        case "webhook":
            return WebhookChannel(channel, secrets, clock)
