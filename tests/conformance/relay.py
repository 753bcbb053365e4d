"""A relay that passes bytes on and adds a header to each request: what stands in front of a server without seeing it.

The suite can't send a key, so it reaches the gateway through one of these. In front of the server itself it shows
that a relay which changes nothing costs no check.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType

_END = b"\r\n\r\n"
_PIECE = 65_536


class ByteRelay:
    """Within the context, `url` leads to another port of this machine."""

    def __init__(self, port: int, path: str = "/mcp", header: str = "") -> None:
        """`header` is added to each request, as it stands."""
        self._to = port
        self._path = path
        self._header = f"{header}\r\n".encode() if header else b""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it leads, by a name: the suite tries what it is against rebinding on `localhost` alone."""
        return f"http://localhost:{self.port}{self._path}"

    def __enter__(self) -> ByteRelay:
        self._thread.start()
        opening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        assert self._server is not None, "it was never opened"
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        """One connection; whichever side ends it ends both."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [
            asyncio.create_task(self._requests(incoming, writer)),
            asyncio.create_task(_bytes(reader, outgoing)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in (writer, outgoing):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _requests(self, incoming: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests, one after the other; their bodies have a length."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await incoming.readuntil(_END)
                first, _, rest = head.partition(b"\r\n")
                writer.write(first + b"\r\n" + self._header + rest)
                if length := _length(rest):
                    writer.write(await incoming.readexactly(length))
                await writer.drain()


async def _bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


def _length(headers: bytes) -> int:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
