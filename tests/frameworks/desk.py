"""The tools and prompts that all frameworks are tried with. Runs in their environments: standard library only.

Each tool notes what it was run with. The model's last answer says again what the tools told it, so it shows what the
model knows.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TRACE = "0af7651916cd43dd8448eb211c80319c"
"""The trace that agents work in."""
SEATS = 3
WAIT_S = 20

ran: list[list[Any]] = []
"""What was really run: tool and arguments."""

PROMPTS = {
    "allowed": 'Go. [[call crawl {"pages": 9}]]',
    "denied": 'Go. [[call wire {"amount": 101}]]',
    "senseless": 'Go. [[call wire {"amount": -1}]]',
    "exhausted": 'Go. [[call dear {"what": "a"}]] [[then dear {"what": "b"}]]',
    "redacted": 'Go. [[call note {"text": "of 536-90-4399"}]]',
    "parallel": 'Go. [[call meet {"seat": 1}]] [[call meet {"seat": 2}]] [[call meet {"seat": 3}]]',
}
BROKEN = 'Go. [[call broken {"what": "x"}]]'
UNMAPPED = 'Go. [[call secret {"what": "x"}]]'
RISKY = 'Go. [[call risky {"what": "x"}]]'

_together = threading.Barrier(SEATS)
_together_in_loop = asyncio.Barrier(SEATS)


@contextmanager
def traced() -> Iterator[None]:
    """An agent's own span, current while it works: OpenTelemetry's interface came with each framework."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

    with use_span(NonRecordingSpan(SpanContext(int(TRACE, 16), 1, False, TraceFlags(1)))):
        yield


def noted(tool: str, **arguments: Any) -> None:
    """Note a run."""
    ran.append([tool, arguments])


def crawl(pages: int) -> dict[str, Any]:
    """Read some pages. Finds fewer than it may."""
    noted("crawl", pages=pages)
    return {"pages": pages // 3, "said": "three of them"}


def wire(amount: float) -> str:
    """Pay an amount."""
    noted("wire", amount=amount)
    return "paid"


def dear(what: str) -> str:
    """Do something that costs a dollar."""
    noted("dear", what=what)
    return f"did {what}"


def note(text: str) -> str:
    """Write a note."""
    noted("note", text=text)
    return f"noted: {text}"


def broken(what: str) -> str:
    """Fail."""
    noted("broken", what=what)
    raise OSError(f"the disk is full of {what}")


def secret(what: str) -> str:
    """A tool that nobody told Aegis of."""
    noted("secret", what=what)
    return "a secret"


def risky(what: str) -> str:
    """Do something that a person has to agree to."""
    noted("risky", what=what)
    return f"dared {what}"


def meet(seat: int) -> str:
    """Return when all seats are taken, in threads: calls made one after the other never do."""
    noted("meet", seat=seat)
    _together.wait(WAIT_S)
    return "met"


async def meet_async(seat: int) -> str:
    """Return when all seats are taken, in one event loop."""
    noted("meet", seat=seat)
    async with asyncio.timeout(WAIT_S):
        await _together_in_loop.wait()
    return "met"


TOOLS: dict[str, Callable[..., Any]] = {
    tool.__name__: tool for tool in (crawl, wire, dear, note, broken, secret, risky)
}
MAPPED = {name: f"desk.{name}" for name in (*TOOLS, "meet", "confirm") if name != "secret"}


def said(**found: Any) -> None:
    """Print what was found, for the test; with what was run."""
    json.dump({**found, "ran": ran}, sys.stdout)
