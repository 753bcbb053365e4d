"""Open pages whose browser is elsewhere: a process that asks what a browser asks for them, and draws nothing.

For each page it listens to `/live`, and asks for the living part when it hears of a change and for what its chart is
drawn from, as often as `aegis.js` and `charts.js` do.
It runs at the lowest priority, since it stands for another machine. Standard input has where to ask and as whom, in a
line; once it has asked for each it says so, and at the end of its input how often each was.
"""

from __future__ import annotations

import html
import http.client
import os
import re
import sys
import threading
import time

import msgspec

SOON_S = 0.4
TIMES = 10
CHART_S = 5.0
WAIT_S = 30.0

_PART = re.compile(r'id="living"[^>]*? hx-get="([^"]*)"')
_TENANT = re.compile(r'id="living"[^>]*? data-tenant="([^"]*)"')
_CHART = re.compile(r'<figure class="chart"[^>]*? data-src="([^"]*)"')


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What is read: pages by their paths, on a port of this machine, with a browser's cookies."""

    port: int
    cookie: str
    paths: tuple[str, ...]


class Reader:
    """One page."""

    def __init__(self, reading: Reading, path: str) -> None:
        self._reading = reading
        self._path = path
        self._changed = threading.Event()
        self._asking = self._connection()
        self.asked = 0

    def keep_reading(self) -> None:
        """Until the process ends."""
        page, _ = self._ask(self._path)
        tenant = _TENANT.search(page)
        threading.Thread(target=self._listen, args=(tenant[1] if tenant else "",), daemon=True).start()
        part, chart = _address(_PART, page), _address(_CHART, page)
        charted_at = 0.0
        while True:
            if chart and time.monotonic() - charted_at >= CHART_S:
                charted_at = time.monotonic()
                self._ask(chart)
            self._changed.wait()
            self._changed.clear()
            asked_at = time.monotonic()
            text, took_ms = self._ask(part)
            part = _address(_PART, text) or part
            time.sleep(max(0.0, asked_at + max(SOON_S, TIMES * took_ms / 1_000) - time.monotonic()))

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._reading.port, timeout=WAIT_S)

    def _ask(self, path: str) -> tuple[str, float]:
        """Text, and how many milliseconds the server says that it took."""
        headers = {"cookie": self._reading.cookie, **({"hx-request": "true"} if self.asked else {})}
        self._asking.request("GET", path, headers=headers)
        answer = self._asking.getresponse()
        text = answer.read().decode()
        if answer.status not in (200, 204):
            raise RuntimeError(f"{path} was answered with {answer.status}")
        self.asked += 1
        return text, float(answer.headers.get("server-timing", "part;dur=0").partition("dur=")[2])

    def _listen(self, tenant: str) -> None:
        connection = self._connection()
        connection.request(
            "GET", f"/live?tenant={tenant}" if tenant else "/live", headers={"cookie": self._reading.cookie}
        )
        for line in connection.getresponse():
            if line == b"event: changed\n":
                self._changed.set()
        raise RuntimeError(f"{self._path} isn't told any more what changed")


def _address(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return html.unescape(found[1]) if found else ""


def main() -> None:
    """Read until the input ends."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    threading.excepthook = _end  # a reader that stops would make pages look cheap
    reading = msgspec.json.decode(sys.stdin.readline(), type=Reading)
    readers = [Reader(reading, path) for path in reading.paths]
    for each in readers:
        threading.Thread(target=each.keep_reading, daemon=True).start()
    while not all(each.asked > 1 for each in readers):
        time.sleep(SOON_S)
    print("reading", flush=True)
    sys.stdin.read()
    print(msgspec.json.encode([each.asked for each in readers]).decode(), flush=True)
    os._exit(0)


def _end(told: threading.ExceptHookArgs) -> None:
    sys.excepthook(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    os._exit(1)


if __name__ == "__main__":
    main()
