"""The pages of agents: all of a tenant, and one of them, with its keys and forms for who may hold them.

Rule: looking changes nothing; what is done to keys is the use case of `aegis key …`, in the reader's own name.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from aegis_gateway.adapters.agent_reports import LOOKED_AT
from aegis_gateway.application.ports import Store
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.agent_state import AGENT_STATE_WORDS, AGENT_STATES
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.people import may
from aegis_gateway.domain.registry import Registry
from aegis_gateway.entrypoints.agents.account import KEYS_LISTED, AgentAccount, account_of
from aegis_gateway.entrypoints.agents.advice import advice_on
from aegis_gateway.entrypoints.agents.policy_texts import PolicyText, PolicyTexts
from aegis_gateway.entrypoints.agents.roster import roster
from aegis_gateway.entrypoints.call_account import cost_text
from aegis_gateway.entrypoints.cli.key_holds import holds_words
from aegis_gateway.entrypoints.people.agents.account_export import TABLES
from aegis_gateway.entrypoints.people.agents.export import AGENT_COLUMNS, agent_rows
from aegis_gateway.entrypoints.people.agents.keys import KeyForm, act_on_keys
from aegis_gateway.entrypoints.people.agents.view import LISTED_MAX, AgentsView, view_of
from aegis_gateway.entrypoints.people.calls.view import EFFECT_WORDS, STATE_WORDS
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.overview.desk import OverviewDesk, name_of
from aegis_gateway.entrypoints.people.overview.periods import RANGE_WORDS, Range, range_of
from aegis_gateway.entrypoints.people.overview.view import View
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence

SINCE_OF: dict[Range, str] = {
    "today": "24h",
    "24h": "24h",
    "7d": "7d",
    "30d": "30d",
    "90d": "90d",
    "month": "31d",
}
"""Since when the page of calls shows those of a period: all of them, and maybe some before."""


def show_all(visit: Visit) -> Response:
    """A tenant's agents, the dearest first."""
    view = _view(visit)
    if view is None:
        return visit.without_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        lines = roster(store.query, registry, store.clock_ns())
    found = view.of(lines)
    start = (view.page - 1) * LISTED_MAX
    return living(
        visit,
        "agents/all.html",
        view=view,
        registry=registry,
        tenants=visit.readable,
        lines=found[start : start + LISTED_MAX],
        start=start,
        count=len(found),
        all_count=len(lines),
        pages=-(-len(found) // LISTED_MAX),
        total_today=sum(each.today for each in found),
        total_month=sum(each.month for each in found),
        total_lately=sum(each.lately for each in found),
        states=[(each, sum(line.state == each for line in lines)) for each in AGENT_STATES],
        state_words=AGENT_STATE_WORDS,
        teams=sorted({each.team for each in lines if each.team}),
        owners=sorted({each.owner for each in lines if each.owner}),
    )


def export_table(visit: Visit) -> Response:
    """The same agents as a file, all of them."""
    view = _view(visit)
    if view is None:
        return visit.no_tenant()
    registry = visit.office.tenants()[view.tenant].registry
    with visit.office.store() as store:
        found = view.of(roster(store.query, registry, store.clock_ns()))
    return table_file(visit, f"{view.tenant}-agents", AGENT_COLUMNS, agent_rows(found))


class AgentPages:
    """The pages of one agent."""

    def __init__(self, settings: Settings, texts: PolicyTexts) -> None:
        """Read nothing yet."""
        self._settings = settings
        self._texts = texts

    def show_one(self, visit: Visit) -> Response:
        """One agent in full."""
        registry = _registry(visit)
        if registry is None:
            return none_of(visit)
        with visit.office.store() as store:
            return self._one(visit, store, registry)

    def export_one(self, visit: Visit) -> Response:
        """One of its tables as a file; which, the address says."""
        registry, named = _registry(visit), visit.query.get("of", "")
        if registry is None or named not in TABLES:
            return none_of(visit)
        with visit.office.store() as store:
            account = account_of(
                store.query, registry, visit.at["agent"], range_of(visit.query), store.clock_ns()
            )
        if account is None:
            return none_of(visit)
        table = TABLES[named]
        name = f"{account.id}-{named}-{account.period.range}"
        return table_file(visit, name, table.columns, table.rows(account, registry))

    def act_on_keys(self, visit: Visit) -> Response:
        """Hold, restore or revoke keys. Where that can't be, the page says why."""
        registry = _registry(visit)
        if registry is None:
            return none_of(visit)
        form = KeyForm.of(visit)
        with visit.office.store() as store:
            account = account_of(store.query, registry, visit.at["agent"], "7d", store.clock_ns())
            if account is None:
                return none_of(visit)
            try:
                act_on_keys(visit, store, self._settings, registry, account, form)
            except (ConfigurationError, NotPermitted) as fault:
                status = 403 if isinstance(fault, NotPermitted) else 400
                error = sentence(f"nothing was done: {fault}")
                return self._one(visit, store, registry, status=status, error=error, form=form)
        return redirect(f"{address_of(registry.tenant, account.id)}#keys")

    def _one(
        self,
        visit: Visit,
        store: Store,
        registry: Registry,
        *,
        status: int = 200,
        error: str = "",
        form: KeyForm | None = None,
    ) -> Response:
        now_ns = store.clock_ns()
        range_ = range_of(visit.query)
        account = account_of(store.query, registry, visit.at["agent"], range_, now_ns)
        if account is None:
            return none_of(visit)
        tenant = registry.tenant
        view = View(tenant=tenant, range=range_, by="model", of=(("agent", account.id),))
        desk = OverviewDesk(store, registry)
        spending = desk.spending(view)
        here = address_of(tenant, account.id)
        values: dict[str, Any] = {
            "account": account,
            "registry": registry,
            "tenant": tenant,
            "here": here,
            "table": f"{here}/table.csv?range={range_}&of=",
            "view": view,
            "spending": spending,
            "series": desk.series(spending),
            "texts": self._policies(visit, store, account),
            "advice_on": advice_on,
            "may_keys": may(visit.person, "keys", tenant),
            "reason_max": REASON_CHARACTERS_MAX,
            "keys_listed": KEYS_LISTED,
            "looked_at": LOOKED_AT,
            "ranges": list(RANGE_WORDS.items()),
            "since": SINCE_OF[range_],
            "name_of": name_of,
            "cost_text": cost_text,
            "effect_words": EFFECT_WORDS,
            "call_state_words": STATE_WORDS,
            "state_words": AGENT_STATE_WORDS,
            "holds_words": lambda key: holds_words(key, now_ns),
            "error": error,
            "form": form or KeyForm(),
        }
        if error:
            page = visit.render("agents/one.html", {**values, "is_part": False, "seen": ""})
            return visit.answer(page, status)
        return living(visit, "agents/one.html", **values)

    def _policies(self, visit: Visit, store: Store, account: AgentAccount) -> dict[str, PolicyText]:
        """The policies that refused it something, by id."""
        rules = {each.rule for each in account.refusals if each.rule and ":" not in each.rule}
        if not rules:
            return {}
        version = visit.office.tenants()[account.tenant].config_version
        sees_shared = visit.office.sees_shared(visit.person)
        found = self._texts.of(store, account.tenant, version, sees_shared=sees_shared)
        return {name: text for name, text in found.items() if name in rules}


def address_of(tenant: str, agent: str) -> str:
    """The page of an agent."""
    return f"/agents/{quote(tenant, safe='')}/{quote(agent)}"


def _view(visit: Visit) -> AgentsView | None:
    """What is asked for; None where it is of no tenant that the reader may see."""
    tenant = visit.tenant
    return None if tenant is None else view_of(visit.query, tenant)


def _registry(visit: Visit) -> Registry | None:
    """The registry of an address's tenant; None where the reader may not see it."""
    tenant = visit.at["tenant"]
    return visit.office.tenants()[tenant].registry if tenant in visit.readable else None


def none_of(visit: Visit) -> Response:
    """What is said of an agent that isn't there, or that whoever is signed in may not see."""
    return visit.failure(
        404,
        "There is no such agent",
        "The address may have been cut when it was copied, it was never registered and never called, or it is an "
        "agent of a tenant that you may not see.",
    )
