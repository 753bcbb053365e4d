"""How far the rollout is, read from a store, as commands, pages and the control API tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.adapters.rollout_reports import RolloutReports
from aegis_gateway.adapters.usage_reports import UsageReports
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Store, StoredState
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.judge import Policy
from aegis_gateway.domain.registry import CREDENTIAL, UNREGISTERED, Agent, Registry
from aegis_gateway.domain.replication import REPLICATION
from aegis_gateway.domain.rollout import Measure, Rollout, Step
from aegis_gateway.domain.rollout_facts import (
    PERIOD_DAYS,
    AlertChannel,
    MoneyBudget,
    RegisteredAgent,
    RolloutFacts,
    Rule,
    Stranger,
    Team,
)
from aegis_gateway.domain.rollout_steps import rollout_of
from aegis_gateway.domain.usage import DAY_NS
from aegis_gateway.entrypoints.cli.session import Session

VERSIONS_MOST = 50
"""So many versions are looked at to tell since when a rule is in shadow."""

_TAGS = {"owner": "owner", "team": "team", "cost_centre": "cost centre", "purpose": "purpose"}
_TELLS = ("notify", "incident")
_LIMIT = 100_000


def rollout_now(session: Session, tenant: str | None) -> Rollout:
    """How far a tenant is, for whoever runs a command; where nothing is in force, how to begin.

    Raises:
        ConfigurationError: there is no such tenant, or more than one and none is named.
    """
    now_ns = session.store.clock_ns()
    if session.state.config is None and tenant is None:
        return rollout_of(RolloutFacts(tenant="", now_ns=now_ns, url=session.settings.pages_url))
    name = session.tenant(tenant)
    policies = bootstrap.compiled_policies(session.configuration, name).rules
    since = _since(session, name)
    facts = rollout_facts(
        session.store, session.registry(name), policies.values(), session.state, since, session.settings
    )
    return rollout_of(facts)


class Rollouts:
    """How far tenants are, for those who look at them often."""

    def __init__(self, settings: Settings) -> None:
        """Look up nothing yet."""
        self._settings = settings
        self._since: dict[str, tuple[int, dict[str, int]]] = {}

    def __call__(self, store: Store, view: TenantView) -> Rollout:
        """How far one is. Since when rules are in shadow is looked up once for each version."""
        tenant = view.registry.tenant
        known = self._since.get(tenant)
        if known is None or known[0] != view.config_version:
            known = (view.config_version, _since(Session(self._settings, store), tenant))
            self._since[tenant] = known
        facts = rollout_facts(
            store, view.registry, view.policies.rules.values(), store.state(), known[1], self._settings
        )
        return rollout_of(facts)


def rollout_facts(
    store: Store,
    registry: Registry,
    policies: Iterable[Policy],
    state: StoredState,
    since: Mapping[str, int],
    settings: Settings,
) -> RolloutFacts:
    """What is known of a tenant; `since` is when rules were put in shadow, by the name that trials have for them."""
    tenant, now_ns = registry.tenant, store.clock_ns()
    until_ns = now_ns - now_ns % HOUR_NS + HOUR_NS
    usage = UsageReports(store.query)
    since_ns = until_ns - PERIOD_DAYS * DAY_NS
    found = usage.by(tenant, since_ns, until_ns, ("agent", "team"), limit=_LIMIT)
    calls = Counter[str]()
    keys = state.tenants[tenant].keys if tenant in state.tenants else ()
    # Who called without a key, and was registered since, is known by now: all that they did is their agent's.
    adopted = {_stranger_of(key.id): key.agent for key in keys if key.is_own_credential}
    attributed = 0
    for each in found:
        agent, team = each.values
        calls[adopted.get(agent, agent)] += each.sums.calls
        if team != UNREGISTERED or agent in adopted:
            attributed += each.sums.cost
    keyed = {key.agent for key in keys if key.is_valid(now_ns)}
    strangers = [
        Stranger(name=agent, calls=each.sums.calls, nano_usd=each.sums.cost)
        for each in found
        for agent, team in (each.values,)
        if team == UNREGISTERED and agent not in adopted
    ]
    reports = RolloutReports(store.query)
    reviews = reports.reviews(tenant, 1)
    return RolloutFacts(
        tenant=tenant,
        now_ns=now_ns,
        url=settings.pages_url,
        teams=tuple(
            Team(id=each.id, owner=each.owner, cost_centre=each.cost_centre)
            for each in registry.teams.values()
        ),
        agents=tuple(
            RegisteredAgent(
                id=agent.id,
                missing=_missing(agent),
                calls=calls[agent.id],
                has_key=agent.id in keyed,
            )
            for agent in registry.agents.values()
        ),
        strangers=tuple(strangers),
        model=_plain_model(registry),
        calls=sum(each.sums.calls for each in found),
        spent_nano_usd=sum(each.sums.cost for each in found),
        attributed_nano_usd=attributed,
        in_proxy=registry.proxy is not None,
        takes_strangers=registry.takes_strangers,
        rules=tuple(_rules(registry, policies, since)),
        shadow_for_ns=registry.shadow_for_ns,
        budgets=tuple(
            MoneyBudget(
                id=each.id,
                mode=each.mode,
                tells=any(act.kind in _TELLS for threshold in each.thresholds for act in threshold.acts),
            )
            for each in registry.budgets.values()
            if registry.quantities[each.quantity].is_money
        ),
        channels=tuple(_channels(registry.channels.values(), reports.tested(tenant))),
        notifies=bool(registry.notify),
        seen=reports.seen(),
        has_people=bool(Reports(store.query).people()),
        review=reviews[0] if reviews else None,
    )


def rollout_record(rollout: Rollout, instant: Callable[[int], str]) -> dict[str, object]:
    """It for programs; `instant` writes a time."""
    step, review_ns = rollout.next_step, rollout.next_review_ns
    return {
        "tenant": rollout.tenant,
        "at": instant(rollout.at_ns),
        "done": rollout.done,
        "of": len(rollout.steps),
        "next_step": None if step is None else step.id,
        "next_review": None if review_ns is None else instant(review_ns),
        "steps": [_step_record(each) for each in rollout.steps],
    }


def _step_record(step: Step) -> dict[str, object]:
    then = step.then
    return {
        "id": step.id,
        "title": step.title,
        "when": step.when,
        "done": step.is_done,
        "done_when": step.is_done_when,
        "measures": [_measure_record(each) for each in step.measures],
        "missing": list(step.missing),
        "missing_count": step.missing_count,
        "next": None if then is None else {"words": then.words, "write": then.write, "command": then.command},
    }


def _measure_record(measure: Measure) -> dict[str, object]:
    return {
        "words": measure.words,
        "unit": "nano_usd" if measure.unit == "usd" else "count",
        "numerator": measure.numerator,
        "denominator": measure.denominator,
        "percent": measure.percent,
    }


def _since(session: Session, tenant: str) -> dict[str, int]:
    return bootstrap.in_shadow_since(
        session.configuration, session.state, session.reports.newest_versions, tenant, VERSIONS_MOST
    )


def _missing(agent: Agent) -> tuple[str, ...]:
    return tuple(words for field, words in _TAGS.items() if not getattr(agent, field).strip())


def _plain_model(registry: Registry) -> str:
    """A model that can be asked in the form of OpenAI's API; empty where there is none."""
    kinds = {each.id: each.kind for each in registry.connectors.values()}
    return next((each.id for each in registry.models.values() if kinds.get(each.connector) == "openai"), "")


def _rules(registry: Registry, policies: Iterable[Policy], since: Mapping[str, int]) -> Iterable[Rule]:
    """What holds calls back, by the names that rules in shadow are told by."""
    bounds = registry.replication
    things = [
        *(
            (each.id, f"policy {each.id}", "policy", each.mode)
            for each in policies
            if each.effect != "permit"
        ),
        *(
            (f"budget:{each.id}", f"budget {each.id}", "budget", each.mode)
            for each in registry.budgets.values()
        ),
        *((f"rate:{each.id}", f"rate {each.id}", "rate", each.mode) for each in registry.rates.values()),
        *([] if bounds is None else [(REPLICATION, REPLICATION, "bound of owners", bounds.mode)]),
    ]
    for name, tried_as, kind, mode in sorted(things):
        in_force = "shadow" if registry.proxy is not None else mode
        yield Rule(name=name, kind=kind, mode=in_force, since_ns=since.get(tried_as))


def _channels(channels: Iterable[Channel], tested: Mapping[str, int]) -> Iterable[AlertChannel]:
    for each in channels:
        wants = each.kind == "email" and not each.recipients
        yield AlertChannel(id=each.id, tested_ns=tested.get(each.id), wants_recipient=wants)


def _stranger_of(key: str) -> str:
    """The name that a credential had before an agent adopted it."""
    return f"{UNREGISTERED}/{key.removeprefix(CREDENTIAL)[:12]}"
