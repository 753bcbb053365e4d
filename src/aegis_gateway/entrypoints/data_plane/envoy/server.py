"""The gRPC port, where Envoys ask: ext_authz (`Check`) and ext_proc (`Process`), in every worker (SO_REUSEPORT).

Rule 1: an Envoy that waits no longer cancels nothing that is under way: a call that was admitted is put in order first.
Rule 2: only Envoys that show the token are answered; it comes as gRPC metadata, which no agent can set.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from aegis_gateway.adapters.upstream import ANSWER_BYTES_MAX
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.ports import Secrets
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.entrypoints.data_plane.app import DataPlane
from aegis_gateway.entrypoints.data_plane.envoy.access import TOKEN_HEADER, EnvoyAccess
from aegis_gateway.entrypoints.data_plane.envoy.api import (
    AUTHORIZATION,
    EXTERNAL_PROCESSOR,
    OVERWRITE,
    CheckRequest,
    CheckResponse,
    ProcessingRequest,
    ProcessingResponse,
)
from aegis_gateway.entrypoints.data_plane.envoy.authorization import (
    PARTIAL_BODY,
    REMOVE,
    AuthorizationDoor,
    Body,
    body_shown,
    timeout_patience_ns,
)
from aegis_gateway.entrypoints.data_plane.envoy.processing import (
    Conversation,
    ConversationBroken,
    ConversationEnded,
    Processing,
)
from aegis_gateway.entrypoints.data_plane.envoy.shown import (
    HeldAnswer,
    ShownRequest,
    header_pairs,
    shown_request,
)
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope
from aegis_gateway.entrypoints.data_plane.routes import Route

CONNECTOR = "aegis-connector"
"""Where an Envoy's configuration says which connector a route is of."""
TIMEOUT = "aegis-timeout-ms"
"""How long an Envoy waits for each of our answers, where gRPC doesn't say so by itself (ext_proc)."""

_TIMEOUT_DIGITS_MAX = 9
_ALLOWED = 200
_OK, _PERMISSION_DENIED = 0, 7
_ROOM = 1024 * 1024
_KEEPALIVE_MS = 30_000
_CONNECTION_AGE_MS = 300_000
_OPTIONS = (
    ("grpc.so_reuseport", 1),
    ("grpc.max_receive_message_length", ANSWER_BYTES_MAX + _ROOM),
    ("grpc.max_send_message_length", ANSWER_BYTES_MAX + _ROOM),
    # An Envoy whose machine is gone says so to nobody; the calls that it has open end when it doesn't answer.
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS // 3),
    # An Envoy's few connections are spread over the workers anew now and then; calls that are open go on to their end.
    ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
)

_log = logging.getLogger("aegis.data_plane")


class EnvoyServer:
    """One worker's part of the gRPC port."""

    def __init__(self, data_plane: DataPlane, calls: Calls, secrets: Secrets, access: EnvoyAccess) -> None:
        """Build on the data plane, whose calls these are, and on the use cases."""
        self._data_plane = data_plane
        self._access = access
        self._door = AuthorizationDoor(calls, secrets, access)
        self._processing = Processing(data_plane, calls, secrets)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    AUTHORIZATION,
                    {
                        "Check": grpc.unary_unary_rpc_method_handler(
                            self._check,
                            request_deserializer=CheckRequest.FromString,
                            response_serializer=CheckResponse.SerializeToString,
                        )
                    },
                ),
                grpc.method_handlers_generic_handler(
                    EXTERNAL_PROCESSOR,
                    {
                        "Process": grpc.stream_stream_rpc_method_handler(
                            self._process,
                            request_deserializer=ProcessingRequest.FromString,
                            response_serializer=ProcessingResponse.SerializeToString,
                        )
                    },
                ),
            )
        )

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            ConfigurationError: it isn't possible there.
        """
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._server.add_insecure_port(where)
        except RuntimeError as fault:
            raise ConfigurationError(
                f"cannot listen for Envoys on {where}; write another AEGIS_GRPC_PORT"
            ) from fault
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, and give those under way so long to end."""
        await self._server.stop(grace_s)

    async def _check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        said = await self._said(context)
        attributes = request.attributes
        connector = attributes.context_extensions.get(CONNECTOR) or said.get(CONNECTOR, "")
        if not connector:
            words = (
                f"it isn't said which connector the route is of; set `{CONNECTOR}` in `context_extensions`"
            )
            _log.error("an Envoy asks in a way that can't be answered: %s", words)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)
        http = attributes.request.http
        asked = _asked(http, connector)
        left = asyncio.Event()
        context.add_done_callback(lambda _: left.set())  # type: ignore[arg-type]  # the stubs want a class for a function

        async def leaves() -> None:
            await left.wait()

        held = HeldAnswer(http.raw_body or http.body.encode(), leaves)
        left_s = context.time_remaining()
        authorizing = self._detached(
            self._data_plane.serve(
                Route(
                    partial(
                        self._authorize,
                        asked=asked,
                        held=held,
                        protocol_name=http.protocol,
                        patience_ns=timeout_patience_ns(left_s or 0),
                        is_awaited=lambda: not context.done(),
                    ),
                    keeps=False,
                    name="envoy",
                ),
                asked,
                held,
            )
        )
        await asyncio.shield(authorizing)
        assert held.answer is not None, "a door answers"
        return _check_response(held)

    async def _authorize(
        self,
        _scope: Scope,
        protocol: HttpProtocol,
        *,
        asked: ShownRequest,
        held: HeldAnswer,
        protocol_name: str,
        patience_ns: int,
        is_awaited: Callable[[], bool],
    ) -> None:
        raw = await held()
        body = _body_shown(asked, protocol_name, raw)
        await self._door.authorize(asked, raw, body, protocol, patience_ns=patience_ns, is_awaited=is_awaited)

    async def _process(
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        said = await self._said(context)
        talk = Conversation(partial(_write, context))
        patience_ns = timeout_patience_ns(_milliseconds(said.get(TIMEOUT)) / 1_000)
        serving = self._detached(self._processing.serve(talk, said.get(CONNECTOR, ""), patience_ns))
        hearing = asyncio.create_task(_hear(requests, talk))
        try:
            await asyncio.shield(serving)
        except (ConversationBroken, ConversationEnded) as fault:
            # Never a quiet end: if the Envoy is there after all, it would let the rest pass.
            _log.warning("a call through Envoy can't be gone on with: %s", fault)
            await context.abort(grpc.StatusCode.INTERNAL, str(fault))
        finally:
            talk.end()
            hearing.cancel()

    async def _said(self, context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
        """What an Envoy's configuration says to us; whoever doesn't show the token is not answered."""
        said = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        if not self._access.is_given_by(said.get(TOKEN_HEADER)):
            words = f"only Envoys are answered here; set `{TOKEN_HEADER}` in `initial_metadata`"
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, words)
        return said

    def _detached(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that goes on to its end, whether or not its Envoy waits for it."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._has_ended)
        return task

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, ConversationBroken | ConversationEnded):
            _log.error("a call through Envoy failed in a way nobody foresaw", exc_info=fault)


async def _hear(requests: AsyncIterator[Any], talk: Conversation) -> None:
    try:
        async for request in requests:
            talk.hear(request)
    except (grpc.aio.BaseError, DecodeError) as fault:
        talk.end(f"what Envoy says can't be read: {fault}")
    finally:
        talk.end()


async def _write(context: grpc.aio.ServicerContext[Any, Any], response: Any) -> None:
    try:
        await context.write(response)
    except grpc.aio.BaseError as fault:
        raise ConversationEnded("the Envoy doesn't listen any more") from fault


def _asked(http: Any, connector: str) -> ShownRequest:
    pairs = list(http.headers.items()) or header_pairs(http.header_map.headers)
    rest = [(name, value) for name, value in pairs if not name.startswith(":")]
    return shown_request(connector, http.method, http.path, rest)


def _body_shown(asked: ShownRequest, protocol_name: str, raw: bytes) -> Body:
    """What is known of a request's body. HTTP/1 has one only if a header says so; HTTP/2 tells by frames only."""
    headers = asked.headers
    length = headers.get("content-length")
    if length is not None:
        is_absent = length == "0"
    else:
        is_absent = protocol_name.startswith("HTTP/1") and "transfer-encoding" not in headers
    return body_shown(headers.get(PARTIAL_BODY), raw, is_absent)


def _check_response(held: HeldAnswer) -> Any:
    """The answer of ext_authz over HTTP, in the fields that gRPC has for it."""
    answer = held.answer
    assert answer is not None, "a door answers"
    response = CheckResponse()
    if answer.status != _ALLOWED:
        response.status.code = _PERMISSION_DENIED
        response.denied_response.status.code = answer.status
        for name, value in answer.headers:
            _put(response.denied_response.headers, name, value, OVERWRITE)
        response.denied_response.body = answer.body.decode()
        return response
    response.status.code = _OK
    allowed = response.ok_response
    allowed.SetInParent()
    for name, value in answer.headers:
        if name == REMOVE:
            allowed.headers_to_remove.extend(value.split(","))
        elif name.startswith("aegis-"):
            _put(allowed.response_headers_to_add, name, value, OVERWRITE)
        else:
            _put(allowed.headers, name, value, OVERWRITE)
    return response


def _put(options: Any, name: str, value: str, action: int) -> None:
    option = options.add()
    option.header.key, option.header.value = name, value
    option.append_action = action


def _milliseconds(text: str | None) -> int:
    if text is None or not text.isdecimal() or len(text) > _TIMEOUT_DIGITS_MAX:
        return 0
    return int(text)
