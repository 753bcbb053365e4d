"""Policies as trees: what is below a node, and the paths that expressions look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from cedarpy import pst


def children(node: object) -> Iterator[object]:
    """What stands directly below a node."""
    if dataclasses.is_dataclass(node):
        for field in dataclasses.fields(node):
            yield getattr(node, field.name)
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
