"""The door to pages and the control API, among the doors of a gateway worker.

Rule: a worker reads what people ask and passes it on to the process of the pages; nothing is worked out here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, read_body
from aegis_gateway.entrypoints.people.pages_client import ANSWER_S, PagesClient
from aegis_gateway.entrypoints.people.passing_on import Answered, PeopleScope

IN_FLIGHT_MAX = 64
READING_MAX = 64
"""How many bodies are read at once. Of more, the one that has taken longest is given up: whoever sends a body whole
needs no time for it, and whoever holds many back keeps nobody else out."""
BODY_BYTES_MAX = 1024 * 1024
BODY_S = 20.0
"""How long a request's body may take."""

_PREFIXES = (
    "/overview",
    "/budgets",
    "/calls",
    "/runs",
    "/agents",
    "/incidents",
    "/kpi",
    "/live",
    "/approvals",
    "/notifications",
    "/policies",
    "/audit",
    "/shadow",
    "/report",
    "/rollout",
    "/settings",
    "/views",
    "/sign-in",
    "/sign-out",
    "/static",
    "/api",
    "/slack",
    "/metrics",
)

_log = logging.getLogger("aegis.people")


def is_for_people(path: str) -> bool:
    """Whether a path is one of a page, or of the control API."""
    return path == "/" or any(path == prefix or path.startswith(f"{prefix}/") for prefix in _PREFIXES)


class PeopleDoor:
    """Answers people, by the process of the pages that listens at `path`.

    `tell` is done before anything is passed on: what this worker has counted is then known where it is asked for.
    `in_flight` is how many requests the pages have to answer, but for those whose answers stream.
    """

    def __init__(self, path: Path, tell: Callable[[], None], patience_s: float = ANSWER_S) -> None:
        """Connect to nothing yet. `patience_s` is how long an answer may take to begin."""
        self._pages = PagesClient(path, patience_s)
        self._tell = tell
        self.in_flight = 0
        self._reading: dict[asyncio.Future[bytes], None] = {}

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request, whatever happens."""
        asked = cast(PeopleScope, scope)
        try:
            body = await self._read(asked, protocol) if scope.method not in ("GET", "HEAD") else b""
            await self._answer(asked, protocol, body)
        except CallError as fault:
            _refuse(protocol, fault.status, str(fault))
        except Exception:
            # The last resort: an answer for who asked, the trace for the operator.
            _log.exception("a page failed in a way nobody foresaw")
            _refuse(protocol, 500, "the gateway failed; the operator's log says why")

    def hang_up(self) -> None:
        """End the answers that would go on for as long as somebody looks at a page."""
        self._pages.hang_up()

    async def _read(self, scope: PeopleScope, protocol: HttpProtocol) -> bytes:
        reading = asyncio.ensure_future(read_body(scope, protocol, BODY_S, BODY_BYTES_MAX))
        self._reading[reading] = None
        if len(self._reading) > READING_MAX:
            slowest = next(iter(self._reading))
            del self._reading[slowest]
            slowest.cancel()
        try:
            await asyncio.wait({reading})
        finally:
            reading.cancel()
            self._reading.pop(reading, None)
        if reading.cancelled():
            raise CallError("the body takes longer than those of all others; send it whole", status=408)
        return reading.result()

    async def _answer(self, scope: PeopleScope, protocol: HttpProtocol, body: bytes) -> None:
        if self.in_flight >= IN_FLIGHT_MAX:
            raise CallError("too many people ask at once; try again in a moment", status=503)
        self._tell()
        self.in_flight += 1
        is_counted = True

        def count_no_more() -> None:
            nonlocal is_counted
            self.in_flight -= is_counted
            is_counted = False

        # Who leaves is counted until the pages are done with what they asked, or there would be no bound to it. What
        # streams has its own (`live/watch.py`), or pages that are open would keep others out.
        await self._pages.serve(scope, protocol, body, count_no_more)


def _refuse(protocol: HttpProtocol, status: int, words: str) -> None:
    answer = Answered.problem(0, status, words)
    try:
        protocol.response_bytes(answer.status, answer.headers, answer.body)
    except RuntimeError:  # the answer had begun: the connection ends in the middle of it, which says enough
        _log.debug("an answer broke off")
