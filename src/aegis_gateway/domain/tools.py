"""Tools: what agents do, by the names that policies and rules know it by, and the arguments that they see of it."""

from __future__ import annotations

from aegis_gateway.domain.price import CALL_KINDS
from aegis_gateway.domain.registry import Argument, Registry

_MODEL_ARGUMENTS = (
    Argument(name="stream", type="boolean", source=()),
    Argument(name="choices", type="integer", source=()),
    Argument(name="tools", type="integer", source=()),
    Argument(name="max_output_tokens", type="integer", source=(), required=False),
)
MODEL_TOOLS: dict[str, tuple[Argument, ...]] = {
    "chat": _MODEL_ARGUMENTS,
    "count-tokens": _MODEL_ARGUMENTS,
    "embed": (Argument(name="inputs", type="integer", source=()),),
    **dict.fromkeys(CALL_KINDS, _MODEL_ARGUMENTS),
}
"""What is done to models, the tools that providers run among it."""

UNLISTED_TOOL = ".?"
"""What stands behind a connector's id for a call of what nobody declared."""


def tools_of(registry: Registry) -> dict[str, tuple[Argument, ...]]:
    """All tools there are in a registry, each with its arguments: those of models, then `CONNECTOR.OPERATION`."""
    return MODEL_TOOLS | {
        f"{connector.id}.{operation.id}": operation.arguments
        for connector in registry.connectors.values()
        for operation in connector.operations
    }
