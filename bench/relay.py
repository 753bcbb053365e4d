"""The bare relay: what any gateway on this HTTP stack costs before it does anything of its own.

granian and pyreqwest, with the server's options as Aegis's worker has them (they are handed over, so that they
can't differ). It sends a request's body on under the provider's key and passes the answer back, a stream piece by
piece; it looks at nothing else and keeps nothing. For each kind of answer it uses the cheaper of pyreqwest's ways.
"""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from pyreqwest.client import Client, ClientBuilder

from aegis_gateway.demo.upstream.parent import die_with_parent

_STREAM = b'"stream": true'


class Relay:
    """Passes everything to one address."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = [("content-type", "application/json"), ("authorization", f"Bearer {key}")]
        self._client: Client = (
            ClientBuilder()
            .follow_redirects(False)
            .referer(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .no_proxy()
            .connect_timeout(timedelta(seconds=10))
            .read_timeout(timedelta(seconds=300))
            .build()
        )

    async def __call__(self, scope: Any, protocol: Any) -> None:
        if scope.method == "GET":
            protocol.response_bytes(200, [], b"ok")
            return
        body = await protocol()
        request = self._client.post(self._url).headers(self._headers).body_bytes(body)
        if _STREAM in body:
            # Left to itself the client would read 64 KiB ahead before it gave anything: no stream any more.
            async with request.streamed_read_buffer_limit(0).build_streamed() as answer:
                headers = [("content-type", answer.headers["content-type"])]
                stream = protocol.response_stream(answer.status, headers)
                while (piece := await answer.body_reader.read_chunk()) is not None:
                    await stream.send_bytes(bytes(piece))
        else:
            whole = await request.build().send()
            headers = [("content-type", whole.headers["content-type"])]
            protocol.response_bytes(whole.status, headers, bytes(await whole.bytes()))


async def serve(options: argparse.Namespace) -> None:
    """Serve until the process that started this one ends or a signal ends it."""
    watch = asyncio.create_task(die_with_parent())
    server = Server(
        Relay(options.url, options.key),
        address="127.0.0.1",
        port=options.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=options.backlog,
        backpressure=options.backpressure,
        http1_settings=HTTP1Settings(header_read_timeout=options.header_timeout_ms),
        log_enabled=False,
    )
    await server.serve()
    watch.cancel()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description="A relay that does nothing but relay.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--url", required=True, help="where every request goes")
    parser.add_argument("--key", required=True, help="the key it goes there with")
    parser.add_argument("--backlog", type=int, required=True)
    parser.add_argument("--backpressure", type=int, required=True)
    parser.add_argument("--header-timeout-ms", type=int, required=True)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
