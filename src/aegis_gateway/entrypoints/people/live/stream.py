"""The stream of events that an open page listens to, from its beginning to its end.

An event is `changed` (ask for what you show), `beat` (nothing changed, and the line works) or `over` (ask, and be told
why). Its id is the mark of what was told: a page that comes back with it (`Last-Event-ID`), to whichever gateway,
hears of what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.responses import PlainTextResponse, Response

from aegis_gateway.entrypoints.people.bridge import Receive, Send
from aegis_gateway.entrypoints.people.live.onlooker import News, Onlooker, View
from aegis_gateway.entrypoints.people.live.watch import TooMany, Watch

BEAT_S = 15.0
AGAIN_MS = 1_000
"""After how long a browser comes back whose stream was cut."""
MARK_CHARACTERS_MAX = 64

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Some proxies gather an answer before they pass it on; this asks them not to.
    (b"x-accel-buffering", b"no"),
]


class LiveStream(Response):
    """An answer that goes on for as long as somebody looks."""

    def __init__(self, watch: Watch, view: View, told: str) -> None:
        """Begin nothing yet. `told` is what the page knows already, as its browser says."""
        super().__init__()
        self._watch = watch
        self._view = view
        self._told = told if len(told) <= MARK_CHARACTERS_MAX else ""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Tell what there is to tell, until there is no more or nobody to tell it to."""
        onlooker = Onlooker(self._view, self._told)
        try:
            self._watch.join(onlooker)
        except TooMany:
            full = PlainTextResponse("too many pages are open at once; this one asks by itself\n", 503)
            await full(scope, receive, send)
            return
        leaving = asyncio.ensure_future(_until_left(receive))
        leaving.add_done_callback(lambda _: onlooker.end("leave"))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await _say(send, f"retry: {AGAIN_MS}\n\n")
            news: News = "nothing"
            while news not in ("over", "leave"):
                news = await onlooker.news(BEAT_S)
                if news != "leave":
                    await _say(send, _event(news, onlooker.told))
            if not leaving.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._watch.leave(onlooker)
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _say(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _event(news: News, mark: str) -> str:
    # An event without data is none to a browser.
    name = {"nothing": "beat"}.get(news, news)
    return f"event: {name}\nid: {mark}\ndata: {mark or '-'}\n\n"
