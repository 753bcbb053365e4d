"""Connections to the gateway, kept open between requests, for threads.

Rule 1: one request at a time on a connection; one that failed in any way is closed, never used again.
Rule 2: a process that was forked begins with none: two processes on one socket would get each other's answers.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque

from aegis_sdk.attempts import Attempts
from aegis_sdk.forks import forget_in_forks
from aegis_sdk.http1 import ProtocolFault, Request, Response, ResponseReader, written
from aegis_sdk.settings import Settings

IDLE_MAX = 64
"""How many connections are kept open while nothing is asked."""
_PIECE = 64 * 1024
_LEAST_S = 0.001


class Connections:
    """Sends requests, each on a connection of its own, and keeps those for the next ones."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._head = settings.head
        self._tls = settings.tls()
        self._idle: deque[socket.socket] = deque()
        forget_in_forks(self)

    def __del__(self) -> None:
        """A client that nobody holds any more leaves nothing open."""
        self.close()

    def exchange(self, request: Request, timeout_s: float | None = None) -> Response:
        """Send a request and read its answer.

        Raises:
            Unavailable: nobody answered in time.
        """
        data = written(request, self._settings.prefix, self._head)
        attempts = Attempts(self._settings, timeout_s)
        while True:
            sent = False
            outcome: Response | Exception
            try:
                connection = self._connected(attempts)
                sent = True
                outcome = self._answered(connection, data, attempts)
            except (OSError, ProtocolFault) as fault:
                outcome = fault
            pause_s = attempts.pause_s(outcome, sent=sent)
            if pause_s is None:
                assert isinstance(outcome, Response), "a fault is tried again or raised"
                return outcome
            time.sleep(pause_s)

    def forget(self) -> None:
        """Leave all connections to the process that this one was forked from."""
        for connection in self._idle:
            connection.close()  # this process's hold on it alone; neither TCP nor TLS says goodbye by that
        self._idle.clear()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread took the last one
                return

    def _connected(self, attempts: Attempts) -> socket.socket:
        """A connection on which nothing was asked yet, or nothing is under way."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                break
            if _is_quiet(connection):
                return connection
            connection.close()
        return _opened(self._settings, self._tls, attempts)

    def _answered(self, connection: socket.socket, data: bytes, attempts: Attempts) -> Response:
        reader = ResponseReader()
        try:
            connection.settimeout(max(attempts.left_s, _LEAST_S))
            connection.sendall(data)
            while True:
                connection.settimeout(max(attempts.left_s, _LEAST_S))
                piece = connection.recv(_PIECE)
                response = reader.feed(piece) if piece else reader.end()
                if response is not None:
                    break
        except BaseException:
            connection.close()
            raise
        if response.keeps and len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()
        return response


def _opened(settings: Settings, tls: ssl.SSLContext | None, attempts: Attempts) -> socket.socket:
    """A new connection, to the first address of the host that takes one, all of them within one deadline."""
    failed: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(attempts.left_s, _LEAST_S))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_hostname=settings.host)
            return connection
        except OSError as fault:
            connection.close()
            failed = fault
        except BaseException:
            connection.close()
            raise
    raise failed or OSError(f"`{settings.host}` has no address")


def _is_quiet(connection: socket.socket) -> bool:
    """Whether the gateway has neither closed an idle connection nor said anything unasked."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False
