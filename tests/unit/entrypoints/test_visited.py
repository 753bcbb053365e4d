"""A process that is started when somebody comes, and that may not be able to serve."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aegis_gateway.entrypoints.visited import Visited
from aegis_gateway.entrypoints.writer import Writer
from tests.gateways import until

PATIENCE_S = 10.0


class Loop:
    """What the ledger process does while it waits: looks after one socket."""

    def __init__(self) -> None:
        self.act: Callable[[], object] | None = None

    def watch(self, _readable: socket.socket, act: Callable[[], object]) -> None:
        """Do this when somebody comes."""
        assert self.act is None, "one at a time"
        self.act = act

    def watch_no_more(self, _readable: socket.socket) -> None:
        """Leave the socket to others."""
        assert self.act is not None, "it was watched"
        self.act = None


def come(path: Path) -> socket.socket:
    """Somebody who connects."""
    visitor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    visitor.settimeout(PATIENCE_S)
    visitor.connect(str(path))
    return visitor


def test_starts_become_rare_where_none_succeeds(tmp_path: Path) -> None:
    """Whether it ends at once or can't be started at all; who waits meanwhile is told that nobody is there."""
    starts: list[int] = []

    def ends(_listener: int) -> subprocess.Popen[bytes]:
        starts.append(1)
        return subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(1)"])

    def fails(_listener: int) -> subprocess.Popen[bytes]:
        starts.append(1)
        raise OSError("no memory")

    for name, start in (("ends", ends), ("fails", fails)):
        starts.clear()
        loop = Loop()
        visited = Visited(tmp_path / name, cast(Writer, loop), start, 600.0)
        with come(tmp_path / name) as first:
            assert loop.act is not None
            loop.act()

            def tended(visited: Visited = visited, loop: Loop = loop) -> bool:
                visited.tend()
                return loop.act is not None

            until(tended, "it is started again and again")
            loop.act()
            assert b"" == first.recv(1)
        with come(tmp_path / name) as second:
            loop.act()
            assert b"" == second.recv(1)
        visited.tend()
        assert 2 == len(starts)
        visited.turn_away()


def test_who_waits_is_answered_by_the_next(tmp_path: Path) -> None:
    """One end is no reason to send anybody away: the next one takes who waits."""
    answers = "import socket; socket.socket(fileno={}).accept()[0].sendall(b'there')"
    programs = iter(("raise SystemExit(1)", answers))

    def start(listener: int) -> subprocess.Popen[bytes]:
        program = next(programs).format(listener)
        return subprocess.Popen([sys.executable, "-S", "-c", program], pass_fds=(listener,))

    loop = Loop()
    visited = Visited(tmp_path / "one", cast(Writer, loop), start, 600.0)
    with come(tmp_path / "one") as visitor:
        assert loop.act is not None
        loop.act()
        first = visited.process

        def tended() -> bool:
            visited.tend()
            return visited.process not in (first, None)

        until(tended, "there is no other")
        assert b"there" == visitor.recv(5)
        assert visited.process is not None
        visited.process.wait(PATIENCE_S)
    visited.turn_away()
