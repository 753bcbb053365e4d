"""People's words on thresholds that wait for one before they hold anything.

Rule: a request is told from the balance's note: one for each time that a threshold was passed, whoever makes it. What
is answered changes the note in the transaction of the answer; where nobody answers in time, it holds nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from aegis_gateway.application.approval_requests import request
from aegis_gateway.application.books import Books, Windows
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.holding import ACTOR, PassedBalance
from aegis_gateway.application.ports import Changes, RegistryChange, StandingRow, Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.application.thresholds import tell
from aegis_gateway.domain.admit import StandingKey
from aegis_gateway.domain.approval import Approval, Asking
from aegis_gateway.domain.passing import with_word
from aegis_gateway.domain.threshold import rule_of_threshold
from aegis_gateway.domain.watched import WatchedThreshold
from aegis_gateway.domain.window import Window


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
                key = (each.tenant, _fingerprint(each.key, threshold))
                if now == threshold and not change.latest_approvals([key]):
                    asking = _asking(each.tenant, each.key, threshold, each.quantity, watched.owner)
                    request(RegistryRecording(change, ACTOR), asking)


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


def _was_asked(store: Store, each: PassedBalance, threshold: WatchedThreshold) -> bool:
    sql = "select 1 as asked from approval where tenant = ? and fingerprint = ? limit 1"
    return bool(store.query(sql, (each.tenant, _fingerprint(each.key, threshold))))


def _fingerprint(key: StandingKey, threshold: WatchedThreshold) -> str:
    """What tells one passing of one threshold from all others."""
    told = "\n".join(("measure", *key, threshold.id, str(threshold.since_ns)))
    return hashlib.sha256(told.encode()).hexdigest()


def _asking(tenant: str, key: StandingKey, threshold: WatchedThreshold, quantity: str, owner: str) -> Asking:
    return Asking(
        tenant=tenant,
        kind="measure",
        requester=ACTOR,
        about=rule_of_threshold(key[0], threshold.id),
        fingerprint=_fingerprint(key, threshold),
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
