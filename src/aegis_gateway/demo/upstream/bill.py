"""The upstream's own bill: what each request was charged, and the sums.

Rule 1: integers only. A charge is a whole number of nano-USD (1e-9 $); sums have no bound.
Rule 2: append-only. Sums count every charge since the last reset; only the *detail* of old ones is dropped.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import msgspec

UNLABELLED = "unlabelled"
"""The agent label of a request that named no agent."""

DETAIL_KEPT = 20_000
"""Charges whose detail stays readable; a benchmark makes millions."""

PAGE = 1_000
"""Charges in one answer of ``since``."""


class Charge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One billed request. ``number`` counts from 1 since the last reset; ``model`` may be empty."""

    number: int
    account: str
    agent: str
    operation: str
    model: str
    quantities: dict[str, int]
    nano_usd: int
    paid_out_nano_usd: int


class Sum(msgspec.Struct, kw_only=True):
    """What a group of charges adds up to. ``requests`` counts charges, also those of zero nano-USD."""

    requests: int = 0
    nano_usd: int = 0
    paid_out_nano_usd: int = 0
    quantities: dict[str, int] = msgspec.field(default_factory=dict)

    def add(
        self, requests: int, nano_usd: int, paid_out_nano_usd: int, quantities: Mapping[str, int]
    ) -> None:
        """Add a charge, or another sum."""
        self.requests += requests
        self.nano_usd += nano_usd
        self.paid_out_nano_usd += paid_out_nano_usd
        mine = self.quantities
        for kind, quantity in quantities.items():
            mine[kind] = mine.get(kind, 0) + quantity


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of all charges that share account, agent, operation and model: the bill's finest grouping."""

    account: str
    agent: str
    operation: str
    model: str
    sum: Sum


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The bill as ``GET /bill`` shows it.

    ``requests`` were charged; ``arrived`` reached the API at all, with whatever outcome (refused, failed…).
    ``by_operation`` covers every charge, ``by_model`` those of model calls.
    """

    total_nano_usd: int
    paid_out_nano_usd: int
    requests: int
    arrived: int
    by_account: dict[str, Sum]
    by_agent: dict[str, Sum]
    by_operation: dict[str, Sum]
    by_model: dict[str, Sum]
    lines: list[Line]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Charges numbered above ``since``, oldest first. Pass ``last`` as the next ``since``.

    ``dropped`` counts those whose detail is no longer kept (the sums still have them).
    """

    charges: list[Charge]
    last: int
    dropped: int


class Bill:
    """An append-only bill for one event loop (not thread-safe)."""

    def __init__(self, detail_kept: int = DETAIL_KEPT) -> None:
        self._charges: deque[Charge] = deque(maxlen=detail_kept)
        self._sums: dict[tuple[str, str, str, str], Sum] = {}
        self._count = 0
        self._arrived = 0

    def arrive(self) -> None:
        """Count a request that reached the API, before anything is known of its outcome."""
        self._arrived += 1

    def charge(
        self,
        *,
        account: str,
        agent: str,
        operation: str,
        nano_usd: int,
        quantities: dict[str, int],
        model: str = "",
        paid_out_nano_usd: int = 0,
    ) -> Charge:
        """Write a charge down; ``quantities`` are whole numbers by kind and are kept, not copied."""
        if nano_usd < 0 or paid_out_nano_usd < 0:
            raise ValueError(f"a charge can't be negative: `{nano_usd}`, paid out `{paid_out_nano_usd}`")
        self._count += 1
        charge = Charge(
            number=self._count,
            account=account,
            agent=agent,
            operation=operation,
            model=model,
            quantities=quantities,
            nano_usd=nano_usd,
            paid_out_nano_usd=paid_out_nano_usd,
        )
        self._charges.append(charge)
        key = (account, agent, operation, model)
        total = self._sums.get(key)
        if total is None:
            total = self._sums[key] = Sum()
        total.add(1, nano_usd, paid_out_nano_usd, quantities)
        return charge

    def summary(self) -> Summary:
        """All sums, derived from the finest grouping."""
        lines = [
            Line(account=account, agent=agent, operation=operation, model=model, sum=total)
            for (account, agent, operation, model), total in sorted(self._sums.items())
        ]
        return Summary(
            total_nano_usd=sum(line.sum.nano_usd for line in lines),
            paid_out_nano_usd=sum(line.sum.paid_out_nano_usd for line in lines),
            requests=self._count,
            arrived=self._arrived,
            by_account=_grouped(lines, lambda line: line.account),
            by_agent=_grouped(lines, lambda line: line.agent),
            by_operation=_grouped(lines, lambda line: line.operation),
            by_model=_grouped((line for line in lines if line.model), lambda line: line.model),
            lines=lines,
        )

    def since(self, number: int) -> Page:
        """The charges after ``number``, at most ``PAGE`` of them, oldest first."""
        first_kept = self._count - len(self._charges) + 1
        wanted = max(number, 0) + 1
        start = max(wanted, first_kept)
        charges = list(islice(self._charges, start - first_kept, start - first_kept + PAGE))
        return Page(
            charges=charges,
            last=charges[-1].number if charges else max(number, 0),
            dropped=max(min(first_kept, self._count + 1) - wanted, 0),
        )

    def reset(self) -> None:
        """Start a new bill at zero; numbers start at 1 again."""
        self._charges.clear()
        self._sums.clear()
        self._count = 0
        self._arrived = 0


def masked(key: str) -> str:
    """An upstream key's name on the bill: enough to tell keys apart, too little to use one."""
    return f"{key[:3]}...{key[-4:]}" if len(key) >= 12 else "..."


def accounts(keys: list[str]) -> dict[str, str]:
    """The ``Authorization`` header of each key -> its masked name; two keys never share an account."""
    names = [masked(key) for key in keys]
    for name, uses in Counter(names).items():
        if uses > 1:
            raise ValueError(f"`{uses}` upstream keys would all be billed as `{name}`: choose other endings")
    return {f"Bearer {key}": name for key, name in zip(keys, names, strict=True)}


def _grouped(lines: Iterable[Line], name: Callable[[Line], str]) -> dict[str, Sum]:
    groups: dict[str, Sum] = {}
    for line in lines:
        part = line.sum
        group = groups.setdefault(name(line), Sum())
        group.add(part.requests, part.nano_usd, part.paid_out_nano_usd, part.quantities)
    return groups
