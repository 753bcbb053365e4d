"""The way to upstreams, by pyreqwest: no redirects, no decompression, no proxy from the environment.

Rule 1: each wait has a deadline: to connect, for the answer's first byte, between two pieces, in all.
Rule 2: a request is tried a second time only where it is certain that no byte of the first try left. The call holds
        its maximum meanwhile, so nobody can spend what it may still cost.
Rule 3: an answer that repeats our credential is passed on without it, if it is held whole. (Streams are not searched.)
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    DetailedPyreqwestError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from aegis_gateway.adapters.addresses import Addresses
from aegis_gateway.adapters.patience import Patience
from aegis_gateway.application.ports import UpstreamAnswer, UpstreamRequest
from aegis_gateway.domain.errors import UpstreamFault

POOL_IDLE_S = 4
"""How long an unused connection is kept: less than the five seconds after which many servers close theirs. A request
that meets the close would be in doubt."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024
CLIENTS_MAX = 64
PAUSE_BEFORE_RETRY_S = 0.1

_WITHHELD = b"[withheld]"
_PORTS = {"http": 80, "https": 443}


class PyreqwestUpstream:
    """The connections of one gateway worker: a pool for each upstream's address."""

    def __init__(self, addresses: Addresses | None = None) -> None:
        """Look hosts up by `addresses`."""
        self._addresses = addresses or Addresses()
        self._clients: OrderedDict[tuple[str, str, int], Client] = OrderedDict()

    async def fetch(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Send a request and wait for its whole answer.

        Raises:
            UpstreamFault: there was no answer, it broke off, or it is longer than may be held.
        """
        sending, response = await self._begun(request, read_ahead=True)
        try:
            return await _stream(request, response).rest()
        finally:
            await sending.__aexit__(None, None, None)

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[PyreqwestStream]:
        """Send a request and read its answer in pieces; it is closed at the end of the block.

        Raises:
            UpstreamFault: there was no answer.
        """
        sending, response = await self._begun(request, read_ahead=False)
        try:
            yield _stream(request, response)
        finally:
            await sending.__aexit__(None, None, None)

    async def _begun(self, request: UpstreamRequest, *, read_ahead: bool) -> tuple[Any, Response]:
        """Send a request, a second time if it is certain that it never left, and wait until its answer begins."""
        try:
            return await self._send(request, 0, read_ahead=read_ahead)
        except UpstreamFault as fault:
            if fault.sent:
                raise
        await asyncio.sleep(PAUSE_BEFORE_RETRY_S)
        return await self._send(request, 1, read_ahead=read_ahead)

    async def _send(
        self, request: UpstreamRequest, attempt: int, *, read_ahead: bool
    ) -> tuple[Any, Response]:
        """Send a request and wait until its answer begins, or with `read_ahead` until its first 64 KiB are there."""
        builder = self._builder(await self._client(request, attempt), request)
        if not read_ahead:
            # Left to itself the client would read 64 KiB ahead before it gave anything.
            builder = builder.streamed_read_buffer_limit(0)
        sending = builder.build_streamed()
        try:
            with Patience(request.deadlines.first_byte_s):
                return sending, await sending.__aenter__()
        except PyreqwestError as fault:  # before TimeoutError, which some of them are too
            raise upstream_fault(fault) from fault
        except TimeoutError as fault:
            words = f"the upstream did not answer within {request.deadlines.first_byte_s} s"
            raise UpstreamFault(words, sent=True, timed_out=True) from fault

    async def _client(self, request: UpstreamRequest, attempt: int) -> Client:
        """The pool of an upstream's vetted address; a second attempt goes to the next one, if there is another."""
        host, port = _place("/".join(request.url.split("/", 3)[:3]))
        addresses = await self._addresses.of(host, port, request.network)
        address = addresses[attempt % len(addresses)] if addresses else ""
        key = (f"{host}:{port}" if address else "", address, request.deadlines.connect_s)
        client = self._clients.get(key)
        if client is None:
            builder = _client_builder(request.deadlines.connect_s)
            client = (builder.resolve(host, address, port) if address else builder).build()
            self._clients[key] = client
            if len(self._clients) > CLIENTS_MAX:
                self._clients.popitem(
                    last=False
                )  # what it has under way goes on; it is closed with the last of it
        return client

    def _builder(self, client: Client, request: UpstreamRequest) -> RequestBuilder:
        try:
            builder = client.request(request.method, request.url).headers(request.headers)
        except ValueError:
            # Without the client's words and without the fault behind them: they repeat the header.
            raise UpstreamFault("the request has a header that cannot be sent", sent=False) from None
        builder = builder.timeout(_seconds(request.deadlines.total_s))
        return builder.body_bytes(request.body) if request.body else builder

    async def close(self) -> None:
        """Close the pools."""
        for client in self._clients.values():
            await client.close()


def _client_builder(connect_s: int) -> ClientBuilder:
    return (
        ClientBuilder()
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .no_proxy()
        .connect_timeout(timedelta(seconds=connect_s))
        .pool_idle_timeout(timedelta(seconds=POOL_IDLE_S))
        .user_agent("aegis-gateway")
    )


class PyreqwestStream:
    """An upstream's answer in pieces."""

    def __init__(self, response: Response, idle_s: int, secret: str | None) -> None:
        """Wrap a response whose body has not been read, and the credential that it must not give away."""
        self._response = response
        self._idle_s = idle_s
        self._secret = secret
        self.status = response.status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers, names in lower case; without one that repeats our credential."""
        return _unrepeated(list(self._response.headers.items()), self._secret)

    async def rest(self) -> UpstreamAnswer:
        """The answer as a whole, for one that turned out not to be a stream.

        Raises:
            UpstreamFault: it broke off, or is longer than may be held.
        """
        pieces: list[bytes] = []
        size = 0
        while (piece := await self.next_piece()) is not None:
            size += len(piece)
            if size > ANSWER_BYTES_MAX:
                raise UpstreamFault("the upstream's answer is longer than the gateway may hold", sent=True)
            pieces.append(piece)
        whole = UpstreamAnswer(status=self.status, headers=self.headers, body=b"".join(pieces))
        return without_secret(whole, self._secret)

    async def next_piece(self) -> bytes | None:
        """The next piece of the body as it arrives; None at its end.

        Raises:
            UpstreamFault: it broke off.
        """
        try:
            with Patience(self._idle_s):
                piece = await self._response.body_reader.read_chunk()
        except PyreqwestError as fault:  # before TimeoutError, which some of them are too
            raise upstream_fault(fault, answered=True) from fault
        except TimeoutError as fault:
            words = f"the upstream sent nothing for {self._idle_s} s in the middle of its answer"
            raise UpstreamFault(words, sent=True, timed_out=True) from fault
        return None if piece is None else bytes(piece)


def without_secret(answer: UpstreamAnswer, secret: str | None) -> UpstreamAnswer:
    """A whole answer without the credential that its request was sent with."""
    if not secret:
        return answer
    body = answer.body.replace(secret.encode(), _WITHHELD)
    return UpstreamAnswer(status=answer.status, headers=_unrepeated(answer.headers, secret), body=body)


def _unrepeated(headers: list[tuple[str, str]], secret: str | None) -> list[tuple[str, str]]:
    """Headers without one that repeats our credential."""
    return headers if not secret else [header for header in headers if secret not in header[1]]


def _stream(request: UpstreamRequest, response: Response) -> PyreqwestStream:
    return PyreqwestStream(response, request.deadlines.idle_s, request.secret)


@lru_cache(1_024)
def _place(origin: str) -> tuple[str, int]:
    """Host and port of the first part of a URL."""
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)


@cache
def _seconds(seconds: int) -> timedelta:
    return timedelta(seconds=seconds)


def upstream_fault(fault: PyreqwestError, *, answered: bool = False) -> UpstreamFault:
    """What a client's error says about the request's fate. Its own words are dropped: they can name the URL."""
    if not answered and _was_never_sent(fault):
        return UpstreamFault("the upstream cannot be reached; nothing was sent", sent=False)
    if isinstance(fault, RequestTimeoutError):
        return UpstreamFault("the upstream did not answer in time", sent=True, timed_out=True)
    if answered:
        return UpstreamFault("the upstream's answer broke off", sent=True)
    return UpstreamFault("the upstream closed the connection without an answer", sent=True)


def _was_never_sent(fault: PyreqwestError) -> bool:
    """Whether it is certain that no byte of the request left.

    The class alone doesn't say: it is ConnectError, too, when a connection breaks under a request that was sent,
    and ConnectTimeoutError when the answer is late. Only what failed while connecting has that among its causes.
    """
    if isinstance(fault, BuilderError | PoolTimeoutError):
        return True
    causes = fault.details["causes"] if isinstance(fault, DetailedPyreqwestError) else None
    return any(cause["message"] == _WHILE_CONNECTING for cause in causes or ())


_WHILE_CONNECTING = "client error (Connect)"
