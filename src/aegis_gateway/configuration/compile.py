"""From checked entries to a registry: units become integers, paths tuples, prices versions.

What is wrong with how an entry's settings fit together is found here, and told like everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.configuration.adapting import compile_adapts, tell_of_odd_families
from aegis_gateway.configuration.compile_model import PROVIDERS, compile_model
from aegis_gateway.configuration.compile_operation import (
    compile_operation,
    compile_other_tools,
    tell_of_clashing_operations,
    tell_of_clashing_servers,
    tell_of_clashing_tools,
    tell_of_tools_named_alike,
)
from aegis_gateway.configuration.compile_thresholds import compile_thresholds
from aegis_gateway.configuration.currencies import carry_over_of, compile_currencies, currency_of
from aegis_gateway.configuration.document import (
    AgentEntry,
    BudgetEntry,
    ConnectorEntry,
    CustomerEntry,
    MatchEntry,
    ModelEntry,
    ProjectEntry,
    ProxyEntry,
    QuantityEntry,
    RateEntry,
    ReplicationEntry,
    TeamEntry,
    TenantEntry,
)
from aegis_gateway.configuration.prices import Prices
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.scaling import scaled
from aegis_gateway.configuration.words import listed, shown
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.currency import Currency
from aegis_gateway.domain.fiscal import CALENDAR_YEAR, YearOfWeeks, YearStart
from aegis_gateway.domain.moment import BusinessHours
from aegis_gateway.domain.money import NANO_PER_USD
from aegis_gateway.domain.registry import (
    BUILT_IN_QUANTITIES,
    DIMENSIONS,
    ON_THE_FLY,
    TAG,
    TOOL_KINDS,
    Agent,
    Budget,
    Connector,
    Customer,
    Deadlines,
    Match,
    Project,
    Proxy,
    Quantity,
    Rate,
    Registry,
    Team,
)
from aegis_gateway.domain.replication import Bounds, Replication
from aegis_gateway.domain.window import Window, day_start

_NANOS = 1_000_000_000
# Arrival times are kept in 64 bits.
_AHEAD_NS_MAX = 10 * 366 * 86_400 * _NANOS


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one tenant that are right in themselves, by id."""

    quantities: dict[str, QuantityEntry] = {}
    teams: dict[str, TeamEntry] = {}
    projects: dict[str, ProjectEntry] = {}
    customers: Mapping[str, CustomerEntry]
    agents: dict[str, AgentEntry] = {}
    connectors: dict[str, ConnectorEntry] = {}
    models: dict[str, ModelEntry] = {}
    budgets: dict[str, BudgetEntry] = {}
    rates: dict[str, RateEntry] = {}


def compile_tenant(
    tenant: str, settings: TenantEntry, entries: Entries, prices: Prices, problems: Problems
) -> Registry:
    """Make a tenant's registry. Where problems are told on the way, it is not to be used."""
    path: Path = ("tenants", tenant)
    quantities = BUILT_IN_QUANTITIES | {
        name: _quantity(name, entry, (*path, "quantities", name), problems)
        for name, entry in entries.quantities.items()
    }
    connectors = {
        name: _connector(name, entry, quantities, (*path, "connectors", name), problems)
        for name, entry in entries.connectors.items()
    }
    tell_of_clashing_tools(connectors.values(), (*path, "connectors"), problems)
    tell_of_clashing_servers(connectors.values(), (*path, "connectors"), problems)
    tell_of_odd_families(entries.budgets, (*path, "budgets"), problems)
    year = _fiscal_year(settings, path, problems)
    currencies = compile_currencies(settings.currencies, (*path, "currencies"), problems)
    hours = settings.business_hours
    if hours.from_hour >= hours.to_hour:
        told = (
            f"end at {hours.to_hour}, not after they begin; write hours of one day, as in {{from: 9, to: 17}}"
        )
        problems.add((*path, "business_hours"), told)
    return Registry(
        tenant=tenant,
        name=settings.name or tenant,
        zone=settings.timezone,
        year_starts=year,
        regions=settings.regions,
        four_eyes=settings.changes.four_eyes,
        shadow_for_ns=settings.changes.shadow_for or 0,
        replication=_replication(settings.replication),
        proxy=_proxy(settings.proxy, entries, (*path, "proxy", "unlisted_models"), problems),
        business_hours=BusinessHours(
            from_hour=hours.from_hour, to_hour=hours.to_hour, weekdays=hours.weekdays
        ),
        teams={
            name: Team(
                id=name,
                name=entry.name or name,
                cost_centre=entry.cost_centre,
                owner=entry.owner,
                default_budget=entry.default_budget,
            )
            for name, entry in entries.teams.items()
        },
        projects={
            name: Project(id=name, name=entry.name or name, team=entry.team)
            for name, entry in entries.projects.items()
        },
        agents={
            name: _agent(name, entry, entries.projects, (*path, "agents", name), problems)
            for name, entry in entries.agents.items()
        },
        connectors=connectors,
        models={
            name: compile_model(name, entry, entries.connectors, prices, (*path, "models", name), problems)
            for name, entry in entries.models.items()
        },
        quantities=quantities,
        budgets={
            name: _budget(
                name, entry, quantities, currencies, settings, year, (*path, "budgets", name), problems
            )
            for name, entry in entries.budgets.items()
        },
        rates={
            name: _rate(name, entry, (*path, "rates", name), problems)
            for name, entry in entries.rates.items()
        },
        customers={
            name: Customer(id=name, name=entry.name or name) for name, entry in entries.customers.items()
        },
        currencies=currencies,
    )


def _fiscal_year(settings: TenantEntry, path: Path, problems: Problems) -> YearStart:
    entry = settings.fiscal_year
    if entry is None:
        return settings.fiscal_year_starts
    path = (*path, "fiscal_year")
    if "fiscal_year_starts" in settings.model_fields_set:
        problems.add(path, "is one of weeks, and `fiscal_year_starts` is of months; leave one of them out")
    rule = entry.begins or entry.ends
    if rule is None or (entry.begins is not None and entry.ends is not None):
        words = "needs either the day on which it `begins` or that on which it `ends`"
        problems.add(path, f"{words}, as in ends: last saturday of january")
        return settings.fiscal_year_starts
    which, weekday, month, day = rule
    return YearOfWeeks(
        pattern=entry.weeks,
        edge="begins" if entry.begins is not None else "ends",
        which=which,
        weekday=weekday,
        month=month,
        day=day,
        named_by=entry.named_by,
    )


def _replication(entry: ReplicationEntry | None) -> Replication | None:
    if entry is None:
        return None
    return Replication(
        bounds=Bounds(
            depth_max=entry.max_depth,
            agents_max=entry.max_agents_per_owner,
            runs_max=entry.max_runs_per_owner,
        ),
        owners={
            owner: Bounds(depth_max=own.max_depth, agents_max=own.max_agents, runs_max=own.max_runs)
            for owner, own in entry.owners.items()
        },
        idle_ns=entry.idle,
        mode=entry.mode,
    )


def _proxy(entry: ProxyEntry | None, entries: Entries, path: Path, problems: Problems) -> Proxy | None:
    if entry is None:
        return None
    known = sorted(name for name, connector in entries.connectors.items() if connector.kind not in TOOL_KINDS)
    for name in entry.unlisted_models:
        if name not in known:
            problems.add(
                path, f"names {shown(name)}, and that is no connector to models; there are {listed(known)}"
            )
    return Proxy(takes_strangers=entry.unregistered, unlisted_models=entry.unlisted_models)


def _quantity(name: str, entry: QuantityEntry, path: Path, problems: Problems) -> Quantity:
    if name in BUILT_IN_QUANTITIES:
        problems.add(path, f"is built in ({listed(BUILT_IN_QUANTITIES)}); give this quantity another name")
    if (entry.unit is None) == (entry.decimals is None):
        problems.add(
            path,
            "needs either `unit: usd`, if it is money, or the number of its `decimals`, as in decimals: 0",
        )
    if entry.unit is not None:
        return Quantity(id=name, scale=NANO_PER_USD, is_money=True)
    return Quantity(id=name, scale=10 ** (entry.decimals or 0))


def _agent(
    name: str, entry: AgentEntry, projects: Mapping[str, ProjectEntry], path: Path, problems: Problems
) -> Agent:
    project = projects.get(entry.project) if entry.project is not None else None
    if project is not None and project.team != entry.team:
        words = (
            f"is `{entry.project}`, which is team `{project.team}`'s, and the agent is team `{entry.team}`'s"
        )
        problems.add((*path, "project"), f"{words}; change one of them")
    return Agent(
        id=name,
        owner=entry.owner,
        team=entry.team,
        cost_centre=entry.cost_centre,
        purpose=entry.purpose,
        environment=entry.environment,
        budget=entry.budget,
        project=entry.project,
        external_id=entry.external_id,
        tags=entry.tags,
        role=entry.role or "",
        asks_for=entry.asks_for,
    )


_ROLLING_NS_MIN = 60 * _NANOS

_CREDENTIAL_HEADERS = {"azure": "api-key", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}
"""Where each kind of upstream looks for its credential; the others, in `Authorization`."""


def _deadlines(entry: ConnectorEntry) -> Deadlines:
    """How long an upstream may take: no part longer than the whole."""
    usual, total_s = Deadlines(), entry.timeout_seconds
    return Deadlines(
        connect_s=min(entry.connect_seconds or usual.connect_s, total_s),
        first_byte_s=min(entry.first_byte_seconds or usual.first_byte_s, total_s),
        idle_s=min(entry.idle_seconds or usual.idle_s, total_s),
        total_s=total_s,
    )


def _connector(
    name: str, entry: ConnectorEntry, quantities: Mapping[str, Quantity], path: Path, problems: Problems
) -> Connector:
    if entry.kind == "local" or (entry.kind == "mcp" and entry.command):
        _tell_of_an_address(entry, path, problems)
    elif not entry.base_url and "base_url" not in entry.model_fields_set:
        problems.add_missing(ConnectorEntry, "base_url", path)
    if entry.kind not in TOOL_KINDS and entry.operations:
        words = (
            "are for kinds `http`, `mcp` and `local`; "
            f"this one is of kind `{entry.kind}` and is called through `models`"
        )
        problems.add((*path, "operations"), words)
    _tell_of_what_only_servers_have(entry, path, problems)
    if entry.kind == "azure" and entry.api_version is None:
        problems.add(
            path, "needs an `api_version`, which stands in each address at Azure, as in `2024-10-21`"
        )
    if entry.kind != "azure" and entry.api_version is not None:
        problems.add((*path, "api_version"), "is for connectors of kind `azure`; leave it out")
    if entry.kind in TOOL_KINDS and entry.provider is not None:
        words = "says whose list prices hold for models, and this connector has none; leave it out"
        problems.add((*path, "provider"), words)
    header = entry.credential_header or _CREDENTIAL_HEADERS.get(entry.kind, "authorization")
    prefix = entry.credential_prefix
    if prefix is None:
        prefix = "Bearer " if header == "authorization" else ""
    operations = tuple(
        compile_operation(key, operation, quantities, (*path, "operations", key), problems, kind=entry.kind)
        for key, operation in entry.operations.items()
    )
    if entry.kind == "http":
        tell_of_clashing_operations(operations, (*path, "operations"), problems)
    if entry.kind == "mcp":
        tell_of_tools_named_alike(operations, (*path, "operations"), problems)
    if entry.other_tools is not None:
        operations += (compile_other_tools(entry.other_tools, (*path, "other_tools"), problems),)
    return Connector(
        id=name,
        kind=entry.kind,
        base_url=entry.base_url,
        credential=entry.credential,
        credential_header=header,
        credential_prefix=prefix,
        region=entry.region or "",
        tags=entry.tags,
        operations=operations,
        deadlines=_deadlines(entry),
        network=entry.network,
        provider=entry.provider or PROVIDERS.get(entry.kind, ""),
        api_version=entry.api_version or "",
        command=entry.command,
        variables=entry.env,
    )


def _tell_of_what_only_servers_have(entry: ConnectorEntry, path: Path, problems: Problems) -> None:
    for setting in ("command", "env", "other_tools"):
        if entry.kind != "mcp" and setting in entry.model_fields_set:
            problems.add(
                (*path, setting), f"is for connectors of kind `mcp`, not `{entry.kind}`; leave it out"
            )
    if entry.env and not entry.command:
        problems.add((*path, "env"), "is the environment of a `command`, and there is none; leave it out")


_OF_AN_ADDRESS = (
    "base_url",
    "credential",
    "credential_header",
    "credential_prefix",
    "network",
    "connect_seconds",
    "timeout_seconds",
    "first_byte_seconds",
    "idle_seconds",
)
_OF_A_NETWORK = 6
"""How many of them are of no use for a program that is started here, either."""


def _tell_of_an_address(entry: ConnectorEntry, path: Path, problems: Problems) -> None:
    is_local = entry.kind == "local"
    runs = (
        "a local connector's tools run in the agents"
        if is_local
        else "a `command` is started here, and its secrets are in `env`"
    )
    for setting in _OF_AN_ADDRESS if is_local else _OF_AN_ADDRESS[:_OF_A_NETWORK]:
        if setting in entry.model_fields_set:
            problems.add((*path, setting), f"is for what is called over the network; {runs}")


def _budget(
    name: str,
    entry: BudgetEntry,
    quantities: Mapping[str, Quantity],
    currencies: Mapping[str, Currency],
    tenant: TenantEntry,
    year: YearStart,
    path: Path,
    problems: Problems,
) -> Budget:
    quantity = quantities.get(entry.counts)
    zone = entry.timezone or tenant.timezone
    _tell_of_settings_that_do_not_fit(entry, year, path, problems)
    return Budget(
        id=name,
        owner=entry.owner,
        deputy=entry.deputy,
        quantity=entry.counts,
        # A quantity that is faulty itself is told of where it stands.
        limit=scaled(entry.limit, quantity.scale, (*path, "limit"), problems) if quantity is not None else 0,
        period=entry.period,
        zone=zone,
        hard=entry.kind == "hard",
        match=_match(entry.match),
        per=entry.per,
        once=_once(entry, zone, path, problems),
        length_ns=entry.length or 0,
        year_starts=year if entry.calendar == "fiscal" else CALENDAR_YEAR,
        instances_max=entry.max_instances,
        thresholds=compile_thresholds(
            entry,
            quantity.scale if quantity is not None else 1,
            (*entry.per, *(dimension for dimension, _ in _match(entry.match))),
            path,
            problems,
        ),
        mode=entry.mode,
        within=entry.within,
        adapts=compile_adapts(entry, quantity.scale, path, problems) if quantity is not None else None,
        currency=currency_of(entry, quantity, currencies, path, problems),
        carry_over=carry_over_of(entry, quantity, path, problems),
    )


def _tell_of_settings_that_do_not_fit(
    entry: BudgetEntry, year: YearStart, path: Path, problems: Problems
) -> None:
    if entry.period == "rolling" and entry.length is None:
        problems.add((*path, "period"), "is `rolling` and needs its length, as in length: 24h")
    if entry.period == "rolling" and entry.length is not None and entry.length < _ROLLING_NS_MIN:
        problems.add((*path, "length"), "is shorter than a minute; a rolling window is at least that long")
    if entry.period != "rolling" and entry.length is not None:
        problems.add(
            (*path, "length"), f"is for `period: rolling`, and this one is {entry.period}; leave it out"
        )
    of_months = ("quarterly", "yearly")
    fiscal = ("weekly", "monthly", *of_months) if isinstance(year, YearOfWeeks) else of_months
    if entry.calendar == "fiscal" and entry.period not in fiscal:
        words = f"is `fiscal`, which {listed(fiscal)} budgets may be here, and this one is {entry.period}"
        problems.add((*path, "calendar"), f"{words}; leave it out")
    if entry.max_instances is not None and not set(ON_THE_FLY) & set(entry.per):
        problems.add(
            (*path, "max_instances"), "is for budgets that are split by run or customer; leave it out"
        )


def _rate(name: str, entry: RateEntry, path: Path, problems: Problems) -> Rate:
    burst = entry.burst or entry.limit
    if burst * entry.every // entry.limit > _AHEAD_NS_MAX:
        words = f"is `{burst}`, which lets calls run ahead of the pace by more than ten years; lower it"
        problems.add((*path, "burst"), words)
    return Rate(
        id=name,
        limit=entry.limit,
        period_ns=entry.every,
        burst=burst,
        match=_match(entry.match),
        per=entry.per,
        delay_ns=entry.delay or 0,
        of_runs=entry.of == "runs",
        mode=entry.mode,
    )


def _once(entry: BudgetEntry, zone: str, path: Path, problems: Problems) -> Window | None:
    """The window of a one-off budget.

    It is named by its first day alone, so that a pilot that is made longer keeps what it has spent.
    """
    first, last = entry.first_day, entry.last_day
    if entry.period != "once":
        for setting, written in (("from", first), ("to", last)):
            if written is not None:
                problems.add(
                    (*path, setting), f"is for `period: once`, and this one is {entry.period}; leave it out"
                )
        return None
    if first is None and last is None and "run" in entry.per:
        return None  # as long as each run lasts
    if first is None or last is None:
        words = "is `once` and needs its first and its last day, as in from: 2026-10-01 and to: 2026-12-31"
        problems.add((*path, "period"), words)
        return None
    if last < first:
        problems.add(
            (*path, "to"), f"is `{last}`, before `from`, {first}; write the last day that is included"
        )
        return None
    start, end = (day_start(day, ZoneInfo(zone)) for day in (first, last + timedelta(days=1)))
    return Window(
        label=f"once-{first}",
        starts_ns=int(start.timestamp()) * _NANOS,
        ends_ns=int(end.timestamp()) * _NANOS,
    )


def _match(entry: MatchEntry) -> Match:
    wanted = ((dimension, getattr(entry, dimension, None)) for dimension in DIMENSIONS)
    named = [(dimension, value) for dimension, value in wanted if value is not None]
    return (*named, *((f"{TAG}{name}", value) for name, value in entry.tags.items()))
