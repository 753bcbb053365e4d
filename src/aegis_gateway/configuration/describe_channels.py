"""Channels, notifications and digests in the words of the people who wrote them."""

from __future__ import annotations

from collections.abc import Iterator

from aegis_gateway.domain.channel import Channel, NotifyRule
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.registry import Registry

Fields = dict[str, str]


def describe_channels(registry: Registry) -> Iterator[tuple[str, Fields]]:
    """What a registry has of them, by what each is."""
    for channel in registry.channels.values():
        yield f"channel {channel.id}", _set(_channel(channel))
    for number, rule in enumerate(registry.notify, 1):
        yield f"notification {number}", _set(_rule(rule))
    for digest in registry.digests.values():
        yield f"digest {digest.id}", _set(_digest(digest))


def _set(fields: Fields) -> Fields:
    return {name: text for name, text in fields.items() if text}


def _channel(channel: Channel) -> Fields:
    return {
        "kind": channel.kind,
        "address": channel.address,
        "channel": channel.place,
        "credential": channel.credential,
        "secret": channel.secret,
        "users": ", ".join(f"{user} is {person}" for user, person in sorted(channel.users.items())),
        "from": channel.sender,
        "to": ", ".join(channel.recipients),
        "network": "" if channel.network == "public" else channel.network,
    }


def _rule(rule: NotifyRule) -> Fields:
    return {
        "what": ", ".join(rule.what) or "all",
        "budgets": ", ".join(rule.budgets),
        "agents": ", ".join(rule.agents),
        "teams": ", ".join(rule.teams),
        "to": ", ".join(rule.to),
    }


def _digest(digest: Digest) -> Fields:
    return {
        "what": "" if digest.what == "spending" else digest.what,
        "of": f"{digest.scope} {digest.name}".strip(),
        "every": digest.every,
        "hour": str(digest.hour),
        "to": ", ".join(digest.to),
    }
