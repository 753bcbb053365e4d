"""Programs that speak over their standard input and output, a line each message.

Rule 1: a program lives no longer than the process that started it: the kernel ends it with us, and where that can't be
        had its input ends.
Rule 2: it gets the environment that it is given and nothing of ours but where to find programs and its home.
Rule 3: what it says on its standard error goes into our log, bounded, without the secrets that it was given; they are
        taken out of its messages too.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping

from aegis_gateway.domain.errors import UpstreamFault

LINE_BYTES_MAX = 16 * 1024 * 1024
"""How long a message may be; who sends a longer one is ended."""
STOP_S = 2.0
WRITE_S = 30.0
"""How long a program may take nothing; one that takes longer hangs, and is ended."""

_LOG_LINE_CHARACTERS_MAX = 500
_LOG_LINES_MAX = 1_000
"""How many lines of one program's standard error are logged in all."""
_SECRET_CHARACTERS_MIN = 6
_SECRET_LINE_CHARACTERS_MIN = 16
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "SYSTEMROOT")
_PR_SET_PDEATHSIG = 1
_WITHHELD = b"[withheld]"

_log = logging.getLogger("aegis.programs")


class Program:
    """One running program."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, secrets: tuple[str, ...]) -> None:
        """Speak with a process. `secrets` are what it was given and must not give away."""
        self._name = name
        self._process = process
        told = [secret for secret in secrets if len(secret) >= _SECRET_CHARACTERS_MIN]
        self._secrets = _longest_first(form for secret in told for form in _written(secret))
        # What is long stands on many lines there.
        self._secret_lines = _longest_first(
            form
            for secret in told
            for line in (secret, *secret.splitlines())
            if line is secret or len(line) >= _SECRET_LINE_CHARACTERS_MIN
            for form in _written(line)
        )
        self._writing = asyncio.Lock()
        self._logging = asyncio.create_task(self._log_errors())

    @classmethod
    async def start(cls, name: str, command: tuple[str, ...], variables: Mapping[str, str]) -> Program:
        """Start a program.

        Raises:
            UpstreamFault: it can't be started.
        """
        kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**kept, **variables},
                start_new_session=True,
                preexec_fn=_end_with_us(os.getpid()) if sys.platform == "linux" else None,
                limit=LINE_BYTES_MAX,
            )
        except (OSError, ValueError) as fault:
            words = f"program `{name}` can't be started; is `{command[0]}` installed?"
            raise UpstreamFault(words, sent=False) from fault
        return cls(name, process, tuple(variables.values()))

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def send(self, message: bytes) -> None:
        """Send a message, which is one line.

        Raises:
            UpstreamFault: it has ended, or takes nothing.
        """
        assert self._process.stdin is not None, "it was asked for"
        try:
            async with self._writing, asyncio.timeout(WRITE_S):
                self._process.stdin.write(message + b"\n")
                await self._process.stdin.drain()
        except TimeoutError as fault:  # which is an OSError too
            self.kill()
            raise UpstreamFault(f"program `{self._name}` takes nothing, and is ended", sent=True) from fault
        except (OSError, RuntimeError) as fault:
            raise UpstreamFault(f"program `{self._name}` has ended", sent=True) from fault

    async def next_line(self) -> bytes | None:
        """Its next message; None once it has ended, or has sent a line that is too long."""
        assert self._process.stdout is not None, "it was asked for"
        try:
            line = await self._process.stdout.readline()
        except ValueError:
            _log.warning("program `%s` sent a message that is too long, and is ended", self._name)
            return None
        except OSError:
            return None
        return _without(self._secrets, line).rstrip(b"\r\n") if line else None

    async def stop(self) -> None:
        """End it, and all that it started: first its input, then it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        self.kill()
        await self._process.wait()
        self._logging.cancel()

    def kill(self) -> None:
        """End it at once, with all of its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _log_errors(self) -> None:
        assert self._process.stderr is not None, "it was asked for"
        left = _LOG_LINES_MAX
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:
                continue  # a line that is too long is dropped
            if not line:
                return
            if left:
                left -= 1
                words = _without(self._secret_lines, line).decode(errors="replace").rstrip()
                _log.info("%s: %s", self._name, words[:_LOG_LINE_CHARACTERS_MAX])


def _written(secret: str) -> set[str]:
    """How a secret stands in a text, in JSON, and in JSON that is a text in JSON."""
    once = {secret, *_in_json(secret)}
    return once.union(*map(_in_json, once))


def _in_json(text: str) -> set[str]:
    return {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}


def _longest_first(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Secrets in the order in which they are taken out: one may have another in it."""
    return tuple(sorted({secret.encode() for secret in secrets}, key=lambda each: (-len(each), each)))


def _without(secrets: tuple[bytes, ...], line: bytes) -> bytes:
    for secret in secrets:
        if secret in line:
            line = line.replace(secret, _WITHHELD)
    return line


def _end_with_us(parent: int) -> Callable[[], None]:
    """What a new process does first: ask the kernel to be ended when its parent is."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
