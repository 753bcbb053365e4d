"""Passing notices on: from what happened to what is to be sent where.

Rule 1: a notice is taken as passed on in the transaction that makes its deliveries, so each is made once, whoever does
        it.
Rule 2: where nobody wants to be told, a notice is passed on all the same: it isn't told later of what was long ago.
Rule 3: a notice that can't be put in words holds up no other: people are told that there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from msgspec import to_builtins
from msgspec.structs import replace

from aegis_gateway.application.approvals import UNATTENDED
from aegis_gateway.application.ports import RegistryChange, Store
from aegis_gateway.application.tracing import Observer
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.channel import Subject, Target, targets
from aegis_gateway.domain.delivery import delivery_of
from aegis_gateway.domain.deputies import attendance_of, is_unattended, missing
from aegis_gateway.domain.message import Message, bare_message, message_of
from aegis_gateway.domain.notice import ENDS, Notice, NoticeKind
from aegis_gateway.domain.registry import Registry

NOTICES_MAX = 64

Registries = Callable[[], Mapping[str, Registry]]
"""All tenants' registries as they are in force now. May block."""

_WAITING = "select 1 from notice where passed_ns is null limit 1"

_log = logging.getLogger("aegis.notifications")

_ASKS: tuple[NoticeKind, ...] = ("approval_requested", "approval_escalated")


class Passing:
    """Makes deliveries of notices."""

    def __init__(
        self,
        store: Store,
        registries: Registries,
        pages_url: str,
        observer: Observer | None = None,
    ) -> None:
        """`pages_url` is where links in messages lead; `observer` is told which requests are over."""
        self._observer = observer
        self._store = store
        self._registries = registries
        self._pages_url = pages_url

    def __call__(self) -> bool:
        """Pass on what waits; whether there is more.

        Raises:
            LedgerUnavailable: the store cannot be read, or did not take it. Nothing was passed on then.
        """
        if not self._store.rows(_WAITING):
            return False
        registries = self._registries()
        ended: list[tuple[Approval, int]] = []
        with self._store.change([]) as change:
            notices = change.notices_to_pass(NOTICES_MAX)
            for notice in notices:
                registry = registries.get(notice.tenant)
                if registry is not None:
                    self._deliver(change, notice, registry)
                change.pass_notice(notice, change.now_ns)
            if self._observer is not None:
                ended = [*_ended(change, notices)]
        if self._observer is not None:
            for approval, at_ns in ended:
                self._observer.approval_ended(approval, at_ns)
        return len(notices) == NOTICES_MAX

    def _deliver(self, change: RegistryChange, notice: Notice, registry: Registry) -> None:
        message = self._message(_with_who_is_asked(change, notice), registry)
        for target in dict.fromkeys(_targets(change, notice, registry)):
            change.save_delivery(
                delivery_of(
                    tenant=notice.tenant,
                    sequence=notice.sequence,
                    kind=notice.kind,
                    subject=notice.subject,
                    target=target,
                    message=message,
                    made_ns=change.now_ns,
                )
            )

    def _message(self, notice: Notice, registry: Registry) -> Message:
        try:
            return message_of(notice, registry.name, self._pages_url)
        except Exception:  # whatever it is, it is this notice's, and the next ones are told of
            _log.exception("notice %d of `%s` can't be put in words", notice.sequence, notice.tenant)
            return bare_message(notice, registry.name, self._pages_url)


def _ended(change: RegistryChange, notices: list[Notice]) -> Iterator[tuple[Approval, int]]:
    """The requests that are over by these notices, and since when. One that was granted was over before it lapsed."""
    for notice in notices:
        name, state = notice.body.get("approval"), notice.body.get("state")
        if notice.kind not in ENDS or not isinstance(name, str) or state == "lapsed":
            continue
        approval = change.approval(notice.tenant, name)
        if approval is not None:
            yield replace(approval, state=state), notice.at_ns


def _with_who_is_asked(change: RegistryChange, notice: Notice) -> Notice:
    """A notice that wants somebody's word, with the groups that are asked, and who answers for those who are away."""
    name = notice.body.get("approval")
    if notice.kind not in _ASKS or not isinstance(name, str):
        return notice
    approval = change.approval(notice.tenant, name)
    if approval is None:
        return notice
    attendance = attendance_of(change.people(), change.absences(), change.now_ns)
    away = missing(approval, attendance)
    asks = [group.name for group in approval.route.asked(approval.level)]
    body = {
        **notice.body,
        "asks": [*asks, *map(str, away)],
        "away": [to_builtins(each) for each in away],
    }
    if is_unattended(approval, attendance):
        body["unattended"] = UNATTENDED
    return replace(notice, body=body)


def _targets(change: RegistryChange, notice: Notice, registry: Registry) -> Iterator[Target]:
    yield from targets(registry.notify, registry.channels, notice.kind, subject_of(notice, registry))
    if notice.kind in ENDS:
        for name, recipient in change.told_before(notice.tenant, notice.subject):
            channel = registry.channels.get(name)
            if channel is not None and channel.kind == "slack":
                yield Target(channel=name, recipient=recipient)


def subject_of(notice: Notice, registry: Registry) -> Subject:
    """What a notice is about: what it says itself, and what the registry knows of that."""
    kind, _, name = notice.subject.partition(":")
    about = {each: notice.body.get(each) for each in ("budget", "agent", "team", "owner")}
    if kind in about and not about[kind]:
        about[kind] = name
    requester = notice.body.get("requester")
    if not about["agent"] and requester in registry.agents:
        about["agent"] = requester
    budget, agent, team, owner = (value if isinstance(value, str) else "" for value in about.values())
    known, budget_known = registry.agents.get(agent), registry.budgets.get(budget)
    if known is not None:
        team = team or known.team
    elif budget_known is not None and not team:
        team = dict(budget_known.match).get("team", "")
    if not owner:
        team_known = registry.teams.get(team)
        owners = (each.owner for each in (budget_known, known, team_known) if each is not None)
        owner = next(owners, "")
    return Subject(budget=budget, agent=agent, team=team, owner=owner)
