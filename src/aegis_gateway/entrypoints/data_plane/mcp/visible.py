"""Which of a server's tools an agent sees: those that it may call with some arguments.

A server none of whose tools it may call is not there for it, and neither are the server's resources and prompts.
"""

from __future__ import annotations

from collections.abc import Iterable

from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.visibility import reach_of
from aegis_gateway.domain.judge import Reach
from aegis_gateway.domain.registry import OTHER_TOOLS, Agent, Connector, Operation


def operation_of(connector: Connector, tool: str) -> Operation | None:
    """The operation that a tool of a server is, by its name there: its own, or the one for all others."""
    others = None
    for operation in connector.operations:
        if operation.id == OTHER_TOOLS:
            others = operation
        elif operation.tool == tool:
            return operation
    return others


def servers_of(view: TenantView, agent: Agent, now_ns: int) -> list[Connector]:
    """The servers of which an agent sees something."""
    reach = reach_of(view, agent, now_ns)
    return [
        connector
        for connector in view.registry.connectors.values()
        if connector.kind == "mcp" and _sees_some(view, reach, connector)
    ]


def sees_server(view: TenantView, agent: Agent, connector: Connector, now_ns: int) -> bool:
    """Whether an agent may call any tool of a server."""
    return _sees_some(view, reach_of(view, agent, now_ns), connector)


def _sees_some(view: TenantView, reach: Reach, connector: Connector) -> bool:
    if view.registry.proxy is not None:
        return True
    return any(reach.tool(f"{connector.id}.{operation.id}") for operation in connector.operations)


def visible_tools(
    view: TenantView, agent: Agent, connector: Connector, tools: Iterable[str], now_ns: int
) -> frozenset[str]:
    """Of a server's tools, by their names there, those that an agent may call with some arguments."""
    if view.registry.proxy is not None:
        return frozenset(tools)
    reach = reach_of(view, agent, now_ns)
    declared = {operation.tool: operation for operation in connector.operations}
    others = declared.pop("", None)  # the one that stands for all that are not declared has no name there
    sees_others = others is not None and reach.tool(f"{connector.id}.{others.id}")
    return frozenset(
        tool
        for tool in tools
        if (reach.tool(f"{connector.id}.{declared[tool].id}") if tool in declared else sees_others)
    )
