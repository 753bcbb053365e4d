"""People's words on thresholds that wait for one before they hold anything.

Rule: a request is told from the balance's note: one for each time that a threshold was passed, whoever makes it. What
is answered changes the note in the transaction of the answer; where nobody answers in time, it holds nothing. A request
is withdrawn once its threshold was undone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from aegis_gateway.application.approval_requests import became, request
from aegis_gateway.application.books import Books, Windows
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.holding import ACTOR, PassedBalance
from aegis_gateway.application.ports import Changes, RegistryChange, StandingRow, Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.application.thresholds import tell
from aegis_gateway.domain.admit import StandingKey
from aegis_gateway.domain.approval import Approval, Asking
from aegis_gateway.domain.approval_route import Route
from aegis_gateway.domain.passing import with_word
from aegis_gateway.domain.people import may, person_of
from aegis_gateway.domain.threshold import rule_of_threshold
from aegis_gateway.domain.watched import WatchedThreshold
from aegis_gateway.domain.window import Window

AskedWord = tuple[str, str, str]
"""A request about a threshold that waits for an answer: its tenant, its id, its fingerprint."""


def ask_for_words(
    store: Store, views: Mapping[str, TenantView], balances: Iterable[PassedBalance], now_ns: int
) -> None:
    """Ask people about each threshold that waits for a word and about which nobody was asked yet.

    Raises:
        LedgerUnavailable: the store can't be read or written; what was asked is asked.
    """
    for each in balances:
        watched = each.standing.notes.watched if each.standing.notes is not None else None
        if watched is None or each.tenant not in views or now_ns >= each.ends_ns:
            continue
        for threshold in watched.thresholds:
            if threshold.state != "waiting" or _was_asked(store, each, threshold):
                continue
            with store.change([each.tenant]) as change:
                found = change.standings({(each.tenant, each.key)}).get((each.tenant, each.key))
                notes = found.notes if found is not None else None
                now = notes.watched.find(threshold.id) if notes is not None and notes.watched else None
                key = (each.tenant, word_fingerprint(each.key, threshold))
                if now == threshold and not change.latest_approvals([key]):
                    asking = _asking(each.tenant, each.key, threshold, each.quantity, watched.owner)
                    route = _route(change, views[each.tenant], each.key[0])
                    asking = msgspec.structs.replace(asking, route=route)
                    request(RegistryRecording(change, ACTOR), asking)


def withdraw_words(store: Store, asked: Iterable[AskedWord], balances: Iterable[PassedBalance]) -> None:
    """End the requests about thresholds that wait no more: undone by a raised limit, a fallen forecast, a new window.

    Raises:
        LedgerUnavailable: the store can't be read or written; what was withdrawn is withdrawn.
    """
    waiting = {
        (each.tenant, word_fingerprint(each.key, threshold))
        for each in balances
        if each.standing.notes is not None and each.standing.notes.watched is not None
        for threshold in each.standing.notes.watched.thresholds
        if threshold.state == "waiting"
    }
    for tenant, approval, fingerprint in asked:
        if (tenant, fingerprint) in waiting:
            continue
        with store.change([tenant]) as change:
            found = change.approval(tenant, approval)
            if found is not None and found.state == "waiting" and not _still_waits(change, found):
                because = "the threshold waits for nobody's word any more"
                became(RegistryRecording(change, ACTOR), found, "withdraw", because=because)


def _still_waits(change: RegistryChange, approval: Approval) -> bool:
    """Whether the very passing that a request is about waits still, by its balance."""
    terms = approval.terms
    key = (str(terms["budget"]), str(terms["scope"]), str(terms["window"]))
    standing = change.standings({(approval.tenant, key)}).get((approval.tenant, key))
    notes = standing.notes if standing is not None else None
    at = notes.watched.find(str(terms["threshold"])) if notes is not None and notes.watched else None
    return at is not None and at.state == "waiting" and word_fingerprint(key, at) == approval.fingerprint


def word_given(change: RegistryChange, recording: RegistryRecording, approval: Approval) -> None:
    """Let a threshold hold from now on, or not in this window, which can always be done."""
    tenant, terms = approval.tenant, approval.terms
    key = (str(terms["budget"]), str(terms["scope"]), str(terms["window"]))
    standing = change.standings({(tenant, key)}).get((tenant, key))
    if standing is None:
        return
    books = Books({(tenant, key): standing}, {}, Windows())
    is_granted = approval.state in ("granted", "used")
    now_ns = recording.now_ns(tenant)
    quantity = str(terms["quantity"])
    books.look(
        tenant, key, quantity, with_word(standing, str(terms["threshold"]), now_ns, is_granted=is_granted)
    )
    changes = Changes(
        standings=[
            StandingRow(
                tenant=tenant,
                budget=key[0],
                scope=key[1],
                window=Window(label=key[2], starts_ns=0, ends_ns=0),
                quantity=quantity,
                standing=books.standings[tenant, key],
            )
        ]
    )
    tell(books, changes, recording.enter, recording.now_ns)
    recording.add(changes)


def _route(change: RegistryChange, view: TenantView, budget_id: str) -> Route:
    """Whose word is wanted: who answers for the budget and has a role in the tenant, or whom the tenant names."""
    budget = view.registry.budgets.get(budget_id)
    people = change.people()
    named = (person_of(each, people) for each in (budget.owner, budget.deputy)) if budget is not None else ()
    answers_for_it = dict.fromkeys(
        name for name in named if name is not None and may(people[name], "read", view.registry.tenant)
    )
    return view.registry.approvals.route_of_budget(budget_id, tuple(answers_for_it))


def _was_asked(store: Store, each: PassedBalance, threshold: WatchedThreshold) -> bool:
    sql = "select 1 as asked from approval where tenant = ? and fingerprint = ? limit 1"
    return bool(store.query(sql, (each.tenant, word_fingerprint(each.key, threshold))))


def word_fingerprint(key: StandingKey, threshold: WatchedThreshold) -> str:
    """What tells one passing of one threshold from all others."""
    told = "\n".join(("measure", *key, threshold.id, str(threshold.since_ns)))
    return hashlib.sha256(told.encode()).hexdigest()


def _asking(tenant: str, key: StandingKey, threshold: WatchedThreshold, quantity: str, owner: str) -> Asking:
    return Asking(
        tenant=tenant,
        kind="measure",
        requester=ACTOR,
        about=rule_of_threshold(key[0], threshold.id),
        fingerprint=word_fingerprint(key, threshold),
        facts={
            "budget": key[0],
            "scope": key[1],
            "window": key[2],
            "does": list(threshold.acts),
            "amount": str(threshold.amount),
            "stood": str(threshold.at),
            "quantity": quantity,
            "owner": owner,
        },
        terms={
            "budget": key[0],
            "scope": key[1],
            "window": key[2],
            "threshold": threshold.id,
            "quantity": quantity,
        },
    )
