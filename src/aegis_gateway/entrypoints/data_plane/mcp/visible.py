"""Which of a server's tools an agent sees: those that it may call with some arguments.

A server none of whose tools it may call is not there for it, and neither are the server's resources and prompts.
"""

from __future__ import annotations

from collections.abc import Iterable

from aegis_gateway.application.directory import TenantView
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


def servers_of(view: TenantView, agent: Agent) -> list[Connector]:
    """The servers of which an agent sees something."""
    return [
        connector
        for connector in view.registry.connectors.values()
        if connector.kind == "mcp" and sees_server(view, agent, connector)
    ]


def sees_server(view: TenantView, agent: Agent, connector: Connector) -> bool:
    """Whether an agent may call any tool of a server."""
    if view.registry.proxy is not None:
        return True
    tools = [f"{connector.id}.{operation.id}" for operation in connector.operations]
    return bool(_callable(view, agent, tools))


def visible_tools(
    view: TenantView, agent: Agent, connector: Connector, tools: Iterable[str]
) -> frozenset[str]:
    """Of a server's tools, by their names there, those that an agent may call with some arguments."""
    if view.registry.proxy is not None:
        return frozenset(tools)
    operations = {tool: operation_of(connector, tool) for tool in tools}
    named = {
        tool: f"{connector.id}.{operation.id}"
        for tool, operation in operations.items()
        if operation is not None
    }
    may_call = _callable(view, agent, dict.fromkeys(named.values()))
    return frozenset(tool for tool, name in named.items() if name in may_call)


def _callable(_view: TenantView, _agent: Agent, tools: Iterable[str]) -> frozenset[str]:
    """Of tools, by the names that policies know them by, those that an agent may call with some arguments."""
    return frozenset(tools)
