"""Sight: what of a context a slice's answer depends on, as a key that questions with the same answer share.

Rule 1: two contexts with the same key have the same answer. A number that policies only compare with numbers written in
        them counts as where it lies among those; all else counts as it is, and so does whether it is there at all.
Rule 2: what has no key (records themselves, numbers that Cedar can't hold) is asked about each time.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import cast

import msgspec
from cedarpy import pst

from aegis_gateway.adapters.cedar_tree import children, context_use, path_of

Key = tuple[object, ...]

_COMPARISONS = frozenset(
    ("eq", "not_eq", "less", "less_eq", "greater", "greater_eq",
     "decimal_less_than", "decimal_less_eq", "decimal_greater", "decimal_greater_eq")
)  # fmt: skip
_LONG_MAX = 2**63 - 1
_DECIMAL_PLACES = 4
_DECIMAL_DIGITS_BEFORE = 15
_AS_THEY_ARE = (str, bool)


class _Look(msgspec.Struct, frozen=True):
    """One path below `context`, and what of it matters: how it lies to some numbers, or itself (`is_whole`). Where
    neither, only whether it is there.
    """

    path: tuple[str, ...]
    bounds: tuple[Decimal, ...]
    is_whole: bool


class _Use(enum.Enum):
    """How an expression looks at a path, other than by comparing it with a number."""

    WHOLE = enum.auto()
    PRESENCE = enum.auto()


class Sight:
    """What some policies look at, and below which names of the context (`heads`)."""

    def __init__(self, clauses: Iterable[object]) -> None:
        """Read it from their clauses."""
        found: dict[tuple[str, ...], set[Decimal | _Use]] = {}
        for clause in clauses:
            for path, use in _uses(clause):
                found.setdefault(path, set()).add(use)
        self._looks = tuple(
            _Look(
                path,
                tuple(sorted(use for use in uses if isinstance(use, Decimal))),
                _Use.WHOLE in uses,
            )
            for path, uses in sorted(found.items())
        )

        self.heads = frozenset(look.path[0] for look in self._looks if look.path)

    def of(self, context: Mapping[str, object]) -> Key | None:
        """The key of a context; None where it has none."""
        key: list[object] = []
        for look in self._looks:
            found: object = context
            for depth, name in enumerate(look.path):
                if not isinstance(found, dict):
                    return None
                if name not in found:
                    key.append(depth)
                    break
                found = found[name]
            else:
                kind = type(found)
                key.append(kind)
                if kind in _AS_THEY_ARE:
                    if look.is_whole or look.bounds:
                        key.append(found)
                elif kind is int or kind is Decimal:
                    number = cast("int | Decimal", found)
                    if not _fits(number):
                        return None
                    if look.is_whole:
                        key.append(number)
                    elif look.bounds:
                        key.append(_place(look.bounds, number))
                else:
                    return None
        return tuple(key)


def _fits(number: int | Decimal) -> bool:
    """Whether Cedar can hold a number; of one that it can't, the caller is told when it is asked about."""
    if isinstance(number, int):
        return -_LONG_MAX <= number <= _LONG_MAX
    exponent = number.as_tuple().exponent
    return (
        isinstance(exponent, int)
        and exponent >= -_DECIMAL_PLACES
        and number.adjusted() < _DECIMAL_DIGITS_BEFORE
    )


def _place(bounds: tuple[Decimal, ...], number: int | Decimal) -> int:
    """Where a number lies among others: below, at or above each."""
    place = bisect_left(bounds, number)
    return 2 * place + (place < len(bounds) and bounds[place] == number)


def _uses(node: object) -> Iterator[tuple[tuple[str, ...], Decimal | _Use]]:
    """The paths that an expression looks at, and how."""
    if isinstance(node, pst.BinaryOp) and node.op in _COMPARISONS:
        for one, other in ((node.left, node.right), (node.right, node.left)):
            path, number = path_of(one), _number(other)
            if path is not None and path[0] == "context" and number is not None:
                yield path[1:], number
                return
    use = context_use(node)
    if use is not None:
        path, asks = use
        yield path, _Use.PRESENCE if asks else _Use.WHOLE
        return
    for child in children(node):
        yield from _uses(child)


def _number(node: object) -> Decimal | None:
    """The number that is written somewhere: `5`, or `decimal("5.0")`."""
    if isinstance(node, pst.LongLit):
        return Decimal(node.value)
    if isinstance(node, pst.UnaryOp) and node.op == "decimal" and isinstance(node.arg, pst.StringLit):
        try:
            number = Decimal(node.arg.value)
        except InvalidOperation:
            return None
        return number if number.is_finite() else None
    return None
