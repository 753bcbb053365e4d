"""The way to upstreams, by pyreqwest: no redirects, no decompression, no proxy from the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache

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

from aegis_gateway.application.ports import UpstreamAnswer, UpstreamRequest
from aegis_gateway.domain.errors import UpstreamFault

CONNECT_TIMEOUT_S = 10
IDLE_TIMEOUT_S = 300
POOL_IDLE_S = 4
"""How long an unused connection is kept: less than the five seconds after which many servers close theirs. A request
that meets the close would be in doubt."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024


class PyreqwestUpstream:
    """One connection pool for all upstreams of a gateway worker."""

    def __init__(self) -> None:
        """Build the pool."""
        self._client: Client = (
            ClientBuilder()
            .follow_redirects(False)
            .referer(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .no_proxy()
            .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_S))
            .read_timeout(timedelta(seconds=IDLE_TIMEOUT_S))
            .pool_idle_timeout(timedelta(seconds=POOL_IDLE_S))
            .user_agent("aegis-gateway")
            .build()
        )

    async def fetch(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Send a request and wait for its whole answer.

        Raises:
            UpstreamFault: there was no answer, it broke off, or it is longer than may be held.
        """
        try:
            async with self._builder(request).build_streamed() as response:
                return await PyreqwestStream(response).rest()
        except PyreqwestError as fault:
            raise upstream_fault(fault) from fault

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[PyreqwestStream]:
        """Send a request and read its answer in pieces; it is closed at the end of the block.

        Raises:
            UpstreamFault: there was no answer.
        """
        try:
            # Left to itself the client would read 64 KiB ahead before it gave anything.
            sending = self._builder(request).streamed_read_buffer_limit(0).build_streamed()
            response = await sending.__aenter__()
        except PyreqwestError as fault:
            raise upstream_fault(fault) from fault
        try:
            yield PyreqwestStream(response)
        finally:
            await sending.__aexit__(None, None, None)

    def _builder(self, request: UpstreamRequest) -> RequestBuilder:
        try:
            builder = self._client.request(request.method, request.url).headers(request.headers)
        except ValueError:
            # Without the client's words and without the fault behind them: they repeat the header.
            raise UpstreamFault("the request has a header that cannot be sent", sent=False) from None
        builder = builder.timeout(_seconds(request.timeout_s))
        return builder.body_bytes(request.body) if request.body else builder

    async def close(self) -> None:
        """Close the pool."""
        await self._client.close()


class PyreqwestStream:
    """An upstream's answer in pieces."""

    def __init__(self, response: Response) -> None:
        """Wrap a response whose body has not been read."""
        self._response = response
        self.status = response.status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers, names in lower case."""
        return list(self._response.headers.items())

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
        return UpstreamAnswer(status=self.status, headers=self.headers, body=b"".join(pieces))

    async def next_piece(self) -> bytes | None:
        """The next piece of the body as it arrives; None at its end.

        Raises:
            UpstreamFault: it broke off.
        """
        try:
            piece = await self._response.body_reader.read_chunk()
        except PyreqwestError as fault:
            raise upstream_fault(fault, answered=True) from fault
        return None if piece is None else bytes(piece)


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
