"""Tables about agents, as files have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aegis_gateway.domain.repeats import Repeated
from aegis_gateway.entrypoints.agents.roster import AgentLine
from aegis_gateway.entrypoints.agents.savings import Instead
from aegis_gateway.entrypoints.people.columns import Column, Row

AGENT_COLUMNS = (
    Column("agent"),
    Column("state"),
    Column("owner"),
    Column("team"),
    Column("project"),
    Column("cost_centre"),
    Column("environment"),
    Column("purpose"),
    Column("external_id"),
    Column("budget"),
    Column("spent_today_usd", "usd"),
    Column("spent_this_month_usd", "usd"),
    Column("spent_30d_usd", "usd"),
    Column("calls_30d", "count"),
    Column("refused_30d", "count"),
    Column("last_call", "time"),
    Column("keys", "count"),
    Column("valid_keys", "count"),
)


def agent_rows(lines: Iterable[AgentLine]) -> Iterator[Row]:
    """A row for each agent; what isn't known of it is empty."""
    for each in lines:
        agent = each.agent
        yield [
            each.id,
            each.state,
            each.owner or None,
            each.team or None,
            *(
                (None,) * 6
                if agent is None
                else (
                    agent.project,
                    agent.cost_centre,
                    agent.environment,
                    agent.purpose,
                    agent.external_id,
                    agent.budget,
                )
            ),
            each.today,
            each.month,
            each.lately,
            each.calls,
            each.refused,
            each.last_ns,
            each.keys,
            each.valid_keys,
        ]


REPEAT_COLUMNS = (
    Column("agent"),
    Column("connector"),
    Column("tool"),
    Column("model"),
    Column("asked_again", "count"),
    Column("asked_again_usd", "usd"),
    Column("library_attempts", "count"),
    Column("library_attempts_usd", "usd"),
    Column("first_call"),
    Column("first", "time"),
    Column("last_call"),
    Column("last", "time"),
)


def repeat_rows(found: Iterable[Repeated]) -> Iterator[Row]:
    """A row for each request that was made again."""
    for each in found:
        yield [
            each.agent,
            each.connector,
            each.tool,
            each.model or None,
            each.repeats,
            each.repeats_nano_usd,
            each.attempts,
            each.attempts_nano_usd,
            each.first,
            each.first_ns,
            each.last[0],
            each.last_ns,
        ]


INSTEAD_COLUMNS = (
    Column("model"),
    Column("action"),
    Column("calls", "count"),
    Column("spent_usd", "usd"),
    Column("other_model"),
    Column("would_have_cost_usd", "usd"),
    Column("less_usd", "usd"),
    Column("not_known_because"),
)


def instead_rows(found: Iterable[Instead]) -> Iterator[Row]:
    """A row for each model that was used and each other one that may be called."""
    for each in found:
        for other in each.others:
            yield [
                each.traffic.model,
                each.action,
                each.traffic.calls,
                each.traffic.cost_nano_usd,
                other.model,
                other.nano_usd,
                other.less_nano_usd,
                other.why or None,
            ]
