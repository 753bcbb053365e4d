"""The upstream as a process of its own, for tests and demos: start, ask for the bill, stop, kill.

Standard library only, so that whoever starts it needs nothing of what it is made of.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

KEY = "sk-upstream-demo-0001"

_SOURCE = Path(__file__).resolve().parents[3]
_POLL_SECONDS = 0.01
_ANSWER_SECONDS = 5.0


class UpstreamNotStarted(RuntimeError):
    """The process ended, or didn't answer in time."""


class UpstreamProcess:
    """A context manager: within it the upstream answers at ``base_url``.

    ``port`` 0 takes a free one. Its standard error is this process's own.
    """

    def __init__(
        self,
        *,
        apps: str = "both",
        keys: Sequence[str] = (KEY,),
        seed: int = 7,
        port: int = 0,
        start_seconds_max: float = 20.0,
    ) -> None:
        self.base_url = ""
        self.keys = tuple(keys)
        self._command = [sys.executable, "-m", "aegis_gateway.demo.upstream.server"]
        self._command += ["--app", apps, "--port", str(port), "--seed", str(seed)]
        for key in keys:
            self._command += ["--key", key]
        self._start_seconds_max = start_seconds_max
        self._process: subprocess.Popen[str] | None = None
        # Loopback is never behind a proxy, whatever the environment says.
        self._http = build_opener(ProxyHandler({}))

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> "UpstreamProcess":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers; raises ``UpstreamNotStarted``."""
        if self._process is not None:
            raise RuntimeError("the upstream runs already: stop it first")
        deadline = time.monotonic() + self._start_seconds_max
        path = os.pathsep.join(filter(None, (str(_SOURCE), os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._process = process
        try:
            self.base_url = self._said(process, deadline)
            while not self._healthy():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise UpstreamNotStarted("the upstream doesn't answer: see its standard error")
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it; nothing of it is left when this returns."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self.kill()

    def kill(self) -> None:
        """End it as a crash would; the bill is lost with it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def bill(self) -> dict[str, Any]:
        """``GET /bill``: see ``bill.Summary``."""
        return self._json("GET", "/bill")

    def charges(self, since: int = 0) -> list[dict[str, Any]]:
        """The charges numbered above ``since``, oldest first, at most 1,000: see ``bill.Charge``."""
        charges: list[dict[str, Any]] = self._json("GET", f"/bill/requests?since={since}")["charges"]
        return charges

    def reset(self) -> None:
        """Start a new bill at zero."""
        self._json("POST", "/bill/reset")

    def _said(self, process: subprocess.Popen[str], deadline: float) -> str:
        """The address in its first line. A read can't time out, but the end of the process ends it."""
        assert process.stdout is not None  # it was opened as a pipe
        timer = threading.Timer(deadline - time.monotonic(), process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise UpstreamNotStarted("the upstream ended before it listened: see its standard error")
        address: str = json.loads(line)["base_url"]
        return address

    def _healthy(self) -> bool:
        try:
            return bool(self._json("GET", "/healthz")["pid"] == self.pid)
        except (URLError, OSError):
            return False

    def _json(self, method: str, path: str) -> dict[str, Any]:
        request = Request(self.base_url + path, method=method)  # noqa: S310  # base_url is its own, http on loopback
        with self._http.open(request, timeout=_ANSWER_SECONDS) as answer:
            value: dict[str, Any] = json.load(answer)
            return value
