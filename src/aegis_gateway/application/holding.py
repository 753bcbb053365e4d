"""Holding and restoring keys, as budgets' thresholds want it; and looking at thresholds that no call looks at.

Rule 1: what is to be held is told from the balances' notes, and what is held from the keys' rows, both under the
        tenant's lock; nothing is remembered. Whoever does it again, or instead of another, changes nothing.
Rule 2: each hold and each restoration is in the record and raises the tenant's epoch, so that every process sends
        calls back that were judged before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from aegis_gateway.application.claims import claim_on, is_of_balance
from aegis_gateway.application.commands import Look
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.ports import Changes, RegistryChange, Store
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.admit import StandingKey
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.ledger import Standing
from aegis_gateway.domain.measure import acting
from aegis_gateway.domain.notice import Notice, NoticeKind
from aegis_gateway.domain.passing import with_thresholds
from aegis_gateway.domain.registry import Key
from aegis_gateway.domain.threshold import Threshold, rule_of_threshold

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
            (key, hold)
            for (_, key), standing in standings.items()
            if now_ns < ends_ns.get(key, 0)
            for hold in _holds(view, key, standing, ends_ns[key], now_ns)
        ]
        recording, is_changed = RegistryRecording(change, ACTOR), False
        for each in change.keys(tenant).values():
            holds = tuple(hold for key, hold in wanted if is_of_balance(view.registry, each, key[0], key[1]))
            is_changed |= _held(change, recording, tenant, each, holds)
        if is_changed:
            moved = change.heads[tenant]
            change.save_head(msgspec.structs.replace(moved, epoch=moved.epoch + 1))


def _holds(
    view: TenantView, key: StandingKey, standing: Standing, ends_ns: int, now_ns: int
) -> Iterator[Hold]:
    """What of a balance holds keys now."""
    budget = view.registry.budgets[key[0]]
    if budget.mode != "enforce" or view.registry.proxy is not None:
        return
    for threshold in acting(budget.thresholds, standing, now_ns):
        if threshold.is_of_keys:
            is_endless = bool(budget.length_ns) or not threshold.restores
            yield _hold(threshold, key, budget.owner, now_ns, None if is_endless else ends_ns)


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


def _held(
    change: RegistryChange, recording: RegistryRecording, tenant: str, key: Key, wanted: tuple[Hold, ...]
) -> bool:
    """Hold a key as is wanted, and restore it from what isn't any more; whether that changed anything."""
    before = {(hold.rule, hold.scope): hold for hold in key.holds}
    after: list[Hold] = []
    for hold in wanted:
        known = before.pop((hold.rule, hold.scope), None)
        is_same = known is not None and (known.window, known.limit, known.period_ns, known.until_ns) == (
            hold.window,
            hold.limit,
            hold.period_ns,
            hold.until_ns,
        )
        after.append(known if known is not None and is_same else hold)
    after += [hold for hold in before.values() if not hold.restores]
    holds = tuple(after)
    if holds == key.holds:
        return False
    change.save_key(tenant, msgspec.structs.replace(key, holds=holds))
    for hold in holds:
        if hold not in key.holds:
            _tell(recording, tenant, key, hold, "hold", "key_held")
    for hold in before.values():
        if hold.restores:
            _tell(recording, tenant, key, hold, "restore", "key_restored")
    return True


def _tell(
    recording: RegistryRecording, tenant: str, key: Key, hold: Hold, act: str, kind: NoticeKind
) -> None:
    facts: dict[str, object] = {
        "act": act,
        "key": key.id,
        "agent": key.agent,
        "by": hold.rule,
        "scope": hold.scope,
        "window": hold.window,
        "owner": hold.owner,
    }
    if hold.limit:
        facts["throttle"] = {"limit": hold.limit, "period_ns": str(hold.period_ns)}
    sequence = recording.enter(tenant, None, "key", facts)
    notice = Notice(
        tenant=tenant,
        sequence=sequence,
        kind=kind,
        subject=f"key:{key.id}",
        at_ns=recording.now_ns(tenant),
        body=facts,
    )
    recording.add(Changes(notices=[notice]))
