"""From what is written of channels, notifications and digests to what the steward works with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aegis_gateway.configuration.channel_entries import (
    CHANNELS,
    DIGESTS,
    NOTIFY,
    ChannelEntry,
    DigestEntry,
    NotifyEntry,
)
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.words import listed
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.channel import OWNER, SLACK_API, Channel, ChannelKind, NotifyRule
from aegis_gateway.domain.digest import Digest

_NEEDS: dict[ChannelKind, tuple[str, ...]] = {
    "slack": ("token", "channel"),
    "teams": ("webhook",),
    "email": ("smtp", "from"),
    "webhook": ("url", "secret"),
}
_MAY_HAVE: dict[ChannelKind, tuple[str, ...]] = {
    "slack": ("signing_secret", "users", "api"),
    "teams": (),
    "email": ("to", "credentials"),
    "webhook": (),
}


def compile_channels(
    entries: Mapping[str, ChannelEntry], path: Path, problems: Problems
) -> dict[str, Channel]:
    """A tenant's channels; where problems are told on the way, they are not to be used."""
    return {name: _channel(name, entry, (*path, CHANNELS, name), problems) for name, entry in entries.items()}


def _channel(name: str, entry: ChannelEntry, path: Path, problems: Problems) -> Channel:
    given = {field.alias or name for name, field in ChannelEntry.model_fields.items()} & _given(entry)
    needed = _NEEDS[entry.kind]
    known = {*needed, *_MAY_HAVE[entry.kind], "kind", "network"}
    for setting in needed:
        if setting not in given:
            problems.add_missing(ChannelEntry, setting, path)
    for setting in sorted(given - known):
        other = [kind for kind in _NEEDS if setting in (*_NEEDS[kind], *_MAY_HAVE[kind])]
        problems.add(
            (*path, setting), f"is a setting of {listed(other)}, and this is `{entry.kind}`; leave it out"
        )
    if name == OWNER:
        words = (
            f"is called `{OWNER}`, which stands for whoever owns what a notice is about; give it another name"
        )
        problems.add(path, words)
    return Channel(
        id=name,
        kind=entry.kind,
        address=entry.api or entry.smtp or entry.url or (SLACK_API if entry.kind == "slack" else ""),
        credential=entry.token or entry.webhook or entry.credentials or "",
        secret=entry.signing_secret or entry.secret or "",
        place=entry.channel or "",
        users=entry.users or {},
        sender=entry.sender or "",
        recipients=entry.to or (),
        network=entry.network,
    )


def _given(entry: ChannelEntry) -> set[str]:
    fields = ChannelEntry.model_fields
    return {fields[name].alias or name for name in entry.model_fields_set if getattr(entry, name) is not None}


def compile_notify(
    entries: Iterable[tuple[int, NotifyEntry]],
    channels: Mapping[str, Channel],
    path: Path,
    problems: Problems,
) -> tuple[NotifyRule, ...]:
    """Which notices go where; each entry with its place in the file."""
    rules = []
    for number, entry in entries:
        _check_places(entry.to, channels, (*path, NOTIFY, number, "to"), problems)
        rules.append(
            NotifyRule(
                what=entry.what, budgets=entry.budgets, agents=entry.agents, teams=entry.teams, to=entry.to
            )
        )
    return tuple(rules)


def compile_digests(
    entries: Mapping[str, DigestEntry], channels: Mapping[str, Channel], path: Path, problems: Problems
) -> dict[str, Digest]:
    """A tenant's digests."""
    digests = {}
    for name, entry in entries.items():
        if entry.team is not None and entry.budget is not None:
            words = "is of a team and of a budget; write two, or leave one of them out"
            problems.add((*path, DIGESTS, name), words)
        if entry.what == "shadow" and (entry.team or entry.budget):
            words = "is of rules in shadow, which are the whole tenant's; leave `team` and `budget` out"
            problems.add((*path, DIGESTS, name), words)
        if OWNER in entry.to and entry.team is None and entry.budget is None:
            words = f"has `{OWNER}` in it, and the whole tenant has none; name channels"
            problems.add((*path, DIGESTS, name, "to"), words)
        _check_places(entry.to, channels, (*path, DIGESTS, name, "to"), problems)
        digests[name] = Digest(
            id=name,
            every=entry.every,
            what=entry.what,
            scope="team" if entry.team else "budget" if entry.budget else "tenant",
            name=entry.team or entry.budget or "",
            hour=entry.hour,
            to=entry.to,
        )
    return digests


def _check_places(
    names: Iterable[str], channels: Mapping[str, Channel], path: Path, problems: Problems
) -> None:
    for name in names:
        if name == OWNER:
            if not any(channel.kind == "email" for channel in channels.values()):
                problems.add(
                    path,
                    f"has `{OWNER}`, and owners are told by e-mail; add a channel of kind `email` to `{CHANNELS}`",
                )
        elif name in channels and channels[name].kind == "email" and not channels[name].recipients:
            problems.add(path, f"has `{name}`, which has no `to`; write there to whom its mails go")
