"""The data plane: which door a request goes to, and what becomes of faults on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aegis_gateway.application.calls import Calls
from aegis_gateway.application.ports import Secrets, Upstream
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.entrypoints.data_plane.chat import ChatDoor, models_list
from aegis_gateway.entrypoints.data_plane.connect import PREFIX, ConnectDoor
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, api_key, send_error
from aegis_gateway.entrypoints.data_plane.pressure import Pressure
from aegis_gateway.entrypoints.data_plane.refusals import error_answer, misunderstood, unavailable

CALLS_IN_FLIGHT_MAX = 8_192

_TOO_MUCH = "the gateway has more to do than it can; try again in a moment"

_log = logging.getLogger("aegis.data_plane")

Door = Callable[[Scope, HttpProtocol], Awaitable[None]]


class DataPlane:
    """An RSGI application. Under pressure it refuses calls with 503 rather than slow down for all.

    `in_flight_max` bounds the memory that calls under way can take. `idle` is set while there are none.
    """

    def __init__(
        self, calls: Calls, upstream: Upstream, secrets: Secrets, *, in_flight_max: int = CALLS_IN_FLIGHT_MAX
    ) -> None:
        """Build the doors."""
        self._calls = calls
        self._connect: Door = ConnectDoor(calls, upstream, secrets)
        self._doors: dict[tuple[str, str], Door] = {
            ("POST", "/v1/chat/completions"): ChatDoor(calls, upstream, secrets),
            ("GET", "/v1/models"): self._models,
            ("GET", "/healthz"): _healthy,
            ("GET", "/readyz"): _healthy,
        }
        self._in_flight_max = in_flight_max
        self.pressure = Pressure()
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request, whatever happens."""
        door = self._door(scope)
        is_too_much = self.in_flight >= self._in_flight_max or self.pressure.refuses
        if is_too_much and door is not _healthy:
            send_error(protocol, unavailable(_TOO_MUCH))
            return
        self.in_flight += 1
        self.idle.clear()
        try:
            await door(scope, protocol)
        except CallError as fault:
            send_error(protocol, misunderstood(fault))
        except AegisError as fault:
            # The ledger, the store or the configuration: nothing can be decided, so nothing is forwarded.
            send_error(protocol, unavailable(str(fault)))
        except Exception:
            # The last resort: the caller gets an answer, the operator the trace, and nothing more is forwarded.
            _log.exception("a call failed in a way nobody foresaw")
            send_error(protocol, unavailable("the gateway failed; the operator's log says why"))
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    def _door(self, scope: Scope) -> Door:
        if scope.path.startswith(PREFIX):
            return self._connect
        return self._doors.get((scope.method, scope.path), _nowhere)

    async def _models(self, scope: Scope, protocol: HttpProtocol) -> None:
        view = await self._calls.view(api_key(scope))
        headers = [("content-type", "application/json")]
        protocol.response_bytes(200, headers, models_list(view.registry.models))


async def _healthy(_scope: Scope, protocol: HttpProtocol) -> None:
    protocol.response_bytes(200, [("content-type", "application/json")], b'{"status":"ok"}')


async def _nowhere(scope: Scope, protocol: HttpProtocol) -> None:
    message = f"there is nothing at {scope.method[:16]} {scope.path[:256]}; see the README for what is"
    send_error(protocol, error_answer(404, "not_found", message))
