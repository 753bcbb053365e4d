"""The ledger process: one loop that takes what gateway workers ask, commits it as one batch, and answers.

Rule 1: nothing else runs here. A writer beside a busy event loop held locks for seconds (measured); this loop
        reads, commits, answers, and between batches does housekeeping.
Rule 2: whatever all workers asked while the last batch was committed is the next batch.
Rule 3: a worker that disappears leaves its open calls in doubt: they count at their maximum. What only waited there
        for its turn was never sent, and holds nothing from then on.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from aegis_gateway.adapters.frames import FrameReader, commands_decoder, encode_messages, frame
from aegis_gateway.application.commands import Admit, Admitted, Command, Lose, Moved, Release, Reply, Running
from aegis_gateway.application.ledger import Ledger
from aegis_gateway.application.pace import AskPace, Paced, PaceTold
from aegis_gateway.application.ports import GatewayRow, Store
from aegis_gateway.application.watching import Watching
from aegis_gateway.domain.errors import LedgerUnavailable
from aegis_gateway.domain.pace import PaceSums

SWEEP_INTERVAL_S = 1.0
TELL_INTERVAL_S = 5.0
WATCH_INTERVAL_S = 2.0
BATCH_MAX = 512

_READ_BYTES = 256 * 1024

_log = logging.getLogger("aegis.ledger")


class _Worker:
    """One connection: what was read of its next frame, what it has not taken yet, which calls it has open.

    `waiting` are those that wait for their turn, with what gives back what they hold.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = FrameReader()
        self.unsent = bytearray()
        self.open_calls: dict[str, str] = {}
        self.waiting: dict[str, Release] = {}
        self.running: Running | None = None
        self.under_way: dict[str, int] = {}
        self.heard_at = 0.0
        self.is_gone = False
        self.is_blocked = False


class Writer:
    """Serves one store's ledger on a Unix socket."""

    def __init__(self, store: Store, socket_path: Path, watching: Watching) -> None:
        """Keep the store's ledger and listen; `watching` looks after the newest version now and then.

        Raises:
            StoreError: another process keeps it.
        """
        store.keep_ledger()
        self._store = store
        self._ledger = Ledger(store)
        self._ledger.sweep()
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, _Worker] = {}
        self._queue: list[tuple[_Worker, int, Command]] = []
        self._read_buffer = memoryview(bytearray(_READ_BYTES))
        self._told: tuple[Running, ...] = ()
        self._told_at = 0.0
        self._pace = PaceSums()
        self._pace_unwritten = PaceSums()
        self._watching = watching
        self._watched_at = 0.0
        self._path = socket_path
        with contextlib.suppress(FileNotFoundError):
            socket_path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(socket_path))
        socket_path.chmod(0o600)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self.watch(self._listener, self._accept)

    @property
    def has_workers(self) -> bool:
        """Whether any worker is connected."""
        return bool(self._workers)

    def run(self, keep_running: Callable[[], bool]) -> None:
        """Serve until told to stop; asked at least once a second."""
        swept_at = time.monotonic()
        while keep_running():
            self.turn(SWEEP_INTERVAL_S)
            if time.monotonic() - swept_at >= SWEEP_INTERVAL_S:
                swept_at = time.monotonic()
                self._sweep()

    def _sweep(self) -> None:
        try:
            self._ledger.sweep()
            self._tell_of_gateways()
            if time.monotonic() - self._watched_at >= WATCH_INTERVAL_S:
                self._watched_at = time.monotonic()
                self._watching.look(self._store.clock_ns())
        except LedgerUnavailable as fault:
            _log.warning("housekeeping has to wait: %s", fault)

    def _tell_of_gateways(self) -> None:
        """Write down what the workers run: when it changes, and now and then, to say that they are there."""
        running = tuple(worker.running for worker in self._workers.values() if worker.running is not None)
        now = time.monotonic()
        if running == self._told and now - self._told_at < TELL_INTERVAL_S:
            return
        with self._store.change([]) as change:
            change.save_gateways(
                self._store.boot,
                [
                    GatewayRow(
                        boot=self._store.boot,
                        process=worker.running.process,
                        version=worker.running.version,
                        canary=worker.running.canary,
                        digest=worker.running.digest,
                        warning=worker.running.warning,
                        started_ns=worker.running.started_ns,
                        seen_ns=change.now_ns - int((now - worker.heard_at) * 1_000_000_000),
                    )
                    for worker in self._workers.values()
                    if worker.running is not None
                ],
            )
            change.save_pace(self._store.boot, self._pace_unwritten.rows())
        self._pace.add(self._pace_unwritten.take())
        self._told, self._told_at = running, now

    def watch(self, readable: socket.socket, act: Callable[[], object]) -> None:
        """Do something whenever a socket can be read from; a turn that waits ends then."""
        self._selector.register(readable, selectors.EVENT_READ, act)

    def watch_no_more(self, readable: socket.socket) -> None:
        """Leave a socket to others."""
        self._selector.unregister(readable)

    def turn(self, timeout_s: float) -> None:
        """One turn: read what is there, commit one batch, answer."""
        events = self._selector.select(0 if self._queue else timeout_s)
        for key, mask in events:
            if not isinstance(key.data, _Worker):
                key.data()
            elif mask & selectors.EVENT_WRITE:
                self._send(key.data)
            else:
                self._read(key.data)
        if self._queue:
            batch, self._queue = self._queue[:BATCH_MAX], self._queue[BATCH_MAX:]
            self._carry_out(batch)
            self._store.checkpoint()

    def close(self) -> None:
        """Stop listening and close the store."""
        with contextlib.suppress(LedgerUnavailable), self._store.change([]) as change:
            change.save_gateways(self._store.boot, [])
        for worker in list(self._workers.values()):
            worker.connection.close()
        self._listener.close()
        self._selector.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._store.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        worker = _Worker(connection)
        self._workers[connection.fileno()] = worker
        self._selector.register(connection, selectors.EVENT_READ, worker)

    def _read(self, worker: _Worker) -> None:
        try:
            size = worker.connection.recv_into(self._read_buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._drop(worker)
            return
        data = self._read_buffer[:size]
        try:
            for payload in worker.reader.feed(data):
                for number, message in commands_decoder.decode(payload):
                    if isinstance(message, Running):
                        worker.running, worker.heard_at = message, time.monotonic()
                    elif isinstance(message, Paced):
                        self._count(worker, message)
                    elif isinstance(message, AskPace):
                        self._tell_pace(worker, number)
                    else:
                        self._queue.append((worker, number, message))
        except (ValueError, msgspec.DecodeError):
            _log.exception("a worker sent what is not a command")
            if not worker.is_gone:
                self._drop(worker)

    def _count(self, worker: _Worker, told: Paced) -> None:
        """Add what a worker has counted. What it told stays when it dies; what it had under way goes with it."""
        self._pace_unwritten.add(told.rows)
        worker.under_way = told.under_way

    def _tell_pace(self, worker: _Worker, number: int) -> None:
        under_way: Counter[str] = Counter()
        for each in self._workers.values():
            under_way.update(each.under_way)
        pace = PaceSums((*self._pace.rows(), *self._pace_unwritten.rows()))
        told = PaceTold(call="", rows=pace.rows(), under_way=dict(under_way))
        worker.unsent += frame(encode_messages([(number, told)]))
        self._send(worker)

    def _carry_out(self, batch: list[tuple[_Worker, int, Command]]) -> None:
        replies = self._ledger.process([command for _, _, command in batch])
        answers: dict[int, tuple[_Worker, list[tuple[int, Reply]]]] = {}
        for (worker, number, command), reply in zip(batch, replies, strict=True):
            _follow(worker, command, reply)
            answers.setdefault(id(worker), (worker, []))[1].append((number, reply))
        for worker, messages in answers.values():
            if worker.is_gone:
                # What it had asked before it went was carried out just now, and nobody will send or settle it.
                self._lose_open_calls(worker)
                continue
            worker.unsent += frame(encode_messages(messages))
            self._send(worker)

    def _send(self, worker: _Worker) -> None:
        try:
            while worker.unsent:
                sent = worker.connection.send(worker.unsent)
                del worker.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(worker)
            return
        if worker.is_blocked != bool(worker.unsent):
            worker.is_blocked = bool(worker.unsent)
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.is_blocked else 0)
            self._selector.modify(worker.connection, wanted, worker)

    def _drop(self, worker: _Worker) -> None:
        """Forget a worker that is gone, and put what it had open in doubt."""
        self._selector.unregister(worker.connection)
        del self._workers[worker.connection.fileno()]
        worker.connection.close()
        worker.is_gone = True
        self._lose_open_calls(worker)

    def _lose_open_calls(self, worker: _Worker) -> None:
        lost: list[Command] = [
            Lose(call=call, tenant=tenant, reason="the gateway worker that sent it is gone")
            for call, tenant in worker.open_calls.items()
        ]
        if lost:
            _log.warning("a worker is gone; %d of its calls are in doubt", len(lost))
        lost += worker.waiting.values()
        self._queue += [(worker, 0, command) for command in lost]
        worker.open_calls.clear()
        worker.waiting.clear()


def _follow(worker: _Worker, command: Command, reply: Reply) -> None:
    """Keep track of which calls a worker has sent and not settled, and of which wait there for their turn."""
    if isinstance(command, Admit):
        if not isinstance(reply, Admitted):
            return
        if reply.state == "dispatched":
            worker.open_calls[command.call] = command.tenant
        elif reply.state == "reserved":
            why = "the gateway worker where it waited for its turn is gone"
            worker.waiting[command.call] = Release(
                call=command.call, tenant=command.tenant, reason=why, turns=reply.turns
            )
    elif isinstance(reply, Moved):
        worker.waiting.pop(command.call, None)
        if reply.state == "dispatched":
            worker.open_calls[command.call] = command.tenant
        else:
            worker.open_calls.pop(command.call, None)
