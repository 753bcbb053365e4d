"""Guarded tools in a storm: threads, tasks, cancellations, errors, and a gateway that is killed again and again."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_sdk import Aegis, AsyncAegis, NotRun, Unavailable, guard, report
from tests.gateways import Gateway, assert_books_balance
from tests.sdks import tools

pytestmark = pytest.mark.chaos

SECONDS = 25.0
KILLS = 3
NANO_USD_A_PAGE = 10_000_000
BUDGETS = {"money": "limit: 1000000.00, period: yearly, match: {tenant: acme}"}


class Expected(Exception):
    """An error of a tool."""


def test_the_ledger_is_what_the_tools_did() -> None:
    """To the nano-dollar, with nothing left open: whatever was cut off, each call is settled at what it used."""
    draw = random.Random(7)
    used: Counter[str] = Counter()
    lock = threading.Lock()

    def use(pages: int) -> None:
        with lock:
            used["pages"] += pages
            used["calls"] += 1

    with Gateway(tools(budgets=BUDGETS), workers=2) as gateway:
        client = Aegis(gateway.url, gateway.key(), timeout_s=3)
        asynchronous = AsyncAegis(gateway.url, gateway.key(), timeout_s=3)
        ends = time.monotonic() + SECONDS

        @guard("desk.crawl", client=client)
        def crawl(turn: int) -> dict[str, int]:
            pages = draw.randint(0, 9)
            if turn % 10 == 3:
                raise NotRun("nothing to do")
            use(pages)
            if turn % 10 == 7:
                report(pages=pages, rows=0)
                raise Expected
            return {"pages": pages, "rows": 0}

        @guard("desk.crawl", client=asynchronous)
        async def crawl_async(turn: int) -> None:
            pages = draw.randint(0, 9)
            report(pages=pages, rows=0)
            use(pages)
            await asyncio.sleep(draw.random() * 0.05)

        def thread(_: int) -> None:
            turn = 0
            while time.monotonic() < ends:
                turn += 1
                try:
                    crawl(turn)
                except (Unavailable, NotRun, Expected):
                    continue

        async def task() -> None:
            turn = 0
            while time.monotonic() < ends:
                turn += 1
                made = asyncio.create_task(crawl_async(turn))
                if turn % 5 == 0:
                    await asyncio.sleep(draw.random() * 0.02)
                    made.cancel()
                [outcome] = await asyncio.gather(made, return_exceptions=True)
                assert outcome is None or isinstance(outcome, Unavailable | asyncio.CancelledError)

        async def tasks() -> None:
            await asyncio.gather(*(task() for _ in range(8)))
            assert await asynchronous.flush(60)
            await asynchronous.close()

        with ThreadPoolExecutor(9) as pool:
            asked = [*(pool.submit(thread, number) for number in range(8)), pool.submit(asyncio.run, tasks())]
            for _ in range(KILLS):
                time.sleep(SECONDS / (KILLS + 2))
                gateway.kill()
                gateway.start()
            for each in asked:
                each.result()
        assert client.flush(60)
        client.close()
        assert used["calls"] > 100
        assert {"settled"} == set(gateway.states())
        assert (0, used["pages"] * NANO_USD_A_PAGE) == gateway.standing("money")
        assert_books_balance(gateway)
