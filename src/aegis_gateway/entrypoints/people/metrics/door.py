"""`GET /metrics`, in Prometheus's text format, or OpenMetrics where that is asked for.

Rule: it tells what is spent by whom. So it wants a person's token, and tells of the tenants that this person may read;
only a gateway that no other machine reaches tells everybody who asks.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from aegis_gateway.application.pace import PaceTold, ReadPace
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.errors import LedgerUnavailable, StoreError
from aegis_gateway.entrypoints.people.metrics.families import LedgerMetrics
from aegis_gateway.entrypoints.people.metrics.pace import PaceMetrics
from aegis_gateway.entrypoints.people.office import Office

_WHO = (
    "metrics want a person's token here, as `Authorization: Bearer aegis_person_…`; "
    "an admin issues it: `aegis people token issue PERSON`\n"
)

NOTED_EVERY_NS = 600 * 1_000_000_000


class MetricsDoor:
    """Tells Prometheus. `names` are what the gateway listens on, and by which it is reached besides."""

    def __init__(self, office: Office, names: tuple[str, ...], read_pace: ReadPace) -> None:
        """Tell everybody where only this machine reaches the gateway: it has no other name, as behind a proxy."""
        self._office = office
        self._read_pace = read_pace
        self._is_open = all(map(_is_loopback, names))
        self._noted_ns = 0

    async def endpoint(self, request: Request) -> Response:
        """Answer one scrape."""
        try:
            pace = await self._read_pace()
        except LedgerUnavailable:
            pace = None  # the rest is in the store, and can be told all the same
        return await run_in_threadpool(self._answer, request, pace)

    def _answer(self, request: Request, pace: PaceTold | None) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        office = self._office
        found = office.token_holder(token.strip()) if kind.lower() == "bearer" else None
        if found is None and (token or not self._is_open):
            headers = {"www-authenticate": "Bearer"}
            return Response(_WHO, status_code=401, headers=headers, media_type="text/plain")
        views = office.tenants()
        readable = sorted(views) if found is None else office.readable(found[0])
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        with office.store() as store:
            registries = [views[tenant].registry for tenant in readable]
            told = CollectorRegistry()
            told.register(LedgerMetrics(store, registries))
            if pace is not None:
                is_whole = len(readable) == len(views)
                told.register(PaceMetrics(pace, frozenset(readable), is_whole=is_whole))
            body = encode(told)
            self._note(store)
        return Response(body, headers={"content-type": content_type})

    def _note(self, store: Store) -> None:
        """Keep that somebody asked, now and then: `aegis rollout` tells by it whether a dashboard is connected."""
        now_ns = store.clock_ns()
        if now_ns - self._noted_ns < NOTED_EVERY_NS:
            return
        # Who asks for figures gets them, whether or not that can be written down.
        with suppress(LedgerUnavailable, StoreError), store.change([]) as change:
            change.note_seen("metrics", now_ns)
            self._noted_ns = now_ns


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
