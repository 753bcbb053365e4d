"""Server-sent events of a model's stream, watched as they pass.

Rule: what is of no interest passes as the block it came in; only a block that may hold usage or the end is looked into
event by event.
"""

from __future__ import annotations

from typing import Literal

from aegis_gateway.domain.price import Usage
from aegis_gateway.entrypoints.data_plane.events import EventReader, event_data, split

Passing = Literal["pass", "hide", "last"]


class EventWatch:
    """What the watches of all dialects share. A dialect says what is notable, and what it makes of such an event."""

    marks: tuple[bytes, ...]
    """What stands in every notable event. Plain bytes: a search for one of several patterns is far slower."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._events = EventReader()
        self.usage: Usage | None = None
        self.is_done = False
        self.last = b""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece from the upstream, give what may be passed on now.

        Raises:
            ValueError: an event is longer than any may be.
        """
        block = self.passed(self._events.block(piece))
        if not self.is_done and not self.is_notable(block):
            return block
        return b"".join(event for event in split(block) if self._passes(event))

    def end(self) -> None:
        """Take note that nothing more comes. Some servers leave out the blank line after their last event."""
        rest = self._events.rest()
        if rest.strip() and self.is_notable(rest):
            self._passes(self.passed(rest + b"\n\n"))

    def is_notable(self, events: bytes) -> bool:
        """Whether events have to be looked into."""
        return any(mark in events for mark in self.marks)

    def passed(self, events: bytes) -> bytes:
        """Events as the caller gets them."""
        return events

    def look(self, data: bytes) -> Passing:
        """Look into a notable event's data; say what becomes of it."""
        raise NotImplementedError

    def _passes(self, event: bytes) -> bool:
        if self.is_done:
            return False  # nobody reads on after the end
        if not self.is_notable(event):
            return True
        outcome = self.look(event_data(event))
        if outcome == "last":
            self.is_done, self.last = True, event
        return outcome == "pass"
