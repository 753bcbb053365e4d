"""What operators do: apply a configuration, register agents, issue, rotate, throttle and revoke keys.

Rule 1: each act is one transaction under the tenant's head, with an entry in the tenant's record that names who
        did it; it raises the tenant's epoch, so that the very next call is decided by it, on every replica.
Rule 2: a key is shown once, when it is made; what is stored is its hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from aegis_gateway.application.configured_limits import note_limits
from aegis_gateway.application.operators import Act, Caller, Operators
from aegis_gateway.application.people import record_people
from aegis_gateway.application.ports import Changes, RegistryChange, RegistryStore, Signatures
from aegis_gateway.application.proposals import approved, proposed
from aegis_gateway.application.seeding import Seeding, with_notes
from aegis_gateway.application.versions import canary_beside, is_intact, signed
from aegis_gateway.domain.config_version import Canary, ConfigVersion, Watch
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.keys import KeyKind, key_hash, key_hint, key_kind, new_key
from aegis_gateway.domain.people import Permission
from aegis_gateway.domain.proposal import Manner, Proposal
from aegis_gateway.domain.registry import Agent, Key, Registry, Throttle, credential_key
from aegis_gateway.domain.replication import too_many_agents
from aegis_gateway.domain.risk import Appraisal


class IssuedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made, with its secret: the one time that it is seen."""

    key: Key
    secret: str


def _refuse_changed(change: RegistryChange, tenant: str, agent: Agent) -> None:
    """Refuse an agent that is another than it was: what it may do now can't be told.

    Raises:
        NotPermitted: it is.
    """
    before = change.agents(tenant).get(agent.id)
    has_key = any(key.agent == agent.id and key.revoked_ns is None for key in change.keys(tenant).values())
    if before != agent and (before is not None or has_key):
        raise NotPermitted(
            f"agent `{agent.id}` is there already, and two people are needed to change it in `{tenant}`: write it into "
            "aegis.yaml as it shall be, and `aegis apply` proposes it"
        )


def _needed(
    appraisal: Appraisal, back_to: int | None, *, is_emergency: bool, approves: int | None
) -> Permission:
    """What whoever puts a configuration in force must be permitted."""
    if approves is not None:
        return "approve"
    if is_emergency and appraisal.asking:
        return "emergency"
    return "apply" if back_to is None else "roll_back"


OwnersBound = Callable[[Mapping[str, Agent]], None]
"""Raises ConfigurationError where owners would have too many agents, given those that are stored, under the lock."""
OwnersBounds = Mapping[str, OwnersBound]
"""Such bounds by tenant."""
NO_OWNERS_BOUNDS: OwnersBounds = {}


def no_bound(_stored: Mapping[str, Agent]) -> None:
    """Any number of agents may be registered."""


def owners_bound(registry: Registry) -> OwnersBound:
    """The bound of a tenant's configuration, whose own agents come first."""

    def refuse(stored: Mapping[str, Agent]) -> None:
        if registry.replication_mode != "enforce":
            return
        owners = [agent.owner for agent in {**stored, **registry.agents}.values()]
        found = too_many_agents(registry.replication, owners)
        if found:
            raise ConfigurationError(f"{registry.tenant}: " + "; ".join(found))

    return refuse


class Administration:
    """The operators' use cases, over the registry. Each is done only if the caller may, and recorded in their name."""

    def __init__(
        self,
        store: RegistryStore,
        pepper: bytes,
        signatures: Signatures,
        random_bytes: Callable[[int], bytes],
        caller: Caller,
    ) -> None:
        """`pepper` is the installation's secret that keys are hashed under; `signatures` sign what is applied."""
        self._store = store
        self._pepper = pepper
        self._signatures = signatures
        self._random_bytes = random_bytes
        self._operators = Operators(store, pepper, caller)

    def apply(
        self,
        files: dict[str, str],
        tenants: Iterable[str],
        *,
        appraisal: Appraisal,
        note: str = "",
        back_to: int | None = None,
        seeding: Sequence[Seeding] = (),
        watch: Watch | None = None,
        canary: Canary | None = None,
        ends: int | None = None,
        is_emergency: bool = False,
        approves: int | None = None,
        bounds: OwnersBounds = NO_OWNERS_BOUNDS,
    ) -> ConfigVersion | Proposal:
        """Make a configuration, which must have been checked, the one in force, for all its tenants at once.

        `tenants` are those that the configuration names; `back_to` is the version whose files these are, if it is one.
        The same files again change nothing. What is applied is signed. `seeding` is what it changes about budgets'
        windows; a version that does is not taken back by itself, whatever `watch` says.

        As a `canary` it is in force for some agents only, beside the version that is in force now. While there is one,
        nothing else is applied but what `ends` it, named by its version.

        `appraisal` says what it widens: where that wants two people it is only proposed, unless it `approves` a
        proposal, which must be just this, or is an emergency, which another person reviews later.
        `bounds` say of each tenant what is wrong with how many agents its owners would have.

        Raises:
            ConfigurationError: there is no private key to sign with, or a canary that is under way forbids it, or it
                was not appraised on what is in force, or an owner would have too many agents.
            NotPermitted: who applies may not, or is not certainly somebody else than who proposed it.
        """
        if canary is None and ends is None and approves is None:
            newest = self._store.state().config
            if newest is not None and newest.files == files and is_intact(newest, self._signatures):
                return newest
        reset = _reset(seeding)
        if canary is not None and reset:
            raise ConfigurationError(
                f"budget `{reset[0]}` would count in other windows, and it can't do both at once; "
                "apply this without a canary, or change the budget first"
            )
        known = self._store.epochs()
        named = sorted(tenants)
        affected = sorted(set(named) | set(known))
        asking = appraisal.asking
        manner = Manner(back_to=back_to, canary=canary, ends=ends, stays=watch is None)
        permission = _needed(appraisal, back_to, is_emergency=is_emergency, approves=approves)
        with self._operators.act(permission, affected) as act:
            change = act.change
            # Read again under the lock: of two that apply at once, the second is told to look at what the first did.
            latest = change.latest_config()
            if (latest.version if latest else 0) != appraisal.based_on:
                raise ConfigurationError(
                    "another configuration was put in force meanwhile; look at it and plan again"
                )
            for tenant, bound in bounds.items():
                bound(change.agents(tenant) if tenant in known else {})
            beside = canary_beside(latest, files, canary, ends)
            author = ""
            if approves is not None:
                proposal = approved(act, approves, files, appraisal, manner, note=note)
                author, note = proposal.author, proposal.note
            else:
                act.require(appraisal.risk.tenants or affected)
                if asking and not is_emergency:
                    return proposed(act, files, appraisal, manner, note=note)
            new = [tenant for tenant in named if tenant not in known]
            for tenant in new:
                change.create_tenant(tenant)
            record_people(act, new)
            version = signed(
                ConfigVersion(
                    version=latest.version + 1 if latest else 1,
                    files=files,
                    applied_by=author or act.operator.name,
                    approved_by=act.operator.name if author else "",
                    risk=appraisal.risk.level,
                    applied_ns=change.now_ns,
                    note=note,
                    previous=latest.bundle_digest if latest else "",
                    back_to=back_to,
                    canary=beside,
                    watch=None if reset else watch,
                ),
                self._signatures,
            )
            change.save_config(version)
            rows = [row for each in seeding for row in each.rows(change.now_ns)]
            change.write(Changes(standings=with_notes(rows, change)))
            record: dict[str, object] = {
                "config_version": version.version,
                "files_sha256": version.digest,
                "bundle_sha256": version.bundle_digest,
            }
            if note:
                record["note"] = note
            if back_to is not None:
                record["back_to"] = back_to
            if version.canary is not None:
                record["canary"] = msgspec.to_builtins(version.canary)
            if ends is not None:
                record["ends_canary"] = ends
            if approves is not None:
                record |= {"proposal": approves, "author": author}
            elif asking:
                emergency = proposed(act, files, appraisal, manner, note=note, emergency=version.version)
                record |= {"proposal": emergency.number, "emergency": True}
            if canary is None:
                limits = {each.tenant: each.limits for each in seeding}
                note_limits(act, limits, version.version, by=version.applied_by, reason=version.note)
            act.record(affected, "configuration", record)
        return version

    def save_agents(
        self, tenant: str, agents: Iterable[Agent], *, four_eyes: bool, bound: OwnersBound = no_bound
    ) -> None:
        """Register agents, new or changed, all or none. They must have been checked.

        Raises:
            ConfigurationError: an owner would have more agents than they may (`bound`).
            NotPermitted: one is not new, and where `four_eyes` is set that is not one person's to change.
        """
        with self._act(tenant, "agents") as act:
            for agent in agents:
                if four_eyes:
                    _refuse_changed(act.change, tenant, agent)
                act.change.save_agent(tenant, agent)
                act.record([tenant], "agent", {"agent": msgspec.to_builtins(agent)})
            bound(act.change.agents(tenant))

    def adopt(
        self, tenant: str, agent: Agent, digest: bytes, *, four_eyes: bool, bound: OwnersBound = no_bound
    ) -> None:
        """Register an agent that was a stranger so far: whoever brings the credential with this hash is that agent.

        Raises:
            ConfigurationError: the credential is an agent's already.
            NotPermitted: as with `save_agents`.
        """
        with self._act(tenant, "agents") as act:
            change = act.change
            if four_eyes:
                _refuse_changed(change, tenant, agent)
            key = credential_key(digest, agent.id, change.now_ns)
            before = change.keys(tenant).get(key.id)
            if before is not None:
                raise ConfigurationError(
                    f"the credential is agent `{before.agent}`'s already; `aegis key list` shows it"
                )
            change.save_agent(tenant, agent)
            bound(change.agents(tenant))
            act.record([tenant], "agent", {"agent": msgspec.to_builtins(agent)})
            change.save_key(tenant, key)
            act.record([tenant], "key", {"act": "adopt", "key": key.id, "agent": agent.id})

    def issue_key(self, tenant: str, agent: str, kind: KeyKind = "live") -> IssuedKey:
        """Make a key for an agent, which must exist."""
        with self._act(tenant, "keys") as act:
            return self._issue(act, tenant, agent, kind, {"act": "issue"})

    def rotate_key(self, tenant: str, key_id: str, grace_ns: int) -> IssuedKey:
        """Make a new key in place of one that stays valid for the grace time. What holds the old one holds the new.

        Raises:
            ConfigurationError: there is no such key, or it is not valid any more.
        """
        with self._act(tenant, "keys") as act:
            change = act.change
            old = self._known(change, tenant, key_id)
            if old.is_over(change.now_ns):
                raise ConfigurationError(f"key `{key_id}` is not valid any more; issue a new one instead")
            # A key that is being replaced already isn't given more time by replacing it again.
            expires_ns = min(change.now_ns + grace_ns, old.expires_ns or change.now_ns + grace_ns)
            change.save_key(tenant, msgspec.structs.replace(old, expires_ns=expires_ns))
            kind = key_kind(old.hint)
            return self._issue(act, tenant, old.agent, kind, {"act": "rotate", "replaces": key_id}, old)

    def revoke_key(self, tenant: str, key_id: str, reason: str = "") -> Key:
        """Make a key invalid from the very next call on. The `reason` stands in the record.

        Raises:
            ConfigurationError: there is no such key.
        """
        with self._act(tenant, "keys") as act:
            key = self._known(act.change, tenant, key_id)
            revoked = msgspec.structs.replace(key, revoked_ns=key.revoked_ns or act.change.now_ns)
            act.change.save_key(tenant, revoked)
            record: dict[str, object] = {"act": "revoke", "key": key_id, "agent": key.agent}
            act.record([tenant], "key", {**record, "reason": reason} if reason else record)
            return revoked

    def throttle_key(self, tenant: str, key_id: str, throttle: Throttle | None) -> Key:
        """Limit how often a key may be used, or lift the limit.

        Raises:
            ConfigurationError: there is no such key.
        """
        with self._act(tenant, "keys") as act:
            key = msgspec.structs.replace(self._known(act.change, tenant, key_id), throttle=throttle)
            act.change.save_key(tenant, key)
            limit = (
                None if throttle is None else {"limit": throttle.limit, "period_ns": str(throttle.period_ns)}
            )
            record: dict[str, object] = {
                "act": "throttle",
                "key": key_id,
                "agent": key.agent,
                "throttle": limit,
            }
            act.record([tenant], "key", record)
            return key

    @contextmanager
    def _act(self, tenant: str, permission: Permission) -> Iterator[Act]:
        """Hold one tenant.

        Raises:
            ConfigurationError: there is no such tenant.
            NotPermitted: who calls may not do this there.
        """
        with self._operators.act(permission, [tenant]) as act:
            if tenant not in act.change.heads:
                raise ConfigurationError(
                    f"there is no tenant `{tenant}`; `aegis apply DIR` makes those of its file"
                )
            act.require([tenant])
            yield act

    def _issue(
        self,
        act: Act,
        tenant: str,
        agent: str,
        kind: KeyKind,
        record: dict[str, object],
        old: Key | None = None,
    ) -> IssuedKey:
        """Make a key, in place of an `old` one if there is one. It is held as that one is, and as its agent is."""
        secret = new_key(self._random_bytes, kind)
        holds = old.holds if old is not None else _holds_of_agent(act.change, tenant, agent)
        if any(hold.acts for hold in holds):
            record = {**record, "held_by": sorted({hold.by or hold.rule for hold in holds if hold.acts})}
        key = Key(
            id=f"key_{self._random_bytes(6).hex()}",
            agent=agent,
            hash=key_hash(secret, self._pepper),
            hint=key_hint(secret),
            issued_ns=act.change.now_ns,
            throttle=old.throttle if old is not None else None,
            holds=holds,
        )
        act.change.save_key(tenant, key)
        act.record([tenant], "key", {**record, "key": key.id, "agent": agent})
        return IssuedKey(key=key, secret=secret)

    def _known(self, change: RegistryChange, tenant: str, key_id: str) -> Key:
        key = change.keys(tenant).get(key_id)
        if key is None:
            raise ConfigurationError(f"there is no key `{key_id}`; `aegis key list` shows those there are")
        return key


def _holds_of_agent(change: RegistryChange, tenant: str, agent: str) -> tuple[Hold, ...]:
    """What a person holds all keys of an agent by."""
    found = {
        hold.scope: hold
        for key in change.keys(tenant).values()
        for hold in key.holds
        if key.agent == agent and hold.by and hold.scope == agent and not hold.is_over(change.now_ns)
    }
    return tuple(found.values())


def _reset(seeding: Sequence[Seeding]) -> list[str]:
    """The budgets whose windows change."""
    return [budget for each in seeding for budget in each.budgets]
