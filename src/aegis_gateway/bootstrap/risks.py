"""What a configuration would widen or narrow, and which of its rules were not tried in shadow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from aegis_gateway.adapters.cedar import Files, policy_bodies
from aegis_gateway.application.ports import StoredState
from aegis_gateway.bootstrap.configurations import of_version, policy_files, with_stored
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.risk import Appraisal, Finding, PolicyBody, Risk, Stance
from aegis_gateway.domain.risk_of_changes import risk_of
from aegis_gateway.domain.trials import Rules, Untried, rules_of, untried, wanting_trial


def appraisal(old: Configuration | None, new: Configuration, state: StoredState) -> Appraisal:
    """What a configuration would widen or narrow in place of what is in force, with the agents that are stored.

    Where what is in force can't be loaded (`old` is None, and there is some), everything may widen, and two people are
    needed where the new one says so.
    """
    newest = state.canary or state.config
    if newest is None:
        return Appraisal()
    before, after = _stances(old, state) if old is not None else {}, _stances(new, state)
    asked = before or after
    return Appraisal(
        based_on=newest.version,
        risk=risk_of(before, after),
        four_eyes=tuple(sorted(tenant for tenant, stance in asked.items() if stance.registry.four_eyes)),
    )


def untried_rules(
    old: Configuration,
    new: Configuration,
    state: StoredState,
    versions: Callable[[], Iterator[ConfigVersion]],
    now_ns: int,
) -> tuple[Untried, ...]:
    """What a configuration would let act before it has been in shadow for as long as its tenant demands.

    `versions` are all that were ever in force, the newest first.
    """
    before, after = _stances(old, state), _stances(new, state)
    risk = risk_of(before, after)
    wanting = {
        tenant: names
        for tenant, stance in after.items()
        if tenant in before and before[tenant].registry.shadow_for_ns
        if (names := wanting_trial(before[tenant], stance, _findings_of(risk, tenant)))
    }
    if not wanting:
        return ()
    history: list[tuple[int, dict[str, Stance]]] = []
    longest_ns = max(before[tenant].registry.shadow_for_ns for tenant in wanting)
    for version in versions():
        if version.canary is None:
            history.append((version.applied_ns, _stances_then(version, state)))
            if version.applied_ns <= now_ns - longest_ns:
                break
    return tuple(
        each
        for tenant, names in wanting.items()
        for each in untried(
            tenant,
            names,
            rules_of(after[tenant]),
            [(at_ns, rules_of(then[tenant]) if tenant in then else {}) for at_ns, then in history],
            before[tenant].registry.shadow_for_ns,
            now_ns,
        )
    )


def in_shadow_since(
    current: Configuration,
    state: StoredState,
    versions: Callable[[], Iterator[ConfigVersion]],
    tenant: str,
    most: int,
) -> dict[str, int]:
    """Since when each rule of a tenant is in shadow as it is now, by the name that trials have for it.

    `versions` are all that were ever in force, the newest first; so many of them are looked at.
    """
    now = rules_of(_stances(current, state)[tenant])
    names = [name for name, (mode, _) in now.items() if mode == "shadow"]

    def history() -> Iterator[tuple[int, Rules]]:
        for version in islice((each for each in versions() if each.canary is None), most):
            stances = _stances_then(version, state)
            yield version.applied_ns, rules_of(stances[tenant]) if tenant in stances else {}

    if not names:
        return {}
    found = untried(tenant, names, now, history(), period_ns=2**62, now_ns=2**62)
    return {each.rule: each.since_ns for each in found if each.since_ns is not None}


def _findings_of(risk: Risk, tenant: str) -> Iterator[Finding]:
    return (finding for finding in risk.findings if finding.tenant == tenant)


def _stances_then(version: ConfigVersion, state: StoredState) -> dict[str, Stance]:
    """As of a version that was in force; none where only an older version of Aegis could tell what it meant."""
    try:
        return _stances(of_version(version), state)
    except ConfigurationError:
        return {}


def _stances(loaded: Configuration, state: StoredState) -> dict[str, Stance]:
    bodies: dict[Files, dict[str, PolicyBody]] = {}
    stances = {}
    for tenant, files in policy_files(loaded).items():
        if files not in bodies:
            bodies[files] = policy_bodies(files)
        stored = state.tenants.get(tenant)
        keys = stored.keys if stored else ()
        stances[tenant] = Stance(
            registry=with_stored(loaded.registries[tenant], stored),
            policies=bodies[files],
            keyed=frozenset(key.agent for key in keys if key.revoked_ns is None),
        )
    return stances
