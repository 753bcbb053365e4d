"""A worker's side of the ledger's socket: what is answered to somebody who no longer waits for it is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aegis_gateway.adapters.frames import FrameReader, commands_decoder, encode_messages, frame
from aegis_gateway.adapters.ledger_client import LedgerClient
from aegis_gateway.application.commands import Admitted, Command, Release, Settle, TakenTurn
from tests.ledgers import admission

TURNS = (TakenTurn(rate="pace", scope="", begins_ns=1, ends_ns=2),)


def with_a_ledger(
    path: Path,
    test: Callable[[LedgerClient, asyncio.Queue[tuple[int, Command]], Callable[..., None]], Awaitable[None]],
) -> None:
    """Run a test with a client, what it has asked, and how that is answered."""

    async def run() -> None:
        asked: asyncio.Queue[tuple[int, Command]] = asyncio.Queue()
        writers: list[asyncio.StreamWriter] = []
        has_ended = asyncio.Event()

        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            frames = FrameReader()
            while data := await reader.read(65_536):
                for payload in frames.feed(data):
                    for message in commands_decoder.decode(payload):
                        asked.put_nowait(message)  # type: ignore[arg-type]  # nothing else is told here
            writer.close()
            await writer.wait_closed()
            has_ended.set()

        def answer(number: int, reply: Admitted) -> None:
            writers[0].write(frame(encode_messages([(number, reply)])))

        server = await asyncio.start_unix_server(keep, path)
        client = await LedgerClient.connect(path, on_lost=lambda: None)
        async with asyncio.timeout(20):
            await test(client, asked, answer)
        client.close()
        await has_ended.wait()
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize("state", ["reserved", "dispatched"])
def test_an_admission_that_nobody_waits_for(tmp_path: Path, state: str) -> None:
    """What it holds is given back: released with its turns if it was to wait for them, else settled as never sent."""

    async def test(
        client: LedgerClient, asked: asyncio.Queue[tuple[int, Command]], answer: Callable[..., None]
    ) -> None:
        asking = asyncio.create_task(client.ask(admission("c1")))
        number, _ = await asked.get()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        is_waiting = state == "reserved"
        answer(
            number,
            Admitted(
                call="c1",
                effect="allow",
                reasons=(),
                sequence=1,
                state="reserved" if is_waiting else "dispatched",
                turns=TURNS if is_waiting else (),
            ),
        )
        _, taken_back = await asked.get()
        if is_waiting:
            assert isinstance(taken_back, Release)
            assert ("c1", "acme", TURNS) == (taken_back.call, taken_back.tenant, taken_back.turns)
        else:
            assert isinstance(taken_back, Settle)
            assert ("c1", "not_sent") == (taken_back.call, taken_back.evidence.source)

    with_a_ledger(tmp_path / "ledger.sock", test)
