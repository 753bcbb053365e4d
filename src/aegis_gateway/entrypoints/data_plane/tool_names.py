"""Names of tools, as those who ask about one write them.

Rule 1: a full name, `CONNECTOR.OPERATION`, is looked for first and is always clear: no two tools share one.
Rule 2: a short name is an operation's id (`rank`; ids may have dots, so `slack.post` too). It is a tool's only where
        one `local` connector has such an operation. If several have, none is meant: which one would be a guess.
"""

from __future__ import annotations

from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.registry import TOOL_KINDS, Connector, Operation, Registry

_CHARACTERS_MAX = 128
_LISTED_MAX = 8


def tool_named(
    registry: Registry, name: str, *, short_name: bool = False
) -> tuple[Connector, Operation] | Reason:
    """The tool of a name, or why there is none; `short_name`: an operation's id alone will do."""
    full = _full(registry, name)
    if full is not None:
        return full
    short = [
        (connector, operation)
        for connector in (registry.connectors.values() if short_name else ())
        for operation in (connector.operations if connector.kind == "local" else ())
        if operation.id == name
    ]
    if len(short) == 1:
        return short[0]
    if short:
        tools = sorted(f"`{connector.id}.{operation.id}`" for connector, operation in short)
        several = ", ".join(tools[:_LISTED_MAX])
        return _unknown(name, f"could be any of {several}; use the full name")
    return _unknown(name, "is not configured here; tools are operations of connectors")


def shown_name(name: str) -> str:
    """A name that may be none, as it can be shown and stored: bounded, and without signs that no name has."""
    return "".join(sign if sign.isprintable() else "?" for sign in name[:_CHARACTERS_MAX])


def _full(registry: Registry, name: str) -> tuple[Connector, Operation] | None:
    """The tool of a full name. Ids of both may have dots, so each of them may be where the connector's ends."""
    end = name.find(".")
    while end >= 0:
        connector = registry.connectors.get(name[:end])
        if connector is not None and connector.kind in TOOL_KINDS:
            for operation in connector.operations:
                if operation.id == name[end + 1 :]:
                    return connector, operation
        end = name.find(".", end + 1)
    return None


def _unknown(name: str, why: str) -> Reason:
    shown = shown_name(name)
    return Reason(code="unknown_tool", subject=shown, message=f"tool `{shown}` {why}")
