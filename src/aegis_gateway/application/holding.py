"""Holding and restoring keys, as budgets' thresholds want it; and looking at thresholds that no call looks at.

Rule 1: what is to be held is told from the balances' notes, and what is held from the keys' rows, both under the
        tenant's lock; nothing is remembered. Whoever does it again, or instead of another, changes nothing.
Rule 2: each hold and each restoration is in the record and raises the tenant's epoch, so that every process sends
        calls back that were judged before.
Rule 3: what a person holds, or has restored, is left as it is until its time is over (`key_holds.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from aegis_gateway.application.claims import claim_on, is_of_balance
from aegis_gateway.application.commands import Look
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.admit import StandingKey
from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.measure import acting
from aegis_gateway.domain.notice import Notice, NoticeKind
from aegis_gateway.domain.passing import with_thresholds
from aegis_gateway.domain.registry import Key
from aegis_gateway.domain.threshold import Threshold, budget_of_rule, rule_of_threshold

ACTOR = "aegis"
"""Who holds keys, as entries name it."""


class PassedBalance(msgspec.Struct, frozen=True, kw_only=True):
    """A balance of which some thresholds are passed."""

    tenant: str
    key: StandingKey
    quantity: str
    ends_ns: int
    standing: Standing


PassedBalances = Callable[[], Iterable[PassedBalance]]
"""Reads them all; they are few."""

Held = Callable[[], Iterable[str]]
"""The tenants that have keys which are held."""


def hold_and_restore(
    store: Store, views: Mapping[str, TenantView], balances: PassedBalances, held: Held, now_ns: int
) -> None:
    """Look at what is passed, end what is over, and hold and restore keys by what then holds.

    Raises:
        LedgerUnavailable: the store can't be read or written; what was done is done.
    """
    found = [each for each in balances() if each.tenant in views]
    looks = [look for each in found for look in _looks(views[each.tenant], each, now_ns)]
    if looks:
        Ledger(store).process(looks)
        found = [each for each in balances() if each.tenant in views]
    of_tenant: dict[str, list[StandingKey]] = {tenant: [] for tenant in held() if tenant in views}
    for each in found:
        budget = views[each.tenant].registry.budgets.get(each.key[0])
        if budget is not None and any(threshold.is_of_keys for threshold in budget.thresholds):
            of_tenant.setdefault(each.tenant, []).append(each.key)
    for tenant, keys in of_tenant.items():
        _reconcile(store, views[tenant], keys, {each.key: each.ends_ns for each in found})


def _looks(view: TenantView, each: PassedBalance, now_ns: int) -> Iterator[Look]:
    """A look at a balance, where one would turn something."""
    budget = view.registry.budgets.get(each.key[0])
    claim = claim_on(view, budget, each.key[1]) if budget is not None else None
    if claim is None or now_ns >= each.ends_ns or with_thresholds(claim, each.standing, now_ns)[1]:
        yield Look(
            call=f"look_{each.key[0]}",
            tenant=each.tenant,
            epoch=view.epoch,
            budget=each.key[0],
            scope=each.key[1],
            window=each.key[2],
            quantity=each.quantity,
            ends_ns=each.ends_ns,
            claim=claim,
        )


def _reconcile(
    store: Store, view: TenantView, balances: list[StandingKey], ends_ns: Mapping[StandingKey, int]
) -> None:
    tenant = view.registry.tenant
    with store.change([tenant]) as change:
        head = change.heads.get(tenant)
        if head is None or head.epoch != view.epoch:
            return  # what is configured is another; it is looked at again by that
        now_ns = max(change.now_ns, head.last_ns)
        standings = change.standings({(tenant, key) for key in balances}) if balances else {}
        wanted = [
            (key, hold, passed_ns)
            for (_, key), standing in standings.items()
            if now_ns < ends_ns.get(key, 0)
            for hold, passed_ns in _holds(view, key, standing, ends_ns[key], now_ns)
        ]
        recording, is_changed = RegistryRecording(change, ACTOR), False
        in_shadow: dict[Hold, list[Key]] = {}
        for each in change.keys(tenant).values():
            is_over = each.is_over(now_ns)
            wants = [
                (hold, passed_ns)
                for key, hold, passed_ns in wanted
                if is_of_balance(view.registry, each, key[0], key[1])
            ]
            holds = _held(each, () if is_over else wants, now_ns)
            if is_over:  # it needs nothing to hold it; what holds its agent is told by it to keys to come
                holds = tuple(hold for hold in holds if hold.by)
            if holds == each.holds:
                continue
            is_changed = True
            change.save_key(tenant, msgspec.structs.replace(each, holds=holds))
            if not is_over:
                _tell_of_change(recording, tenant, each, holds)
            for hold in holds:
                if hold.mode == "shadow" and hold not in each.holds:
                    in_shadow.setdefault(hold, []).append(each)
        for hold, keys in in_shadow.items():
            _tell_in_shadow(recording, tenant, hold, keys)
        if is_changed:
            moved = change.heads[tenant]
            change.save_head(msgspec.structs.replace(moved, epoch=moved.epoch + 1))


def _holds(
    view: TenantView, key: StandingKey, standing: Standing, ends_ns: int, now_ns: int
) -> Iterator[tuple[Hold, int]]:
    """What of a balance holds keys now, or would if it weren't in shadow; and when that was passed."""
    watched = standing.notes.watched if standing.notes is not None else None
    budget = view.registry.budgets[key[0]]
    mode: Mode = budget.mode if view.registry.proxy is None else "shadow"
    for threshold in acting(budget.thresholds, standing, now_ns):
        if threshold.is_of_keys:
            is_endless = bool(budget.length_ns) or not threshold.restores
            hold = _hold(threshold, key, budget.owner, now_ns, None if is_endless else ends_ns)
            at = watched.find(threshold.id) if watched is not None else None
            yield msgspec.structs.replace(hold, mode=mode), now_ns if at is None else at.since_ns


def _hold(threshold: Threshold, key: StandingKey, owner: str, now_ns: int, until_ns: int | None) -> Hold:
    acts = {act.kind: act for act in threshold.acts}
    throttle = None if "revoke_keys" in acts else acts["throttle_keys"]
    return Hold(
        rule=rule_of_threshold(key[0], threshold.id),
        scope=key[1],
        window=key[2],
        since_ns=now_ns,
        owner=owner,
        until_ns=until_ns,
        restores=threshold.restores,
        limit=throttle.limit if throttle is not None else 0,
        period_ns=throttle.period_ns if throttle is not None else 0,
    )


def _held(key: Key, wanted: Iterable[tuple[Hold, int]], now_ns: int) -> tuple[Hold, ...]:
    """What a key is held by once it is held as thresholds want it, and restored from what holds no more."""
    before = {(hold.rule, hold.scope): hold for hold in key.holds if not hold.by}
    after: list[Hold] = []
    for hold, passed_ns in wanted:
        known = before.pop((hold.rule, hold.scope), None)
        after.append(known if known is not None and _is_same(known, hold, passed_ns) else hold)
    after += [hold for hold in before.values() if hold.acts and not hold.restores]
    after += [hold for hold in key.holds if hold.by and not hold.is_over(now_ns)]
    return tuple(after)


def _is_same(known: Hold, hold: Hold, passed_ns: int) -> bool:
    """Whether a key is held already as is wanted, or somebody has lifted just that, and it wasn't passed anew since."""
    if known.lifted_ns is not None:
        return known.window == hold.window and passed_ns <= known.lifted_ns
    return (known.window, known.limit, known.period_ns, known.until_ns, known.mode) == (
        *(hold.window, hold.limit, hold.period_ns),
        *(hold.until_ns, hold.mode),
    )


def _tell_of_change(recording: RegistryRecording, tenant: str, key: Key, holds: tuple[Hold, ...]) -> None:
    for hold in holds:
        if hold.acts and hold not in key.holds:
            tell_of_key(recording, tenant, key, hold, "hold")
    kept = {(hold.rule, hold.scope) for hold in holds if hold.acts}
    for hold in key.holds:
        if hold.acts and (hold.rule, hold.scope) not in kept:
            tell_of_key(recording, tenant, key, hold, "restore")


def tell_of_key(
    recording: RegistryRecording,
    tenant: str,
    key: Key,
    hold: Hold,
    act: Literal["hold", "restore"],
    **more: object,
) -> None:
    """Write down that a key is held, or restored, and have people told."""
    facts: dict[str, object] = {
        "act": act,
        "key": key.id,
        "agent": key.agent,
        "by": hold.by or hold.rule,
        "scope": hold.scope,
        "window": hold.window,
        "owner": hold.owner,
    }
    if hold.limit:
        facts["throttle"] = {"limit": hold.limit, "period_ns": str(hold.period_ns)}
    if hold.until_ns is not None and act == "hold":
        facts["until"] = time_text(hold.until_ns)
    if hold.reason:
        facts["reason"] = hold.reason
    facts |= more
    sequence = recording.enter(tenant, None, "key", facts)
    notice = Notice(
        tenant=tenant,
        sequence=sequence,
        kind=_NOTICES[act],
        subject=f"key:{key.id}",
        at_ns=recording.now_ns(tenant),
        body=facts,
    )
    recording.add(Changes(notices=[notice]))


_NOTICES: dict[Literal["hold", "restore"], NoticeKind] = {"hold": "key_held", "restore": "key_restored"}

_AGENTS_NAMED_MAX = 50


def _tell_in_shadow(recording: RegistryRecording, tenant: str, hold: Hold, keys: list[Key]) -> None:
    """Have people told what a budget in shadow would have done to which keys."""
    budget, agents = budget_of_rule(hold.rule), sorted({key.agent for key in keys})
    named = agents[:_AGENTS_NAMED_MAX]
    more = f" and {len(agents) - len(named)} more" if len(agents) > len(named) else ""
    what = "throttled" if hold.limit else "revoked"
    facts: dict[str, object] = {
        "act": "would_hold",
        "budget": budget,
        "by": hold.rule,
        "scope": hold.scope,
        "window": hold.window,
        "owner": hold.owner,
        "agents": named,
        "keys": len(keys),
        "would": f"would have {what} the keys of {', '.join(named)}{more}",
        "mode": hold.mode,
    }
    sequence = recording.enter(tenant, None, "key", facts)
    notice = Notice(
        tenant=tenant,
        sequence=sequence,
        kind="keys_in_shadow",
        subject=f"budget:{budget}",
        at_ns=recording.now_ns(tenant),
        body=facts,
    )
    recording.add(Changes(notices=[notice]))
