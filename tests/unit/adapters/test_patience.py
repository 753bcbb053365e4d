"""Patience: what waits too long is told so, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from aegis_gateway.adapters.patience import Patience


def test_ends_what_waits_too_long() -> None:
    """A wait that is over is a TimeoutError; the task goes on after it, and is not cancelled."""

    async def wait() -> int:
        with pytest.raises(TimeoutError), Patience(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        task = asyncio.current_task()
        return task.cancelling() if task is not None else -1

    assert 0 == asyncio.run(wait())


def test_lets_pass_what_is_in_time() -> None:
    """What ends in time is left alone, and so is what the task does later."""

    async def wait() -> str:
        with Patience(0.01):
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        return "not disturbed"

    assert "not disturbed" == asyncio.run(wait())


def test_the_inner_of_two_ends_alone() -> None:
    """Of two around each other the one whose time is over ends."""

    async def wait() -> str:
        with Patience(30):
            try:
                with Patience(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "the inner one"
        return "neither"

    assert "the inner one" == asyncio.run(wait())


def test_a_cancelled_task_stays_cancelled() -> None:
    """Who is cancelled from elsewhere is not told that it took too long, even where both came together."""

    async def wait() -> None:
        with Patience(0.01):
            try:
                await asyncio.Event().wait()
            finally:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

    async def outer() -> bool:
        task = asyncio.create_task(wait())
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(outer())


def test_another_fault_is_passed_on() -> None:
    """A fault within the block comes out as it is."""

    async def fail() -> None:
        with Patience(30):
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        asyncio.run(fail())
