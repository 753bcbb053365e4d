"""Where an open page listens: `/live`, or `/live?tenant=…` for a page of one tenant."""

from __future__ import annotations

from starlette.responses import Response

from aegis_gateway.application.sessions import secret_digest
from aegis_gateway.entrypoints.people.live.onlooker import View
from aegis_gateway.entrypoints.people.live.stream import LiveStream
from aegis_gateway.entrypoints.people.live.watch import Watch
from aegis_gateway.entrypoints.people.visits import Visit


class LivePages:
    """Listening, on a watch."""

    def __init__(self, watch: Watch) -> None:
        """Nobody listens yet."""
        self._watch = watch

    def listen(self, visit: Visit) -> Response:
        """A stream that tells when something that the reader may see has changed."""
        tenant = visit.query.get("tenant")
        readable = visit.readable
        if not readable or (tenant is not None and tenant not in readable):
            return visit.no_tenant()
        view = View(
            session=secret_digest("session", visit.secret, visit.office.pepper),
            person=visit.person,
            tenant=tenant,
        )
        return LiveStream(self._watch, view, visit.headers.get("last-event-id", ""))
