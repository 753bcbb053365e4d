"""Channels, who is told of what by them, and digests, as they are written in `aegis.yaml`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, ValidationInfo

from aegis_gateway.configuration import http_values, references, values
from aegis_gateway.configuration.document import BudgetId, Entry, TeamId, Text
from aegis_gateway.configuration.words import shown, unfit
from aegis_gateway.domain.channel import CHANNEL_KINDS, OWNER, ChannelKind
from aegis_gateway.domain.digest import EVERY, WHATS, Every, What
from aegis_gateway.domain.network import NETWORKS, Network
from aegis_gateway.domain.notice import NOTICE_KINDS, NoticeKind
from aegis_gateway.domain.people import is_person_id

CHANNELS, NOTIFY, DIGESTS = "channels", "notify", "digests"

_MAIL_ADDRESS = re.compile(r"[^@\s<>\",;:]+@[A-Za-z0-9][A-Za-z0-9.-]*")
_SLACK_USER = re.compile(r"[UW][A-Z0-9]{2,}")
_MAIL_EXAMPLE = "as in ana@northbank.example"


def mail_address(value: object) -> str:
    """An e-mail address, alone."""
    if not isinstance(value, str) or not _MAIL_ADDRESS.fullmatch(value):
        unfit(f"is {shown(value)}; write an e-mail address, {_MAIL_EXAMPLE}")
    return value


def mail_addresses(value: object) -> tuple[str, ...]:
    """Some e-mail addresses."""
    if not isinstance(value, list) or not value:
        unfit(f"is {shown(value)}; write a list of e-mail addresses, as in [ana@northbank.example]")
    return tuple(dict.fromkeys(mail_address(each) for each in value))


def mail_server(value: object) -> str:
    """Where a mail server is."""
    example = "write it as in smtp://mail.northbank.example:587, or smtps://… where it begins with TLS"
    if not isinstance(value, str):
        unfit(f"is {shown(value)}; {example}")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        unfit(f"is not an address that can be read; {example}")
    if "@" in parts.netloc:
        unfit("has a user name or password in it, and secrets are never written here; use `credentials`")
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/") or parts.query:
        unfit(f"is {shown(value)}; {example}")
    return value.rstrip("/")


def web_address(value: object) -> str:
    """A whole address of the web, path and query included; what is secret about one is referred to instead."""
    example = "write it as in https://hooks.northbank.example/aegis"
    if not isinstance(value, str):
        unfit(f"is {shown(value)}; {example}")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        unfit(f"is not an address that can be read; {example}")
    if "@" in parts.netloc:
        unfit("has a user name or password in it, and secrets are never written here")
    if parts.scheme not in ("http", "https") or not host or parts.fragment or not value.isascii():
        unfit(f"is {shown(value)}; {example}")
    return value


def slack_users(value: object) -> dict[str, str]:
    """Which person each of Slack's users is."""
    example = "write Slack's ids of users and the people they are, as in {U012AB3CD: ana}"
    if not isinstance(value, dict):
        unfit(f"is {shown(value)}; {example}")
    for user, person in value.items():
        if not isinstance(user, str) or not _SLACK_USER.fullmatch(user):
            unfit(f"has {shown(user)}, which is no id of one of Slack's users; {example}")
        if not isinstance(person, str) or not is_person_id(person):
            unfit(f"has {shown(person)} for `{user}`, which is no person's id; {example}")
    return dict(value)


def several(kind: str) -> Callable[[object, ValidationInfo], tuple[str, ...]]:
    """The ids of some things of a kind, or of one."""
    check = references.reference(kind)

    def of(value: object, info: ValidationInfo) -> tuple[str, ...]:
        names = value if isinstance(value, list) else [value]
        return tuple(dict.fromkeys(check(name, info) for name in names))

    return of


def places(value: object, info: ValidationInfo) -> tuple[str, ...]:
    """Some channels, or the owner of what it is about."""
    if not value:
        unfit(f"is empty; name channels, or `{OWNER}`")
    names = value if isinstance(value, list) else [value]
    check = references.reference("channel")
    return tuple(dict.fromkeys(OWNER if name == OWNER else check(name, info) for name in names))


_notice_kinds = values.choices(*NOTICE_KINDS, example=NOTICE_KINDS[0])


def notice_kinds(value: object) -> tuple[str, ...]:
    """Some kinds of notices, or one."""
    return _notice_kinds(value if isinstance(value, list) else [value])


Secret = Annotated[str, PlainValidator(http_values.credential)]
Places = Annotated[tuple[str, ...], PlainValidator(places)]


class ChannelEntry(Entry):
    """Where people are told. Which settings one has follows from its kind."""

    kind: Annotated[ChannelKind, PlainValidator(values.choice(*CHANNEL_KINDS))] = Field(
        description=f"what it is ({', '.join(CHANNEL_KINDS)})", examples=["slack"]
    )
    token: Secret | None = Field(default=None, description="the bot's token", examples=["env:SLACK_TOKEN"])
    channel: Text | None = Field(default=None, description="the channel's id", examples=["C012AB3CD"])
    signing_secret: Secret | None = None
    users: Annotated[dict[str, str], PlainValidator(slack_users)] | None = None
    api: Annotated[str, PlainValidator(http_values.base_url)] | None = None
    webhook: Secret | None = Field(
        default=None,
        description="a reference to the address of its workflow, which is a secret",
        examples=["env:TEAMS_WEBHOOK"],
    )
    smtp: Annotated[str, PlainValidator(mail_server)] | None = Field(
        default=None, description="the mail server", examples=["smtp://mail.northbank.example:587"]
    )
    sender: Annotated[str, PlainValidator(mail_address)] | None = Field(
        default=None, alias="from", description="whom mails are from", examples=["aegis@northbank.example"]
    )
    to: Annotated[tuple[str, ...], PlainValidator(mail_addresses)] | None = None
    credentials: Secret | None = None
    url: Annotated[str, PlainValidator(web_address)] | None = Field(
        default=None, description="where it listens", examples=["https://hooks.northbank.example/aegis"]
    )
    secret: Secret | None = Field(
        default=None, description="what it is signed with", examples=["env:HOOK_SECRET"]
    )
    network: Annotated[Network, PlainValidator(values.choice(*NETWORKS))] = "public"


class NotifyEntry(Entry):
    """Which notices go where; what is left out is all."""

    what: Annotated[tuple[NoticeKind, ...], PlainValidator(notice_kinds)] = ()
    budgets: Annotated[tuple[str, ...], PlainValidator(several("budget"))] = ()
    agents: Annotated[tuple[str, ...], PlainValidator(several("agent"))] = ()
    teams: Annotated[tuple[str, ...], PlainValidator(several("team"))] = ()
    to: Places = Field(description="where they go", examples=["[ops]"])


class DigestEntry(Entry):
    """What is told at the end of each period: of the whole tenant, of a team or of a budget; or of rules in shadow."""

    every: Annotated[Every, PlainValidator(values.choice(*EVERY))] = Field(
        description=f"how often ({', '.join(EVERY)})", examples=["weekly"]
    )
    what: Annotated[What, PlainValidator(values.choice(*WHATS))] = "spending"
    team: TeamId | None = None
    budget: BudgetId | None = None
    hour: Annotated[int, PlainValidator(values.whole(0, 23))] = 8
    to: Places = Field(description="where it goes", examples=["[ops]"])
