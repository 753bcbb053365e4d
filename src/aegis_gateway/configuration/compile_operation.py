"""From the entries of operations to a connector's operations, priced and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from aegis_gateway.configuration.document import (
    ArgumentEntry,
    CountEntry,
    OperationEntry,
    OtherToolsEntry,
    ToolPriceEntry,
)
from aegis_gateway.configuration.http_values import FieldPath, names_in_path
from aegis_gateway.configuration.json_schema import type_at
from aegis_gateway.configuration.problems import Problems
from aegis_gateway.configuration.scaling import digest, scaled, unit_price
from aegis_gateway.configuration.words import listed
from aegis_gateway.configuration.yaml_source import Path
from aegis_gateway.domain.money import NANO_PER_USD
from aegis_gateway.domain.price import ToolPrice
from aegis_gateway.domain.registry import (
    OTHER_TOOLS,
    Argument,
    ArgumentType,
    Connector,
    ConnectorKind,
    Count,
    Operation,
    Quantity,
)


def compile_operation(
    name: str,
    entry: OperationEntry,
    quantities: Mapping[str, Quantity],
    path: Path,
    problems: Problems,
    *,
    kind: ConnectorKind = "http",
) -> Operation:
    """One operation of a connector. What others have as their body, a tool that is called by name has as arguments."""
    for setting in ("method", "path"):
        if kind in _BY_NAME and setting in entry.model_fields_set:
            problems.add((*path, setting), f"is for operations over HTTP; {_BY_NAME[kind]}")
        elif kind not in _BY_NAME and setting not in entry.model_fields_set:
            problems.add_missing(OperationEntry, setting, path)
    if kind != "mcp" and entry.tool is not None:
        problems.add((*path, "tool"), "is the name of a tool at a server of kind `mcp`; leave it out")
    sources: list[tuple[Path, FieldPath]] = [
        *(((*path, "arguments", key, "from"), argument.source) for key, argument in entry.arguments.items()),
        *(((*path, "counts", key), count.source) for key, count in entry.counts.items()),
    ]
    for setting in ("units", "amount"):
        source = getattr(entry.price, setting)
        if source is not None:
            sources.append(((*path, "price", setting), source))
    in_path = names_in_path(entry.path)
    for place, source in sources:
        if kind == "mcp" and source[0] in ("query", "path"):
            words = f"is `{'.'.join(source)}`, and a tool has arguments and a result; write args.NAME or result.NAME"
            problems.add(place, words)
        elif source[0] == "path" and source[1] not in in_path:
            known = (
                f"has {listed(in_path)}; name one of them"
                if in_path
                else "has no {name} in it; write one there"
            )
            problems.add(place, f"is `{'.'.join(source)}`, and the path `{entry.path}` {known}")
    return Operation(
        id=name,
        method=entry.method,
        path=entry.path,
        price=_tool_price(entry.price, (*path, "price"), problems),
        arguments=tuple(
            Argument(
                name=key,
                type=_type(argument, entry.body_schema, (*path, "arguments", key), problems),
                source=argument.source,
                required=argument.required,
                shown=argument.shown,
            )
            for key, argument in entry.arguments.items()
        ),
        counts=tuple(
            _count(key, count, quantities.get(key), (*path, "counts", key), problems)
            for key, count in entry.counts.items()
        ),
        body_schema=entry.body_schema or b"",
        tool=(entry.tool or name) if kind == "mcp" else "",
    )


_BY_NAME: dict[ConnectorKind, str] = {
    "local": "a local connector's tools run in the agents",
    "mcp": "an MCP server's tools are called by name",
}


def compile_other_tools(entry: OtherToolsEntry, path: Path, problems: Problems) -> Operation:
    """The operation that stands for all tools of an MCP server which nobody declared. Policies see their names."""
    for setting in ("units", "amount"):
        if getattr(entry.price, setting) is not None:
            words = "is read from a tool's arguments or result; declare that tool under `operations`"
            problems.add((*path, "price", setting), words)
    return Operation(
        id=OTHER_TOOLS,
        method="",
        path="",
        price=_tool_price(entry.price, (*path, "price"), problems),
        arguments=(Argument(name="tool", type="string", source=("body", "name"), shown=True),),
    )


def _type(entry: ArgumentEntry, schema: bytes | None, path: Path, problems: Problems) -> ArgumentType:
    """What kind of value an argument is: as it says, or as the operation's schema does, which may not differ."""
    of_schema = (
        type_at(schema, entry.source[1:]) if schema is not None and entry.source[0] == "body" else None
    )
    if entry.type is None and of_schema is None:
        where = ", and the operation's schema doesn't say" if schema is not None else ""
        problems.add(path, f"has no `type`{where}; write what kind of value it is, as in type: number")
    elif entry.type is not None and of_schema not in (None, entry.type):
        problems.add(
            (*path, "type"),
            f"is `{entry.type}`, and the operation's schema says `{of_schema}`; make both say one",
        )
    return entry.type or of_schema or "string"


def _count(name: str, entry: CountEntry, quantity: Quantity | None, path: Path, problems: Problems) -> Count:
    # A quantity that is faulty itself is told of where it stands.
    scale = quantity.scale if quantity is not None else 1
    maximum = None
    if entry.max is not None:
        if entry.source[0] != "response":
            problems.add(
                (*path, "max"),
                "is only for what the response tells; a request's number is known, leave it out",
            )
        elif quantity is not None:
            maximum = scaled(entry.max, scale, (*path, "max"), problems)
    return Count(quantity=name, source=entry.source, scale=scale, maximum=maximum)


def _tool_price(entry: ToolPriceEntry, path: Path, problems: Problems) -> ToolPrice:
    if entry.per_call is None and entry.per_unit is None and entry.amount is None:
        words = "states no price; write per_call, per_unit with units, or amount; for a free one per_call: 0"
        problems.add(path, words)
    if entry.per_unit is not None and entry.units is None:
        words = (
            "has `per_unit` without `units`; say where their number stands, as in units: response.usage.rows"
        )
        problems.add(path, words)
    for setting, needs, used in (
        ("units", "per_unit", entry.units),
        ("unit", "per_unit", entry.unit),
        ("max_units", "per_unit", entry.max_units),
        ("max_amount", "amount", entry.max_amount),
    ):
        if used is not None and getattr(entry, needs) is None:
            problems.add((*path, setting), f"stands without `{needs}`; add it, or leave `{setting}` out")
    for setting, source, used in (
        ("max_units", entry.units, entry.max_units),
        ("max_amount", entry.amount, entry.max_amount),
    ):
        if used is not None and source is not None and source[0] != "response":
            words = "is only for what the response tells; a request's number is known, leave it out"
            problems.add((*path, setting), words)
    price = ToolPrice(
        per_call_nano_usd=scaled(entry.per_call or Decimal(0), NANO_PER_USD, (*path, "per_call"), problems),
        per_unit=unit_price(entry.per_unit, 1, (*path, "per_unit"), problems),
        unit=entry.unit or "unit",
        units_from=entry.units or (),
        units_max=entry.max_units,
        amount_from=entry.amount or (),
        amount_max_nano_usd=(
            None
            if entry.max_amount is None
            else scaled(entry.max_amount, NANO_PER_USD, (*path, "max_amount"), problems)
        ),
    )
    return msgspec.structs.replace(price, version=digest(price))


def tell_of_clashing_operations(operations: Iterable[Operation], path: Path, problems: Problems) -> None:
    """A request must be one operation: names in paths don't tell two apart."""
    seen: dict[tuple[str, tuple[str, ...]], str] = {}
    for operation in operations:
        shape = tuple("{}" if names_in_path(part) else part for part in operation.path.split("/"))
        other = seen.setdefault((operation.method, shape), operation.id)
        if other != operation.id:
            words = (
                f"has the same method and path as `{other}`; one request is one operation, change or drop one"
            )
            problems.add((*path, operation.id), words)


def tell_of_clashing_tools(connectors: Iterable[Connector], path: Path, problems: Problems) -> None:
    """Ids may have dots in them, so two connectors may have a tool of the same name."""
    seen: dict[str, str] = {}
    for connector in connectors:
        for operation in connector.operations:
            tool = f"{connector.id}.{operation.id}"
            other = seen.setdefault(tool, connector.id)
            if other != connector.id:
                words = f"makes a tool `{tool}`, and so does connector `{other}`; give one another id"
                problems.add((*path, connector.id, "operations", operation.id), words)


def tell_of_clashing_servers(connectors: Iterable[Connector], path: Path, problems: Problems) -> None:
    """All MCP servers together are one, whose tools are `{server}_{tool}`: from that it has to be clear whose it is."""
    servers = [connector.id for connector in connectors if connector.kind == "mcp"]
    for server in servers:
        other = next((each for each in servers if server.startswith(f"{each}_")), None)
        if other is not None:
            words = (
                f"begins with `{other}_`, as tools of server `{other}` do where all servers are one; "
                "give one another id"
            )
            problems.add((*path, server), words)


def tell_of_tools_named_alike(operations: Iterable[Operation], path: Path, problems: Problems) -> None:
    """A call of a tool must be of one operation."""
    seen: dict[str, str] = {}
    for operation in operations:
        other = seen.setdefault(operation.tool, operation.id)
        if other != operation.id:
            problems.add(
                (*path, operation.id),
                f"is tool `{operation.tool}`, and so is `{other}`; drop one of them",
            )
