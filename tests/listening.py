"""Whoever listens to the events of an open page, without a browser: as its `EventSource` does, event by event."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

from tests.browsers import Visitor
from tests.gateways import HOST, WAIT_S


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event, and when it came (monotonic seconds)."""

    name: str
    id: str
    at_s: float


class Listener:
    """A stream that is listened to. `events` ends where the stream does."""

    def __init__(self, visitor: Visitor, path: str = "/live", told: str = "") -> None:
        """`told` is the id of the last event that was heard before."""
        self._connection = http.client.HTTPConnection(HOST, visitor.gateway.settings.port, timeout=WAIT_S)
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())}
        if told:
            headers["last-event-id"] = told
        self._connection.request("GET", path, headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers = {name.lower(): value for name, value in self._answer.getheaders()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Go away."""
        with contextlib.suppress(OSError):
            self._connection.close()
        self._answer.close()

    def events(self) -> Iterator[Event]:
        """What is told, one by one, as it comes."""
        fields: dict[str, str] = {}
        while line := self._answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                yield Event(name=fields["event"], id=fields["id"], at_s=time.monotonic())
                fields = {}

    def next(self) -> Event:
        """The next event."""
        return next(self.events())
