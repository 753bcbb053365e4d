"""Faults for drills: a process that is killed, or a disk that fails, at a labelled point of a call.

`AEGIS_FAULT=POINT:N:KIND` in a process's environment makes it happen when the point is reached for the Nth time:
`kill` ends the process at once as `kill -9` does; `full` and `broken` make the disk refuse with ENOSPC and EIO from
then on. Without it nothing here is used.

Points of the ledger process: `commit-begun`, `commit-before`, `commit-after`, `disk-write`, `disk-sync`. Of a gateway
worker: `ask-COMMAND` and `told-COMMAND` around each question to the ledger (`admit`, `dispatch`, `settle`, `lose`…),
`send-before`, `answer-begun`, `answer-piece`, `answer-ended`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, cast

import apsw
import msgspec

from aegis_gateway.application.asking_ledger import AsyncLedger
from aegis_gateway.application.commands import Command, Reply
from aegis_gateway.application.ports import (
    LockedTenants,
    Store,
    Upstream,
    UpstreamAnswer,
    UpstreamRequest,
    UpstreamStream,
)
from aegis_gateway.domain.errors import ConfigurationError

VARIABLE = "AEGIS_FAULT"

Kind = Literal["kill", "full", "broken"]

_VFS = "aegis-faults"


class Fault(msgspec.Struct, kw_only=True):
    """What happens, where, and at which passing; `passed` counts them."""

    point: str
    at: int
    kind: Kind
    passed: int = 0

    def reach(self, point: str) -> None:
        """Pass a point; the process ends here if it is the one."""
        if point == self.point and self.kind == "kill":
            self.passed += 1
            if self.passed == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def reach_disk(self, point: str) -> None:
        """Pass a point of the disk.

        Raises:
            apsw.FullError, apsw.IOError: the disk fails from here on.
        """
        self.reach(point)
        if point == self.point and self.kind != "kill":
            self.passed += 1
            if self.passed >= self.at:
                raise apsw.FullError("no space left") if self.kind == "full" else _broken(point)


def _broken(point: str) -> apsw.IOError:
    fault = apsw.IOError("the disk is broken")
    what = apsw.SQLITE_IOERR_FSYNC if point == "disk-sync" else apsw.SQLITE_IOERR_WRITE
    fault.extendedresult = what  # type: ignore[attr-defined]  # missing in the package's stubs
    return fault


def planted_fault(environment: Mapping[str, str]) -> Fault | None:
    """The fault that an environment asks for.

    Raises:
        ConfigurationError: it asks for one that there is not.
    """
    text = environment.get(VARIABLE)
    if not text:
        return None
    point, _, rest = text.partition(":")
    number, _, kind = rest.partition(":")
    if not (point and number.isdecimal() and kind in ("kill", "full", "broken")):
        raise ConfigurationError(f"`{VARIABLE}={text}` is no fault; write POINT:N:kill, :full or :broken")
    return Fault(point=point, at=int(number), kind=cast(Kind, kind))


def break_disk(fault: Fault) -> None:
    """Put the fault between SQLite and the disk, for every database that this process opens from now on."""
    _KEPT.append(_FaultyVfs(fault))
    apsw.set_default_vfs(_VFS)


_KEPT: list[apsw.VFS] = []
"""SQLite keeps no reference to a VFS of ours."""


class _FaultyVfs(apsw.VFS):
    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        # By its name: what is empty is the default, which this one becomes.
        self._base = apsw.vfs_names()[0]
        super().__init__(_VFS, self._base)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _FaultyFile(self._base, name, flags, self._fault)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, base: str, name: Any, flags: list[int], fault: Fault) -> None:
        self._fault = fault
        super().__init__(base, name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._fault.reach_disk("disk-write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._fault.reach_disk("disk-sync")
        super().xSync(flags)


class FaultyStore:
    """A store that passes the points of a commit; everything else is the inner store's."""

    def __init__(self, inner: Store, fault: Fault) -> None:
        """Pass the points of a fault."""
        self._inner = inner
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        """Everything else."""
        return getattr(self._inner, name)

    @contextmanager
    def lock(self, tenants: Iterable[str]) -> Iterator[LockedTenants]:
        """The inner store's transaction, with the points around it."""
        with self._inner.lock(tenants) as locked:
            self._fault.reach("commit-begun")
            yield locked
            self._fault.reach("commit-before")
        self._fault.reach("commit-after")


class FaultyLedger:
    """A ledger that passes the points around each question."""

    def __init__(self, inner: AsyncLedger, fault: Fault) -> None:
        """Pass the points of a fault."""
        self._inner = inner
        self._fault = fault

    async def ask(self, command: Command) -> Reply:
        """Ask the inner ledger."""
        name = type(command).__name__.lower()
        self._fault.reach(f"ask-{name}")
        reply = await self._inner.ask(command)
        self._fault.reach(f"told-{name}")
        return reply


class FaultyUpstream:
    """A way to upstreams that passes the points of an exchange."""

    def __init__(self, inner: Upstream, fault: Fault) -> None:
        """Pass the points of a fault."""
        self._inner = inner
        self._fault = fault

    async def fetch(self, request: UpstreamRequest) -> UpstreamAnswer:
        """The inner way's answer."""
        self._fault.reach("send-before")
        answer = await self._inner.fetch(request)
        self._fault.reach("answer-begun")
        self._fault.reach("answer-ended")
        return answer

    @asynccontextmanager
    async def stream(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        """The inner way's answer, in pieces."""
        self._fault.reach("send-before")
        async with self._inner.stream(request) as answer:
            self._fault.reach("answer-begun")
            yield FaultyStream(answer, self._fault)


class FaultyStream:
    """An answer in pieces that passes a point with each."""

    def __init__(self, inner: UpstreamStream, fault: Fault) -> None:
        """Pass the points of a fault."""
        self._inner = inner
        self._fault = fault

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._inner.status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers."""
        return self._inner.headers

    async def next_piece(self) -> bytes | None:
        """The next piece."""
        piece = await self._inner.next_piece()
        self._fault.reach("answer-ended" if piece is None else "answer-piece")
        return piece

    async def rest(self) -> UpstreamAnswer:
        """The answer as a whole."""
        return await self._inner.rest()
