"""Policies as trees: what is below a node, and the paths that expressions look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from cedarpy import pst

_FIELDS: dict[type, tuple[str, ...]] = {}


def fields_of(node: object) -> tuple[str, ...]:
    """The names of a node's fields; none of what isn't one."""
    kind = type(node)
    if kind not in _FIELDS:
        fields = dataclasses.fields(node) if dataclasses.is_dataclass(node) else ()
        _FIELDS[kind] = tuple(each.name for each in fields)
    return _FIELDS[kind]


def children(node: object) -> Iterator[object]:
    """What stands directly below a node."""
    if fields := fields_of(node):
        for name in fields:
            yield getattr(node, name)
    elif isinstance(node, tuple | list):
        yield from node
    elif isinstance(node, Mapping):
        yield from node.values()


def nodes(node: object) -> Iterator[object]:
    """A node and all below it, each before what is below it."""
    yield node
    for child in children(node):
        yield from nodes(child)


def path_of(node: object) -> tuple[str, ...] | None:
    """The path of `context.a.b`: (`context`, `a`, `b`); None for what is no path."""
    if isinstance(node, pst.Var):
        return (node.name,)
    if isinstance(node, pst.GetAttr) and (base := path_of(node.base)) is not None:
        return (*base, node.attr)
    return None


Use = tuple[tuple[str, ...], bool]
"""A path below `context` that an expression looks at, and whether it only asks if there is something."""


def context_use(node: object) -> Use | None:
    """How a node itself looks at the context, () being the whole of it; None where at most what is below it does."""
    path, asks = path_of(node), False
    if path is None and isinstance(node, pst.HasAttr) and (base := path_of(node.base)) is not None:
        path, asks = (*base, *node.attrs), True
    return (path[1:], asks) if path is not None and path[0] == "context" else None


def context_uses(node: object) -> Iterator[Use]:
    """How an expression looks at the context."""
    use = context_use(node)
    if use is not None:
        yield use
        return
    for child in children(node):
        yield from context_uses(child)
