"""The data plane: every request gets an answer, in its API's form, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
import logging

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.estimates import Estimates
from aegis_gateway.application.ports import Secrets, Upstream
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.entrypoints.data_plane.authzen.access_requests import AccessRequests
from aegis_gateway.entrypoints.data_plane.envoy.access import EnvoyAccess
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, send_error
from aegis_gateway.entrypoints.data_plane.idempotency import HEADER as IDEMPOTENCY_KEY
from aegis_gateway.entrypoints.data_plane.idempotency import Idempotency
from aegis_gateway.entrypoints.data_plane.mcp.door import McpDoor
from aegis_gateway.entrypoints.data_plane.pressure import Pressure
from aegis_gateway.entrypoints.data_plane.refusals import misunderstood, unavailable
from aegis_gateway.entrypoints.data_plane.routes import Door, Route, Routes
from aegis_gateway.entrypoints.data_plane.tool_decisions import ToolDecisions

CALLS_IN_FLIGHT_MAX = 8_192

_TOO_MUCH = "the gateway has more to do than it can; try again in a moment"

_log = logging.getLogger("aegis.data_plane")


class DataPlane:
    """An RSGI application. Under pressure it refuses calls with 503 rather than slow down for all.

    `in_flight_max` bounds the memory that calls under way can take. `idle` is set while there are none.
    """

    def __init__(
        self,
        calls: Calls,
        upstream: Upstream,
        secrets: Secrets,
        idempotency: Idempotency,
        decisions: ToolDecisions,
        estimates: Estimates,
        mcp: McpDoor,
        envoys: EnvoyAccess | None = None,
        people: Door | None = None,
        access: AccessRequests | None = None,
        *,
        in_flight_max: int = CALLS_IN_FLIGHT_MAX,
    ) -> None:
        """Build the doors. `envoys` tells Envoys from others; without it, `people` or `access`, there is no
        door for them.
        """
        self._routes = Routes(calls, upstream, secrets, decisions, estimates, mcp, envoys, people, access)
        self._idempotency = idempotency
        self._in_flight_max = in_flight_max
        self._pace = calls.pace
        self.pressure = Pressure()
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request, whatever happens."""
        await self.serve(self._routes.of(scope), scope, protocol)

    async def serve(self, route: Route, scope: Scope, protocol: HttpProtocol) -> None:
        """Have a door answer one request, whatever happens."""
        door, errors, counts, again, keeps, name = route
        is_too_much = self.in_flight >= self._in_flight_max or self.pressure.refuses
        if is_too_much and counts:
            self._pace.refused(name, "overload")
            send_error(protocol, unavailable(_TOO_MUCH, errors))
            return
        self.in_flight += 1
        self._pace.under_way[name] += 1
        self.idle.clear()
        try:
            if keeps and IDEMPOTENCY_KEY in scope.headers:
                await self._idempotency.serve(door, scope, again(protocol), errors)
            else:
                await door(scope, protocol)
        except CallError as fault:
            self._pace.undecided(name, fault)
            send_error(protocol, misunderstood(fault, errors))
        except AegisError as fault:
            # The ledger, the store or the configuration: nothing can be decided, so nothing is forwarded.
            self._pace.undecided(name, fault)
            send_error(protocol, unavailable(str(fault), errors))
        except Exception:
            # The last resort: the caller gets an answer, the operator the trace, and nothing more is forwarded.
            _log.exception("a call failed in a way nobody foresaw")
            self._pace.refused(name, "failed")
            send_error(protocol, unavailable("the gateway failed; the operator's log says why", errors))
        finally:
            self.in_flight -= 1
            self._pace.under_way[name] -= 1
            if not self.in_flight:
                self.idle.set()
