"""Programs that are spoken to over their standard input and output."""

from __future__ import annotations

import asyncio
import sys

import pytest

from aegis_gateway.adapters import programs
from aegis_gateway.adapters.programs import Program
from aegis_gateway.domain.errors import UpstreamFault

TAKES_NOTHING = (sys.executable, "-c", "import time; time.sleep(60)")


def test_a_program_that_takes_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs: only one that has ended is started again."""
    monkeypatch.setattr(programs, "WRITE_S", 0.1)

    async def ended() -> None:
        program = await Program.start("hangs", TAKES_NOTHING, {})
        with pytest.raises(UpstreamFault, match="takes nothing") as caught:
            await program.send(b"x" * 4_000_000)
        assert caught.value.sent
        assert await asyncio.wait_for(program.next_line(), 10.0) is None
        await asyncio.wait_for(program.stop(), 10.0)
        assert not program.is_running

    asyncio.run(ended())
