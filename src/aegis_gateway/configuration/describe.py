"""A registry in the units and words of the people who wrote it: dollars, days, `5 every 1s`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from aegis_gateway.configuration.describe_approvals import describe_approvals, describe_asks
from aegis_gateway.configuration.describe_channels import describe_channels
from aegis_gateway.configuration.describe_thresholds import describe_thresholds
from aegis_gateway.configuration.http_values import FieldPath, written_path
from aegis_gateway.configuration.rules import Rule
from aegis_gateway.domain.adapts import SPREADS, Adapts, AdaptsBy
from aegis_gateway.domain.config_version import Watch
from aegis_gateway.domain.currency import units_text
from aegis_gateway.domain.duration import duration_text
from aegis_gateway.domain.fiscal import CALENDAR_YEAR, YearOfWeeks, YearStart
from aegis_gateway.domain.limits import CarryOver
from aegis_gateway.domain.moment import OFFICE, BusinessHours
from aegis_gateway.domain.money import NANO_PER_USD, UnitPrice, usd_text
from aegis_gateway.domain.price import CALL_KINDS, ModelPrice, ToolPrice
from aegis_gateway.domain.registry import (
    BUILT_IN_QUANTITIES,
    EVERY_AGENT,
    Agent,
    Argument,
    Budget,
    Connector,
    Count,
    Deadlines,
    Match,
    Model,
    Operation,
    Project,
    Proxy,
    Quantity,
    Rate,
    Registry,
    Team,
)
from aegis_gateway.domain.replication import IDLE_NS, NO_BOUNDS, Bounds, Replication
from aegis_gateway.domain.share import share_text
from aegis_gateway.domain.window import Window

Fields = dict[str, str]

Written = Callable[[FieldPath], str]

_NANOS = 1_000_000_000
_MILLION = 1_000_000
_APPLIES: dict[AdaptsBy, str] = {"automatic": "itself", "approval": "a person's word"}


def describe(registry: Registry | None) -> dict[str, Fields]:
    """Everything in a registry, by what it is, with those settings that are set, as people write them."""
    if registry is None:
        return {}
    described = {f"tenant {registry.tenant}": {"name": registry.name, "timezone": registry.zone}}
    if registry.proxy is not None:
        described[f"tenant {registry.tenant}"]["proxy"] = _proxy(registry.proxy)
    if registry.regions:
        described[f"tenant {registry.tenant}"]["regions"] = ", ".join(registry.regions)
    if registry.four_eyes:
        described[f"tenant {registry.tenant}"]["four eyes"] = "on"
    if registry.shadow_for_ns:
        described[f"tenant {registry.tenant}"]["shadow for"] = duration_text(registry.shadow_for_ns)
    if registry.replication is not None:
        described[f"tenant {registry.tenant}"] |= _replication(registry.replication)
    for code, currency in sorted(registry.currencies.items()):
        described[f"currency {code}"] = {rate.day: str(rate) for rate in currency.rates}
    described[f"tenant {registry.tenant}"] |= describe_approvals(registry.approvals) | describe_asks(
        registry.asks
    )
    if registry.business_hours != OFFICE:
        described[f"tenant {registry.tenant}"]["business_hours"] = _business_hours(registry.business_hours)

    def add(kind: str, things: Iterable[Any], fields: Callable[[Any], Fields]) -> None:
        for thing in things:
            described[f"{kind} {thing.id}"] = {name: text for name, text in fields(thing).items() if text}

    own = (quantity for quantity in registry.quantities.values() if quantity.id not in BUILT_IN_QUANTITIES)
    add("quantity", own, _quantity)
    add("team", registry.teams.values(), _team)
    add("project", registry.projects.values(), _project)
    add("agent", registry.agents.values(), _agent)
    add("connector", registry.connectors.values(), _connector)
    for connector in registry.connectors.values():
        for operation in connector.operations:
            fields_of = _operation(operation, registry, is_named=connector.kind != "http")
            described[f"operation {connector.id}.{operation.id}"] = {
                name: text for name, text in fields_of.items() if text
            }
    add("model", registry.models.values(), _model)
    add("budget", registry.budgets.values(), lambda budget: _budget(budget, registry))
    add("rate", registry.rates.values(), _rate)
    return described | dict(describe_channels(registry))


def _proxy(proxy: Proxy) -> str:
    takes = ["everything passes"]
    if proxy.takes_strangers:
        takes.append("callers without a key too")
    if proxy.unlisted_models:
        takes.append(f"other models by {', '.join(proxy.unlisted_models)}")
    return ", ".join(takes)


def _replication(replication: Replication) -> Fields:
    fields = {"bounds": _bounds(replication.bounds)} if replication.bounds != NO_BOUNDS else {}
    fields |= {f"bounds of {owner}": _bounds(own) for owner, own in sorted(replication.owners.items())}
    if replication.idle_ns != IDLE_NS:
        fields["runs count for"] = duration_text(replication.idle_ns)
    if replication.mode != "enforce":
        fields["bounds are"] = "in shadow"
    return fields


def _bounds(bounds: Bounds) -> str:
    parts = (
        (bounds.agents_max, "agents"),
        (bounds.runs_max, "runs open at once"),
        (bounds.depth_max, "calls deep"),
    )
    return ", ".join(f"{most:,} {what}" for most, what in parts if most is not None) or "as for all"


def _business_hours(hours: BusinessHours) -> str:
    weekdays = ", ".join(map(str, hours.weekdays))
    return f"{hours.from_hour} to {hours.to_hour} on [{weekdays}]"


def describe_watch(watch: Watch | None) -> dict[str, Fields]:
    """When a version is taken back by itself, as people write it."""
    if watch is None:
        return {}
    shares = {"refusals up by": watch.refusals_up_by, "errors up by": watch.errors_up_by}
    return {
        "roll back when": {
            **{name: share_text(found) for name, found in shares.items() if found is not None},
            "of at least": f"{watch.of_at_least:,} calls",
            "within": duration_text(watch.within_ns),
        }
    }


def describe_rules(rules: Iterable[Rule]) -> dict[str, Fields]:
    """Rules as people write them."""
    described = {
        f"rule {rule.id}": {
            "who": rule.who,
            "what": rule.what,
            "when": rule.when,
            "effect": rule.effect,
            "message": rule.message,
            "mode": rule.mode if rule.mode != "enforce" else "",
        }
        for rule in rules
    }
    return {what: {name: text for name, text in fields.items() if text} for what, fields in described.items()}


def _quantity(quantity: Quantity) -> Fields:
    if quantity.is_money:
        return {"counts": "money"}
    decimals = len(str(quantity.scale)) - 1
    return {"counts": f"numbers with {decimals} decimals" if decimals else "whole numbers"}


def _team(team: Team) -> Fields:
    return {
        "name": team.name,
        "cost centre": team.cost_centre,
        "owner": team.owner,
        "default budget": team.default_budget or "",
    }


def _project(project: Project) -> Fields:
    return {"name": project.name, "team": project.team}


def _agent(agent: Agent) -> Fields:
    return {
        "owner": agent.owner,
        "team": agent.team,
        "project": agent.project or "",
        "cost centre": agent.cost_centre,
        "purpose": agent.purpose,
        "role": agent.role,
        "environment": agent.environment,
        "budget": agent.budget,
        "external id": agent.external_id or "",
        "tags": _tags(agent.tags),
        "asks for": agent.asks_for if agent.asks_for == EVERY_AGENT else ", ".join(agent.asks_for),
    }


def _connector(connector: Connector) -> Fields:
    return {
        "kind": connector.kind,
        "api version": connector.api_version,
        "address": connector.base_url,
        "command": " ".join(connector.command),
        "environment": ", ".join(f"{name}={source}" for name, source in connector.variables.items()),
        "credential": connector.credential or "",
        "credential header": _credential_header(connector) if connector.credential is not None else "",
        "region": connector.region,
        "tags": _tags(connector.tags),
        "timeout": _deadlines(connector.deadlines) if connector.kind != "local" else "",
        "network": "" if connector.network == "public" else connector.network,
    }


def _deadlines(deadlines: Deadlines) -> str:
    return (
        f"{deadlines.total_s} s in all, {deadlines.connect_s} s to connect, "
        f"{deadlines.first_byte_s} s to begin, {deadlines.idle_s} s between pieces"
    )


def _credential_header(connector: Connector) -> str:
    return f"{connector.credential_header}: {connector.credential_prefix}…"


def _operation(operation: Operation, registry: Registry, *, is_named: bool) -> Fields:
    written = partial(written_path, is_named=is_named)
    fields = {
        "request": f"{operation.method} {operation.path}".strip(),
        "tool": operation.tool if operation.tool != operation.id else "",
        "price": _tool_price(operation.price, written),
    }
    if operation.body_schema:
        fields["schema"] = operation.body_schema.decode()
    fields |= {f"argument {argument.name}": _argument(argument, written) for argument in operation.arguments}
    return fields | {
        f"counts {count.quantity}": _count(count, registry, written) for count in operation.counts
    }


def _argument(argument: Argument, written: Written) -> str:
    kind = argument.type if argument.required else f"optional {argument.type}"
    return f"{kind} from {written(argument.source)}{', shown' if argument.shown else ''}"


def _count(count: Count, registry: Registry, written: Written) -> str:
    source = written(count.source)
    if count.maximum is None:
        return source
    return f"{source}, at most {_amount(count.maximum, registry.quantities[count.quantity])}"


def _tool_price(price: ToolPrice, written: Written) -> str:
    parts = []
    if price.per_call_nano_usd:
        parts.append(f"{usd_text(price.per_call_nano_usd)} a call")
    if price.per_unit is not None:
        most = "" if price.units_max is None else f", at most {price.units_max}"
        parts.append(f"{_dollars(price.per_unit, 1)} a {price.unit} ({written(price.units_from)}{most})")
    if price.amount_from:
        most = "" if price.amount_max_nano_usd is None else f", at most {usd_text(price.amount_max_nano_usd)}"
        parts.append(f"what {written(price.amount_from)} says{most}")
    return " + ".join(parts) or "free"


def _model(model: Model) -> Fields:
    fields = {
        "connector": model.connector,
        "upstream": model.upstream,
        "output tokens": (
            f"{model.default_output_tokens} unless asked, {model.min_output_tokens} at least, "
            f"{model.expected_output_tokens} expected"
        ),
        "max output tokens": str(model.max_output_tokens or ""),
        "max input tokens": str(model.max_input_tokens or ""),
        "hosted tools": ", ".join(
            kind if tool.calls_max is None else f"{kind}, at most {tool.calls_max} calls"
            for kind, tool in model.hosted.items()
        ),
    }
    return fields | (_model_price(model.price) if model.price is not None else {"price": "unknown"})


def _model_price(price: ModelPrice) -> Fields:
    is_contract = price.source == "contract"
    fields = {"prices from": "contract" if is_contract else price.version or price.source}
    for tier in price.tiers:
        above = f" above {tier.above_input_tokens:,} input tokens" if tier.above_input_tokens else ""
        for kind, unit_price in tier.prices.items():
            name = f"{kind.replace('_', ' ')}{above}"
            if kind in CALL_KINDS:
                fields[name] = f"{_dollars(unit_price, 1)} a call"
            else:
                fields[name] = f"{_dollars(unit_price, _MILLION)} a million tokens"
    return fields


def _budget(budget: Budget, registry: Registry) -> Fields:
    quantity = registry.quantities[budget.quantity]
    return {
        "limit": _limit(budget.limit, budget, quantity),
        "period": budget.period,
        "days": _days(budget.once, budget.zone) if budget.once is not None else "",
        "timezone": budget.zone,
        "kind": "hard" if budget.hard else "soft",
        "match": _match(budget.match),
        "per": ", ".join(budget.per),
        "length": duration_text(budget.length_ns) if budget.length_ns else "",
        "year starts": _year(budget.year_starts),
        "carry over": _carry_over(budget.carry_over, budget, quantity),
        "max instances": str(budget.instances_max or ""),
        "within": budget.within or "",
        "adapts": _adapts(budget.adapts, quantity) if budget.adapts is not None else "",
        **describe_thresholds(budget.thresholds, lambda amount: _amount(amount, quantity)),
        "mode": "" if budget.mode == "enforce" else budget.mode,
        "owner": budget.owner,
        "deputy": budget.deputy or "",
    }


def _adapts(adapts: Adapts, quantity: Quantity) -> str:
    most, k = share_text(adapts.most_change), Decimal(adapts.k_thousandths) / SPREADS
    return (
        f"{adapts.every} from {_amount(adapts.floor, quantity)} to {_amount(adapts.ceiling, quantity)}, "
        f"{k.normalize():f} spreads above the median, by {most} at most, by {_APPLIES[adapts.applies]}"
    )


def _limit(amount: int, budget: Budget, quantity: Quantity) -> str:
    if budget.currency is None:
        return _amount(amount, quantity)
    return f"{units_text(Decimal(amount) / quantity.scale)} {budget.currency.code}"


def _carry_over(carried: CarryOver | None, budget: Budget, quantity: Quantity) -> str:
    if carried is None:
        return ""
    lasting = f", for {duration_text(carried.expires_ns)}" if carried.expires_ns else ""
    return f"at most {_limit(carried.most, budget, quantity)}{lasting}"


def _year(starts: YearStart) -> str:
    if starts == CALENDAR_YEAR:
        return ""
    return str(starts) if isinstance(starts, YearOfWeeks) else "{:02}-{:02}".format(*starts)


def _rate(rate: Rate) -> Fields:
    return {
        "limit": f"{rate.limit} every {duration_text(rate.period_ns)}",
        "burst": str(rate.burst),
        "of": "runs" if rate.of_runs else "",
        "delay": duration_text(rate.delay_ns) if rate.delay_ns else "",
        "mode": "" if rate.mode == "enforce" else rate.mode,
        "match": _match(rate.match),
        "per": ", ".join(rate.per),
    }


def _amount(amount: int, quantity: Quantity) -> str:
    if quantity.is_money:
        return usd_text(amount)
    number = Decimal(amount) / quantity.scale
    return f"{number.normalize():f} {quantity.id}"


def _dollars(price: UnitPrice, units: int) -> str:
    """A unit price as dollars for so many units, exactly where a decimal number can say it."""
    dollars = Decimal(price.nano_usd) * units / price.per / NANO_PER_USD
    text = f"{dollars.normalize():f}"
    whole, _, decimals = text.partition(".")
    return f"${whole}.{decimals.ljust(2, '0')}"


def _days(window: Window, zone: str) -> str:
    first, last = (
        datetime.fromtimestamp(instant_ns // _NANOS, tz=ZoneInfo(zone)).date()
        for instant_ns in (window.starts_ns, window.ends_ns - _NANOS)
    )
    return f"{first} to {last}"


def _match(match: Match) -> str:
    return ", ".join(f"{dimension} {value}" for dimension, value in match)


def _tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(tags.items()))
