"""MCP servers for tests: real processes on the official package, in an environment of its own."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.clients import ROOT, python_of

SERVERS = ROOT / "tests" / "mcp_servers"
ENVIRONMENT = "mcp2"

_PR_SET_PDEATHSIG = 1


class McpServer:
    """A server of `tests/mcp_servers/`. Within the context it answers at `url`."""

    def __init__(self, name: str) -> None:
        """`name` is that of its file, without the ending."""
        self._script = SERVERS / f"{name}.py"
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it speaks MCP."""
        return f"http://localhost:{self.port}/mcp"

    def __enter__(self) -> McpServer:
        self._process = subprocess.Popen(
            command_of(self._script)[:2],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        assert self._process.stdout is not None, "it was asked for"
        told = self._process.stdout.readline()
        assert told, f"`{self._script.name}` ended before it listened"
        self.port = json.loads(told)["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """`kill -9` of it, as a crash would end it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None, "it was asked for"
            self._process.stdout.close()
            self._process = None

    def arrived(self) -> dict[str, int]:
        """How often each method, with the tool's name, has reached it."""
        counts: dict[str, int] = self._told()["counts"]
        return counts

    def headers(self) -> list[dict[str, str]]:
        """The headers of what has reached it, in order."""
        headers: list[dict[str, str]] = self._told()["headers"]
        return headers

    def _told(self) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/arrived")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def command_of(script: Path) -> list[str]:
    """The command that serves a script over stdio."""
    return [str(python_of(ENVIRONMENT)), str(script), "--stdio"]


def environment() -> dict[str, str]:
    """What the servers' environment has: the repository on the path, and nothing secret."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _die_with_parent() -> None:
    """A test run that is killed takes its servers along."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
