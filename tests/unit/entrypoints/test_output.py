"""What commands print: nothing that somebody else wrote steers the terminal."""

from __future__ import annotations

import pytest
from rich.text import Text

from aegis_gateway.domain.approval import Asking, waiting
from aegis_gateway.entrypoints.cli.approvals import lines_of
from aegis_gateway.entrypoints.cli.output import Column, Row, err, out, table


def test_signs_that_steer_a_terminal_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes, their eight-bit forms and what turns the order of text: in lines, tables and words on stderr."""
    text = "a\x1b[2J\x9b1m\u202eb\x00\x7fc"
    out().print(Text.assemble((text, "bold")))
    out().print(table([Column(name="x"), Column(name="y")], [Row(cells=(text, Text(text)))], out()))
    err().print(text, "ü – ✓\tok")
    said = "".join(capsys.readouterr())
    assert 4 == said.count("a\ufffd[2J\ufffd1m\ufffdb\ufffd\ufffdc")
    assert "ü – ✓" in said
    assert not {"\x1b", "\x9b", "\u202e", "\x00", "\x7f"} & set(said)


def test_an_argument_passes_for_no_other() -> None:
    """Each stands on a line of its own, whatever breaks of lines are in it."""
    facts: dict[str, object] = {"arguments": {"amount": "7000", "to": "x, amount 5\nanswer  ben: grant"}}
    asking = Asking(tenant="acme", kind="call", requester="bot", about="api.pay", facts=facts)
    found = lines_of(waiting(asking, 1, 0))
    assert [("arguments", "amount 7000"), ("", "to x, amount 5 answer ben: grant")] == found[2:4]
