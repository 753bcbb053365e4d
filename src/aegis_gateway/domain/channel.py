"""Channels: where people are told of notices, and which notices go where.

Rule: what is a secret of a channel (token, address of a webhook, password) is a reference, here as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import msgspec

from aegis_gateway.domain.network import Network
from aegis_gateway.domain.notice import NoticeKind

ChannelKind = Literal["slack", "teams", "email", "webhook"]
CHANNEL_KINDS: tuple[ChannelKind, ...] = get_args(ChannelKind)

OWNER = "owner"
"""The place of a channel's name: whoever owns what a notice is about, by e-mail."""

SLACK_API = "https://slack.com/api"


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel of a tenant. Each kind has settings of its own; the others are empty.

    `address` is the API's of Slack, the mail server's (`smtp://host:587`), or a webhook's; Teams' is a secret, and so
    is a reference. `users` says which person each of Slack's users is. `sender` and `recipients` are e-mail addresses,
    `credential` is Slack's token, the mail server's `user:password`, or the address of the Workflows webhook of Teams;
    `secret` is what Slack signs with, or what webhooks are signed with.
    """

    id: str
    kind: ChannelKind
    address: str = ""
    credential: str = ""
    secret: str = ""
    place: str = ""
    users: Mapping[str, str] = {}
    sender: str = ""
    recipients: tuple[str, ...] = ()
    network: Network = "public"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a notice is about, as far as it is known: some of these are empty."""

    budget: str = ""
    agent: str = ""
    team: str = ""
    owner: str = ""


class NotifyRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which notices go to which channels: all kinds named, about any of the budgets, agents and teams named.

    A list that is empty names all.
    """

    what: tuple[NoticeKind, ...] = ()
    budgets: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    to: tuple[str, ...] = ()

    def is_for(self, kind: NoticeKind, subject: Subject) -> bool:
        """Whether a notice goes where it says."""
        pairs = ((self.budgets, subject.budget), (self.agents, subject.agent), (self.teams, subject.team))
        return (not self.what or kind in self.what) and all(
            not names or name in names for names, name in pairs
        )


class Target(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A channel, and whom it is for where that isn't said by the channel itself."""

    channel: str
    recipient: str = ""


def targets(
    rules: Iterable[NotifyRule], channels: Mapping[str, Channel], kind: NoticeKind, subject: Subject
) -> tuple[Target, ...]:
    """Where a notice goes: each place once, each address of e-mail being one. An owner is told by the first channel
    that is e-mail.
    """
    names = (name for rule in rules if rule.is_for(kind, subject) for name in rule.to)
    return targets_of(names, channels, subject.owner)


def targets_of(names: Iterable[str], channels: Mapping[str, Channel], owner: str) -> tuple[Target, ...]:
    """The places that names of channels, or `owner`, stand for: each once."""
    mail = next((channel.id for channel in channels.values() if channel.kind == "email"), None)
    found: dict[Target, None] = {}
    for name in names:
        if name in channels:
            found |= dict.fromkeys(places_of(channels[name]))
        elif name == OWNER and mail is not None and "@" in owner:
            found[Target(channel=mail, recipient=owner)] = None
    return tuple(found)


def places_of(channel: Channel) -> tuple[Target, ...]:
    """The places that a channel is: itself, or each of the addresses that its mails go to."""
    if channel.kind != "email":
        return (Target(channel=channel.id),)
    return tuple(Target(channel=channel.id, recipient=each) for each in channel.recipients)
