"""Requests for pages, passed on from a worker's door to an application in a process of its own, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from aegis_gateway.adapters.frames import frame
from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol
from aegis_gateway.entrypoints.people.bridge import AsgiApp, Message, Receive, Send, Workers
from aegis_gateway.entrypoints.people.door import BODY_BYTES_MAX, IN_FLIGHT_MAX, PeopleDoor
from aegis_gateway.entrypoints.people.passing_on import HEADER_BYTES_MAX, PIECE_BYTES_MAX, PeopleScope

WAIT_S = 10.0
HEAD = [("a", "1"), ("a", "2")]
START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"1"), (b"a", b"2")]}


def piece(body: bytes, *, more: bool) -> Message:
    """A part of an answer."""
    return {"type": "http.response.body", "body": body, "more_body": more}


class Browser:
    """Somebody who asks over RSGI, and who may leave, or take no more than some pieces before they do."""

    method, path, query_string, scheme = "GET", "/x", "a=1", "http"
    http_version, client, server = "1.1", "127.0.0.1:5", "127.0.0.1:8700"

    def __init__(self, method: str = "GET", *, takes: int | None = None, **headers: str) -> None:
        self.method = method
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.takes = takes
        self.got: list[Any] = []
        self.left = asyncio.Event()
        self.has_begun = asyncio.Event()

    async def __call__(self) -> bytes:
        """The body."""
        return b"body"

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces, of which there are none."""
        raise NotImplementedError

    async def client_disconnect(self) -> None:
        """Wait until they have left."""
        await self.left.wait()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Be answered."""
        self.got.append((status, headers, body))

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Browser:
        """Be answered in pieces."""
        self.got.append((status, headers))
        self.has_begun.set()
        return self

    async def send_bytes(self, data: bytes) -> None:
        """Get a piece."""
        if self.takes is not None and len(self.got) > self.takes:
            raise RuntimeError("closed")
        self.got.append(data)


class Pages:
    """An application that listens for workers, the door of one worker, and what the door told before it asked."""

    def __init__(self, path: Path, app: AsgiApp, patience_s: float = WAIT_S) -> None:
        self.path = path
        self.told = 0
        self.workers = Workers(app)
        self.door = PeopleDoor(path, self._tell, patience_s)
        self._server: asyncio.Server | None = None

    def _tell(self) -> None:
        self.told += 1

    async def __aenter__(self) -> Pages:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.get_running_loop().create_unix_server(self.workers.meet, str(self.path))

    async def close(self) -> None:
        """Be gone, with all connections."""
        assert self._server is not None, "it was opened"
        self._server.close()
        for each in list(self.workers.there):
            each.hang_up()
        await asyncio.wait_for(self.workers.are_gone.wait(), WAIT_S)
        self.path.unlink(missing_ok=True)

    async def ask(self, browser: Browser) -> list[Any]:
        """What a browser gets."""
        asking = self.door(cast(PeopleScope, browser), cast(HttpProtocol, browser))
        await asyncio.wait_for(asking, WAIT_S)
        return browser.got


def asked(path: Path, app: AsgiApp, *browsers: Browser) -> list[list[Any]]:
    """What browsers get of an application that ask at once."""

    async def ask() -> list[list[Any]]:
        async with Pages(path / "pages.sock", app) as pages:
            return list(await asyncio.gather(*map(pages.ask, browsers)))

    return asyncio.run(ask())


async def unreachable(scope: Any, receive: Receive, send: Send) -> None:
    """No request gets here."""
    raise AssertionError("it was reached")


def answering(*messages: Message) -> AsgiApp:
    """An application that says some messages."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def test_the_request_arrives(tmp_path: Path) -> None:
    """As it was asked, with its body; what can't be text in ASCII too. A HEAD arrives as a GET."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append((scope, await receive()))
        await send(START)
        await send(piece(b"x", more=False))

    browser = Browser("POST", cookie="a=b", x="ü", content_length="4")
    assert [[(200, HEAD, b"x")]] == asked(tmp_path, app, browser)
    assert [[(200, HEAD, b"")]] == asked(tmp_path, app, Browser("HEAD"))
    (post, told), (head, nothing) = seen
    assert ("POST", "/x", b"a=1", "http", "1.1") == tuple(
        post[name] for name in ("method", "path", "query_string", "scheme", "http_version")
    )
    assert (("127.0.0.1", 5), ("127.0.0.1", 8700)) == (post["client"], post["server"])
    assert [(b"cookie", b"a=b"), (b"x", "ü".encode()), (b"content-length", b"4")] == post["headers"]
    assert {"type": "http.request", "body": b"body", "more_body": False} == told
    assert ("GET", b"") == (head["method"], nothing["body"])


def test_the_answer_comes_back(tmp_path: Path) -> None:
    """Whole or in pieces; a HEAD gets headers alone; headers of one name stay two; a long one is sent in pieces."""
    pieces = answering(START, piece(b"x", more=True), piece(b"y", more=False))
    assert [[(200, HEAD), b"x", b"y"]] == asked(tmp_path, pieces, Browser())
    assert [[(200, HEAD, b"")]] == asked(tmp_path, pieces, Browser("HEAD"))
    long = bytes(PIECE_BYTES_MAX) + b"end"
    assert [[(200, HEAD), bytes(PIECE_BYTES_MAX), b"end"]] == asked(
        tmp_path, answering(START, piece(long, more=False)), Browser()
    )
    whole = bytes(PIECE_BYTES_MAX)
    assert [[(200, HEAD, whole)]] == asked(tmp_path, answering(START, piece(whole, more=False)), Browser())


def test_many_at_once(tmp_path: Path) -> None:
    """Each gets its own answer, whichever is ready first; more than may be are told to come again."""
    order: list[str] = []
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        number = dict(scope["headers"])[b"n"]
        order.append(number.decode())
        if len(order) == IN_FLIGHT_MAX:
            go_on.set()
        await go_on.wait()
        await send(START)
        await send(piece(number, more=False))

    browsers = [Browser(n=str(number)) for number in range(IN_FLIGHT_MAX + 3)]
    found = asked(tmp_path, app, *browsers)
    assert [str(number).encode() for number in range(IN_FLIGHT_MAX)] == [
        body for ((_, _, body),) in found[:IN_FLIGHT_MAX]
    ]
    assert [503] * 3 == [status for ((status, _, _),) in found[IN_FLIGHT_MAX:]]


def test_who_leaves_is_told_of(tmp_path: Path) -> None:
    """In the middle of an answer, or before it: the application hears of it, and its next piece fails."""
    heard: list[str] = []

    async def endless(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        with contextlib.suppress(OSError):
            while True:
                await send(piece(b"x", more=True))
        heard.append((await receive())["type"])

    async def waits(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        browser.left.set()
        heard.append((await receive())["type"])

    assert [[(200, HEAD), b"x", b"x"]] == asked(tmp_path, endless, Browser(takes=2))
    browser = Browser()
    assert [[]] == asked(tmp_path, waits, browser)
    assert ["http.disconnect"] * 2 == heard


def test_who_leaves_is_counted_until_the_pages_are_done(tmp_path: Path) -> None:
    """However many leave, the pages have no more to do than may be asked at once; then there is place again."""
    reached: list[str] = []
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        number = len(reached)
        reached.append(scope["method"])
        await receive()
        if not go_on.is_set():
            await receive()
            await go_on.wait()
            if number % 2:
                return  # without an answer, as a stream ends to which nobody listens
        await send(START)
        await send(piece(b"x", more=False))

    async def ask() -> None:
        async with Pages(tmp_path / "pages.sock", app) as pages:
            for number in range(IN_FLIGHT_MAX + 3):
                browser = Browser()
                browser.left.set()
                found = await pages.ask(browser)
                assert number < IN_FLIGHT_MAX or [503] == [status for status, _, _ in found]
            assert IN_FLIGHT_MAX >= len(reached)
            go_on.set()
            for _ in range(IN_FLIGHT_MAX + 1):
                while 503 == (status := (await pages.ask(Browser(x="y" * HEADER_BYTES_MAX)))[0][0]):
                    pass  # each time there and back
                assert 431 == status
            for _ in range(2 * IN_FLIGHT_MAX):
                while [(200, HEAD, b"x")] != (found := await pages.ask(Browser())):
                    assert [503] == [status for status, _, _ in found]

    asyncio.run(asyncio.wait_for(ask(), WAIT_S))


def test_who_reads_slowly_holds_up_nobody(tmp_path: Path) -> None:
    """One piece waits for them, and the application with it; others are answered meanwhile."""
    sent: list[int] = []
    taking = asyncio.Event()

    class Slow(Browser):
        async def send_bytes(self, data: bytes) -> None:
            await taking.wait()
            await super().send_bytes(data)

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        if scope["headers"]:
            await send(piece(b"quick", more=False))
            return
        for number in range(5):
            await send(piece(b"%d" % number, more=number < 4))
            sent.append(number)

    async def ask() -> None:
        async with Pages(tmp_path / "pages.sock", app) as pages:
            slow = Slow()
            reading = asyncio.create_task(pages.ask(slow))
            await slow.has_begun.wait()
            assert [(200, HEAD, b"quick")] == await pages.ask(Browser(x="1"))
            assert sent in ([], [0])
            taking.set()
            assert [(200, HEAD), b"0", b"1", b"2", b"3", b"4"] == await reading

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("browser", "status", "words"),
    [
        (Browser(x="y" * HEADER_BYTES_MAX), 431, "headers are longer"),
        (Browser("POST", content_length=str(BODY_BYTES_MAX + 1)), 413, "body is longer"),
    ],
)
def test_what_is_too_long_is_not_passed_on(tmp_path: Path, browser: Browser, status: int, words: str) -> None:
    """Headers, or a body."""
    (((found, _, body),),) = asked(tmp_path, unreachable, browser)
    assert (status, True) == (found, words in body.decode())


async def fails(scope: Any, receive: Receive, send: Send) -> None:
    """An application that fails, after it has begun to answer if it is asked to."""
    if scope["headers"]:
        await send(START)
        await send(piece(b"x", more=True))
    raise LedgerUnavailable("the database sleeps") if not scope["headers"] else ValueError("odd")


def test_an_application_that_fails(tmp_path: Path) -> None:
    """Says why, if it is a fault of ours; an answer that had begun ends."""
    whole, begun = asked(tmp_path, fails, Browser(), Browser(x="1"))
    ((status, _, body),) = whole
    assert (503, True) == (status, b"the database sleeps" in body)
    assert [(200, HEAD), b"x"] == begun


def test_a_process_that_dies(tmp_path: Path) -> None:
    """Who waits for it is told so, and so is who comes before there is another; then all is as before."""
    reached = asyncio.Event()
    waits: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if b"waits" in dict(scope["headers"]):
            waits.append(scope["method"])
            if len(waits) == 2:
                reached.set()
            await receive()
            await receive()
        await send(START)
        await send(piece(b"x", more=b"streams" in dict(scope["headers"])))
        if b"streams" in dict(scope["headers"]):
            await receive()
            await receive()

    async def ask() -> None:
        pages = Pages(tmp_path / "pages.sock", app)
        await pages.open()
        streaming, waiting = Browser(streams="1"), Browser(waits="1")
        acting = Browser("POST", waits="1", content_length="4")
        all_of_them = [asyncio.create_task(pages.ask(each)) for each in (streaming, waiting, acting)]
        await streaming.has_begun.wait()
        await reached.wait()
        await pages.close()
        await asyncio.gather(*all_of_them)
        assert [(200, HEAD), b"x"] == streaming.got
        for browser, words in ((waiting, b"try again in a moment"), (acting, b"look before you try again")):
            ((status, _, body),) = browser.got
            assert (503, True) == (status, words in body)
        ((status, _, _),) = await pages.ask(Browser())
        assert 503 == status
        await pages.open()
        assert [(200, HEAD, b"x")] == await pages.ask(Browser())
        assert 5 == pages.told
        await pages.close()

    asyncio.run(ask())


def test_a_process_that_hangs(tmp_path: Path) -> None:
    """Who waits for it in vain is told so, and counts until it goes on; an answer that has begun may take its time."""
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        if scope["headers"] == [(b"streams", b"1")]:
            await send(piece(b"x", more=True))
        await go_on.wait()
        await send(piece(b"y", more=False))

    async def ask() -> None:
        async with Pages(tmp_path / "pages.sock", app, patience_s=0.05) as pages:
            streaming = Browser(streams="1")
            reading = asyncio.create_task(pages.ask(streaming))
            await streaming.has_begun.wait()
            for browser, words in (
                (Browser(), "try again in a moment"),
                (Browser("POST", content_length="4"), "look before you try again"),
            ):
                ((status, _, body),) = await pages.ask(browser)
                assert (504, True) == (status, words in body.decode())
            assert 2 == pages.door.in_flight
            go_on.set()
            assert [(200, HEAD), b"x", b"y"] == await reading
            assert [(200, HEAD, b"y")] == await pages.ask(Browser())
            assert 0 == pages.door.in_flight

    asyncio.run(ask())


def test_hanging_up(tmp_path: Path) -> None:
    """Ends what goes on for as long as somebody looks, and nothing else, however long it takes to read."""
    go_on = asyncio.Event()
    size = 3 * PIECE_BYTES_MAX

    class Slow(Browser):
        async def send_bytes(self, data: bytes) -> None:
            await go_on.wait()
            await super().send_bytes(data)

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if "long" in scope["query_string"].decode():
            await send({**START, "headers": [(b"content-length", b"%d" % size)]})
            await send(piece(bytes(size), more=False))
            return
        await send(START)
        if scope["headers"]:
            await send(piece(b"x", more=True))
            await receive()
            await receive()
            go_on.set()
            return
        await go_on.wait()
        await send(piece(b"y", more=False))

    async def ask() -> None:
        async with Pages(tmp_path / "pages.sock", app) as pages:
            live, whole, long = Browser(live="1"), Browser(), Slow()
            long.query_string = "long"
            asking = [asyncio.create_task(pages.ask(each)) for each in (live, whole, long)]
            await live.has_begun.wait()
            await long.has_begun.wait()
            pages.door.hang_up()
            await asyncio.gather(*asking)
            assert [[(200, HEAD), b"x"], [(200, HEAD, b"y")]] == [live.got, whole.got]
            assert size == sum(map(len, long.got[1:]))

    asyncio.run(ask())


@pytest.mark.parametrize("junk", [b"\xff" * 8, frame(b"\x93junk"), frame(b"")])
def test_junk_ends_a_connection_and_no_other(tmp_path: Path, junk: bytes) -> None:
    """From either side."""

    async def ask() -> None:
        async with Pages(tmp_path / "pages.sock", answering(START, piece(b"x", more=False))) as pages:
            reader, writer = await asyncio.open_unix_connection(str(pages.path))
            writer.write(junk)
            assert b"" == await asyncio.wait_for(reader.read(), WAIT_S)
            writer.close()
            assert [(200, HEAD, b"x")] == await pages.ask(Browser())

    async def be_told() -> None:
        async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(junk)
            await writer.drain()
            await reader.read()
            writer.close()

        path = tmp_path / "odd.sock"
        async with await asyncio.start_unix_server(say, str(path)):
            browser = Browser()
            door = PeopleDoor(path, lambda: None)
            await asyncio.wait_for(door(cast(PeopleScope, browser), cast(HttpProtocol, browser)), WAIT_S)
            ((status, _, _),) = browser.got
            assert 503 == status

    for each in (ask, be_told):
        run: Callable[[], Any] = each
        asyncio.run(run())
