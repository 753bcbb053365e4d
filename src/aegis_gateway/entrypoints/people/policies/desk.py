"""The rules of a tenant with what they did, as one reader sees them.

Rule 1: what is in force is read as it was signed; what was done, from the sums that are kept of it, in one query.
Rule 2: a policy that holds for all tenants may name any of them; of its text, whom it is about and how it was changed,
        who may not see them all is shown nothing, and `q` finds nothing of it for them.
Rule 3: rules that did something in the period and hold no longer are told too, and so is what isn't a policy (budgets,
        rates, the want of a permit): nothing that was refused is without a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.rows import versions_in_force
from aegis_gateway.adapters.rule_reports import WOULD, RuleAgent, RuleDid, RuleReports
from aegis_gateway.application.ports import Store
from aegis_gateway.bootstrap import PolicyOrigin
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import VersionForged
from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.money import usd_short
from aegis_gateway.domain.rule_name import NO_PERMIT
from aegis_gateway.domain.shadow_rules import WOULD as WOULD_WORDS
from aegis_gateway.entrypoints.agents.policy_texts import is_shared
from aegis_gateway.entrypoints.people.overview.periods import Period, period_of
from aegis_gateway.entrypoints.people.policies.history import RuleChange, Since, changes_of, since_when
from aegis_gateway.entrypoints.people.policies.sources import RuleSource
from aegis_gateway.entrypoints.people.policies.versions import AppliedVersions
from aegis_gateway.entrypoints.people.policies.view import PoliciesView

DID_WORDS = {
    "permitted": "let through",
    "denied_by_policy": "refused",
    "policy_error": "could not be evaluated, and so refused",
    "no_permit": "refused",
    "capped": "capped",
    "downgraded": "downgraded",
    "throttled": "counted against its rate",
    "rate_limited": "throttled",
    "redacted": "redacted",
    "approval_required": "asked about",
    "budget_exhausted": "refused",
    "budget_measure": "held back",
    "too_many_instances": "refused",
    "unbounded_cost": "refused",
    "too_deep": "refused",
    "too_many_runs": "refused",
}
"""What a rule did, by the code of the reason."""

REFUSED = frozenset(
    {
        "denied_by_policy",
        "policy_error",
        NO_PERMIT,
        "rate_limited",
        "approval_required",
        "budget_exhausted",
        "budget_measure",
        "too_many_instances",
        "unbounded_cost",
        "too_deep",
        "too_many_runs",
    }
)
"""Those that kept a call from being sent."""

_LISTED_BACK = 30
"""So many versions are looked at to tell since when each rule of a list stands as it does."""
_OTHERS = {
    "budget": "a budget",
    "rate": "a rate limit",
    "replication": "a bound of owners",
    NO_PERMIT: "the want of a permit",
}


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule with what it did in a period. Without an `origin` it is none that stands among the policies now.

    `effect` is the policy's (`permit`, `deny`…), `mode` whether it acts, is in shadow, or is gone.
    """

    id: str
    mode: str
    effect: str
    about: str
    did: tuple[RuleDid, ...]
    origin: PolicyOrigin | None = None
    policy: Policy | None = None
    since: Since | None = None

    @property
    def calls(self) -> int:
        """To how many calls it did what it did most."""
        return max((each.calls for each in self.did), default=0)

    @property
    def decides(self) -> bool:
        """Whether it decided some calls, rather than changed what another let through."""
        return any(each.did == "permitted" or each.did in REFUSED for each in self.did)

    @property
    def told(self) -> list[tuple[str, str]]:
        """What it did, each in words, with the money in it."""
        return [(_words(each), _money(each)) for each in self.did]

    def has(self, text: str) -> bool:
        """Whether a text stands in what is shown of it."""
        origin = self.origin
        shown = [self.id, self.about]
        if origin is not None:
            shown += [origin.message, origin.who, origin.what, origin.when, origin.file, origin.cedar]
        return any(text.casefold() in each.casefold() for each in shown)


class PoliciesDesk:
    """What pages of policies ask, on a store."""

    def __init__(
        self, store: Store, versions: AppliedVersions, tenant: str, zone: str, *, sees_shared: bool
    ) -> None:
        """`zone` is the tenant's time zone; `sees_shared`: the reader may see what is written for all tenants."""
        self._sees_shared = sees_shared
        self._versions = versions
        self._tenant = tenant
        self._zone = zone
        self._store = store
        self._reports = Reports(store.query)
        self._rules = RuleReports(store.query)

    def period(self, view: PoliciesView) -> Period:
        """The period that is looked at."""
        return period_of(view.range, self._zone, self._store.clock_ns())

    def in_force(self) -> ConfigVersion | None:
        """The version that decides for whoever isn't a canary's.

        Raises:
            VersionForged: it is not as it was signed.
        """
        found = next(iter(versions_in_force(self._store.rows)), None)
        if found is not None and not self._versions.is_intact(found):
            raise VersionForged(
                f"configuration {found.version} in the store is not what was signed; `aegis versions verify` says more"
            )
        return found

    def rules(self, view: PoliciesView, *, only: str | None = None) -> list[Rule]:
        """The rules that are wanted, those that act first, by what they do, what did most first."""
        period = self.period(view)
        did: dict[str, list[RuleDid]] = {}
        for each in self._rules.did(self._tenant, period.since_ns, period.until_ns):
            did.setdefault(each.rule, []).append(each)
        found = list(self._standing(did)) + [
            Rule(id=name, mode=_mode_of(name), effect="", about=_about(name), did=tuple(each))
            for name, each in did.items()
        ]
        if only is not None:
            return [each for each in found if each.id == only]
        wanted = [
            each
            for each in found
            if view.effect in ("", each.effect)
            and view.mode in ("", each.mode)
            and (not view.text or each.has(view.text))
        ]
        return sorted(wanted, key=lambda each: (each.origin is None, -each.calls, each.id))

    def _standing(self, did: dict[str, list[RuleDid]]) -> Iterable[Rule]:
        """The policies in force; what they did is taken out of what all rules did."""
        version = self.in_force()
        if version is None:
            return
        loaded = self._versions.configuration(version)
        if self._tenant not in loaded.registries:
            return
        lasting = self._versions.lasting(self._reports, version.version, _LISTED_BACK)
        since = since_when((each, self._versions.sources(each, self._tenant)) for each in lasting)
        policies = bootstrap.compiled_policies(loaded, self._tenant).rules
        all_in_shadow = loaded.registries[self._tenant].proxy is not None
        for origin in bootstrap.policy_origins(loaded, self._tenant):
            policy = policies[origin.id]
            is_shown = self._shows(origin.file)
            yield Rule(
                id=origin.id,
                mode="shadow" if all_in_shadow else policy.mode,
                effect=policy.effect,
                about=_about_of(origin) if is_shown else "for all tenants",
                did=tuple(did.pop(origin.id, ())),
                origin=origin
                if is_shown
                else msgspec.structs.replace(origin, who="", what="", when="", cedar=""),
                policy=policy if is_shown else None,
                since=since.get(origin.id),
            )

    def source(self, rule: str) -> RuleSource | None:
        """A rule's own text, as it was written; empty where the reader may not see it."""
        version = self.in_force()
        found = None if version is None else self._versions.sources(version, self._tenant).get(rule)
        if found is None or self._shows(found.file):
            return found
        return msgspec.structs.replace(found, text="")

    def history(self, rule: str) -> list[RuleChange]:
        """What versions did to a rule, the newest first; without the lines where the reader may not see them."""
        lasting = self._versions.lasting(self._reports, 2**31 - 1)
        versions = [(each, self._versions.sources(each, self._tenant)) for each in lasting]
        found = changes_of(rule, versions)
        if all(self._shows(sources[rule].file) for _, sources in versions if rule in sources):
            return found
        return [msgspec.structs.replace(each, lines=()) for each in found]

    def _shows(self, file: str) -> bool:
        """Whether the reader may see what stands in a file of the configuration about this tenant."""
        return self._sees_shared or not is_shared(file, self._tenant)

    def over_time(self, rule: str, period: Period) -> list[dict[str, int]]:
        """How many calls a rule did what to, in each hour or day of a period."""
        stretches = [(each.since_ns, each.until_ns) for each in period.stretches]
        return self._rules.over_time(self._tenant, rule, stretches)

    def agents(self, rule: str, period: Period) -> list[RuleAgent]:
        """Whose calls a rule decided."""
        return self._rules.agents(self._tenant, rule, period.since_ns, period.until_ns)


def calls_address(tenant: str, rule: str, range_: str) -> str:
    """Where the calls stand that a rule decided in a period."""
    since = {"today": "24h", "month": "30d"}.get(range_, range_)
    return "/calls?" + urlencode({"tenant": tenant, "rule": rule, "since": since})


def settings_of(policy: Policy) -> list[tuple[str, str]]:
    """What a policy says of itself beside its condition: its annotations, as they are understood."""
    shown = [("id", policy.id), ("effect", policy.effect), ("mode", policy.mode)]
    if policy.output_tokens_max is not None:
        shown.append(("most output tokens", f"{policy.output_tokens_max:,}"))
    if policy.cost_max_nano_usd is not None:
        shown.append(("most cost", usd_short(policy.cost_max_nano_usd)))
    if policy.model:
        shown.append(("model instead", policy.model))
    if policy.limit:
        every = f"{policy.period_ns / 1_000_000_000:g} s"
        shown.append(("rate", f"{policy.limit:,} in {every}, for each {policy.per}"))
    if policy.kinds:
        shown.append(("kinds", ", ".join(policy.kinds)))
    if policy.fields:
        shown.append(("fields", ", ".join(policy.fields)))
    if policy.effect == "redact":
        shown.append(("in", " and ".join(policy.sides)))
    if policy.approvers:
        shown.append(("approvers", policy.approvers))
    if policy.reason:
        shown.append(("reason", policy.reason))
    return shown


def _words(each: RuleDid) -> str:
    if each.is_shadow:
        would = WOULD_WORDS.get(each.did.removeprefix(WOULD), each.did)
        return f"{would} {each.calls:,}"
    return f"{DID_WORDS.get(each.did, each.did.replace('_', ' '))} {each.calls:,}"


def _money(each: RuleDid) -> str:
    if each.is_shadow:
        return f"at most {usd_short(each.expected)}"
    if each.did == "permitted":
        return f"{usd_short(each.cost)} spent"
    if each.did in REFUSED:
        return f"{usd_short(each.expected)} not spent"
    return f"{usd_short(each.expected)} expected"


def _mode_of(name: str) -> str:
    return "enforce" if name == NO_PERMIT or (name.partition(":")[0] in _OTHERS and ":" in name) else "gone"


def _about_of(origin: PolicyOrigin) -> str:
    return f"{origin.who}: {origin.what}" + (f", {origin.when}" if origin.when else "")


def _about(name: str) -> str:
    kind = name.partition(":")[0]
    if name == NO_PERMIT or ":" in name:
        return _OTHERS.get(kind, "")
    return "a policy or rule that is no longer in force"
