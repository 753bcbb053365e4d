"""Programs that are spoken to over their standard input and output."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import pytest

from aegis_gateway.adapters import programs
from aegis_gateway.adapters.programs import Program
from aegis_gateway.domain.errors import UpstreamFault

KEY = "\n".join(("-----BEGIN KEY-----", 'MIIE"vAIBADANBgkqh', "kiG9w0BAQEFAÄSCBKYw", "-----END KEY-----"))
TELLS_ALL = """
import json, os, sys
secret = os.environ["KEY"]
sys.stderr.write(secret + "\\n")
sys.stderr.close()
for text in (secret, json.dumps({"of": secret}), json.dumps({"of": secret}, ensure_ascii=False)):
    print(json.dumps(text))
"""
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


class Heard(logging.Handler):
    """What is logged, for who waits for it."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        """Take it."""
        self.messages.put_nowait(record.getMessage())


def test_secrets_are_taken_out_however_they_are_written(caplog: pytest.LogCaptureFixture) -> None:
    """As they are, in JSON, in JSON within JSON; and line by line in the log."""
    caplog.set_level(logging.INFO, "aegis.programs")
    heard = Heard()
    log = logging.getLogger("aegis.programs")
    log.addHandler(heard)

    async def told() -> tuple[list[bytes], list[str]]:
        program = await Program.start("tells", (sys.executable, "-c", TELLS_ALL), {"KEY": KEY})
        lines = []
        while (line := await asyncio.wait_for(program.next_line(), 10.0)) is not None:
            lines.append(line)
        logged = [await asyncio.wait_for(heard.messages.get(), 10.0) for _ in KEY.splitlines()]
        await program.stop()
        return lines, logged

    try:
        lines, logged = asyncio.run(told())
    finally:
        log.removeHandler(heard)
    assert 3 == len(lines)
    for words in (*(line.decode() for line in lines), *logged):
        assert "[withheld]" in words
        assert not [part for part in ("BEGIN", "MIIE", "kiG9", "SCBK", "END") if part in words]
    assert "[withheld]" == json.loads(lines[0])
