"""The text of a scrape, written a few samples at a time.

Rule: a worker serves calls beside it. Whoever writes a megabyte in one go makes each turn of the event loop wait for
the interpreter; with a breath after each few samples it gets its turn at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

SAMPLES_AT_ONCE = 100

Encode = Callable[[CollectorRegistry], bytes]

_END = b"# EOF\n"


def text_of(encode: Encode, collectors: Iterable[Collector], breathe: Callable[[], None]) -> bytes:
    """What `encode` would write of some collectors at once."""
    pieces: list[bytes] = []
    is_ended = False
    for metric in (metric for collector in collectors for metric in collector.collect()):
        for part, is_first in _parts(metric):
            piece = encode(_Holding(part))
            is_ended = is_ended or piece.endswith(_END)
            piece = piece.removesuffix(_END)
            pieces.append(piece if is_first else _without_head(piece))
            breathe()
    return b"".join((*pieces, _END if is_ended else b""))


class _Holding(CollectorRegistry):
    """A registry of one metric."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def _parts(metric: Metric) -> Iterator[tuple[Metric, bool]]:
    """A metric in parts of some samples each, and whether it is the first."""
    for first in range(0, max(1, len(metric.samples)), SAMPLES_AT_ONCE):
        part = copy.copy(metric)
        part.samples = metric.samples[first : first + SAMPLES_AT_ONCE]
        yield part, not first


def _without_head(piece: bytes) -> bytes:
    """A part without what is said of the metric as a whole."""
    return b"".join(line for line in piece.splitlines(keepends=True) if not line.startswith(b"# "))
