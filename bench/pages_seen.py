"""Three pages in a real browser that note what they show and when, and how late that was by the ledger."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
import msgspec
from playwright.sync_api import Browser, Page

from aegis_gateway import bootstrap
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.people import People
from aegis_gateway.domain.people import ALL_TENANTS, Grant
from bench.readers import Reading
from bench.targets import TENANT, Aegis

BUDGET = "northbank-yearly"
PAGES = {
    "overview": ("/?range=today", "document.querySelector('#total data')?.value"),
    "calls": (
        "/calls",
        "document.querySelector('.stream tbody th a')?.getAttribute('href').split('/').pop()",
    ),
    "budget": (f"/budgets/{TENANT}/{BUDGET}", "document.querySelector('#spent data, data#spent')?.value"),
}
"""Address, and what is noted of it: a total in nano-USD, or the newest call."""
CAUGHT_UP_S = 10.0

_NOTE = """
window.noted = [];
const look = () => {
  const value = %s;
  if (value !== undefined && value !== window.noted.at(-1)?.[1]) window.noted.push([Date.now(), value]);
};
addEventListener("DOMContentLoaded", () => {
  look();
  const all = { subtree: true, childList: true, characterData: true, attributes: true };
  new MutationObserver(look).observe(document.body, all);
});
"""
_HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""

Noted = list[tuple[int, str]]
"""When, in milliseconds since 1970, and what."""


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """How late a page was with so many calls, in seconds."""

    calls: int
    p50_s: float
    p99_s: float
    worst_s: float


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a tab holds, after its collector has run."""

    heap_mib: float
    nodes: int

    @property
    def told(self) -> str:
        """Both in short."""
        return f"{self.heap_mib:.1f}, {self.nodes:,}"


class Looking:
    """Somebody at a browser with the three pages, who looks at them or rests."""

    def __init__(self, browser: Browser, aegis: Aegis) -> None:
        self._aegis = aegis
        self._url = f"http://127.0.0.1:{aegis.port}"
        self._stack = contextlib.ExitStack()
        self._context = self._stack.enter_context(
            browser.new_context(viewport={"width": 1280, "height": 800})
        )
        self._pages: dict[str, Page] = {}
        self.spans: list[tuple[int, int]] = []
        self.memory: dict[str, list[Memory]] = {}
        self.asked: dict[str, int] = {}
        """How often each page was asked for from elsewhere."""

    def __enter__(self) -> Self:
        page = self._context.new_page()
        page.goto(self._url + _link(self._aegis))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_selector("header nav")
        page.close()
        for name, (address, what) in PAGES.items():
            page = self._pages[name] = self._context.new_page()
            page.add_init_script(_NOTE % what)
            page.goto(self._url + address)
        self.rest()
        self.spans.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def look(self) -> None:
        """From now on."""
        for name, page in self._pages.items():
            page.evaluate(_HIDE, False)
            self._note_memory(name, page)
        for page in self._pages.values():
            page.wait_for_selector("#live[data-how=live]")
        time.sleep(1.0)  # until what was missed is there
        self.spans.append((time.time_ns(), 2**63 - 1))

    def rest(self) -> None:
        """As who goes to another tab."""
        if self.spans:
            self.spans[-1] = (self.spans[-1][0], time.time_ns())
            time.sleep(1.5)  # what was settled last is shown before
        for name, page in self._pages.items():
            page.evaluate(_HIDE, True)
            self._note_memory(name, page)

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """As who looks at the same pages on another machine, until the end of the block.

        Raises:
            RuntimeError: a page was not read as it should be.
        """
        cookies = self._context.cookies(self._url)
        reading = Reading(
            port=self._aegis.port,
            cookie="; ".join(f"{each['name']}={each['value']}" for each in cookies),
            paths=tuple(address for address, _ in PAGES.values()),
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.readers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        try:
            process.stdin.write(msgspec.json.encode(reading).decode() + "\n")
            process.stdin.flush()
            if process.stdout.readline() != "reading\n":
                raise RuntimeError("the readers ended; their own words are above")
            yield
            told, _ = process.communicate(timeout=CAUGHT_UP_S)
            asked = msgspec.json.decode(told, type=tuple[int, ...])
        finally:
            process.kill()
            process.wait()
        for name, times in zip(PAGES, asked, strict=True):
            self.asked[name] = self.asked.get(name, 0) + times

    def seen(self) -> dict[str, Noted]:
        """What the pages have noted."""
        return {
            name: [tuple(each) for each in page.evaluate("window.noted")]
            for name, page in self._pages.items()
        }

    def differences(self) -> list[str]:
        """What pages say otherwise than the ledger, once nothing happens any more and they had time."""
        wanted = _ledger(self._aegis.database)
        deadline = time.monotonic() + CAUGHT_UP_S
        while True:
            shown = {name: page.evaluate(PAGES[name][1]) for name, page in self._pages.items()}
            if shown == wanted or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return [
            f"{name} shows {shown[name]}, the ledger has {wanted[name]}"
            for name in PAGES
            if shown[name] != wanted[name]
        ]

    def _note_memory(self, name: str, page: Page) -> None:
        session = self._context.new_cdp_session(page)
        session.send("HeapProfiler.collectGarbage")
        session.send("Performance.enable")
        found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        session.detach()
        memory = Memory(heap_mib=found["JSHeapUsedSize"] / 2**20, nodes=int(found["Nodes"]))
        self.memory.setdefault(name, []).append(memory)


def lateness(database: Path, spans: Sequence[tuple[int, int]], seen: Mapping[str, Noted]) -> dict[str, Late]:
    """How late pages were with each call that was settled while they were looked at."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        settled = list(
            connection.execute(
                "select call, settled_ns, cost_nano_usd from call where state = 'settled' order by settled_ns, sequence"
            )
        )
        newest = dict(connection.execute("select call, sequence from call"))
    finally:
        connection.close()
    total, sums = 0, []
    for _, at_ns, cost in settled:
        total += cost
        sums.append((at_ns, total))
    calls = [(at_ns, newest[call]) for call, at_ns, _ in settled]
    found = {}
    for name, noted in seen.items():
        if name == "calls":
            shown = [(at_ms, newest[value]) for at_ms, value in noted]
            found[name] = _late(sorted(calls, key=lambda each: each[1]), shown, spans)
        else:
            found[name] = _late(sums, [(at_ms, int(value)) for at_ms, value in noted], spans)
    return found


def _late(
    wanted: Sequence[tuple[int, int]], shown: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> Late:
    """`wanted`: when something was settled, and from which place or sum on it is shown; both grow."""
    late: list[float] = []
    place = 0
    for at_ns, reached in wanted:
        while place < len(shown) and shown[place][1] < reached:
            place += 1
        if place == len(shown):
            break
        if any(since <= at_ns <= until for since, until in spans):
            late.append(max(0.0, shown[place][0] / 1e3 - at_ns / 1e9))
    late.sort()
    if not late:
        return Late(calls=0, p50_s=0, p99_s=0, worst_s=0)
    return Late(
        calls=len(late), p50_s=late[len(late) // 2], p99_s=late[len(late) * 99 // 100], worst_s=late[-1]
    )


def _ledger(database: Path) -> dict[str, Any]:
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        ((cost,),) = connection.execute("select sum(cost_nano_usd) from call")
        ((call,),) = connection.execute(
            "select call from call order by decided_ns desc, sequence desc limit 1"
        )
        ((posted,),) = connection.execute("select sum(posted) from standing where budget = ?", (BUDGET,))
    finally:
        connection.close()
    return {"overview": f"{cost}", "calls": call, "budget": f"{posted}"}


def _link(aegis: Aegis) -> str:
    """A link that signs somebody in who may see everything."""
    store = bootstrap.store(aegis.settings)
    try:
        pepper = bootstrap.pepper(aegis.settings)
        people = People(store, pepper, os.urandom, Caller(local_name="bench"), has_four_eyes=False)
        people.add("you", "You", [Grant(role="admin", tenant=ALL_TENANTS)])
        token = people.issue_token("you").secret
        mine = People(store, pepper, os.urandom, Caller(local_name="bench", token=token), has_four_eyes=False)
        return f"/sign-in?link={mine.issue_link('you').secret}"
    finally:
        store.close()
