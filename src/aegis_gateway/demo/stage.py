"""The stage: a provider and a gateway as processes of their own on loopback, and North Bank's configuration.

Rule 1: nothing is left behind. Both processes end when this one does, however it ends; the gateway removes the
        data directory.
Rule 2: ready means that a call would be answered, never that time has passed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.application.administration import Administration, IssuedKey
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.read import read_directory
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.demo.books import Books
from aegis_gateway.demo.doors import Door, call_http
from aegis_gateway.demo.names import GUEST, TENANT
from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.errors import AegisError
from aegis_gateway.domain.registry import Registry
from aegis_gateway.domain.risk import Appraisal

HOST = "127.0.0.1"
PORT = 8700
ACTOR = "aegis demo"

_BANK = Path(__file__).parent / "bank"
_WRITTEN_ADDRESS = "http://127.0.0.1:8701"
_WRITTEN_ZONE = "Europe/London"
_OTHER_ZONE = "Asia/Tokyo"
_NIGHT_BEGINS = timedelta(minutes=15)

_READY_S = 20.0
_POLL_S = 0.01
_STOP_S = 30.0


class StageFault(AegisError):
    """The stage could not be set up; the message says what its processes said."""


class CommandRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a command said, on both outputs, and how it ended."""

    exit_code: int
    said: str


class Stage:
    """A context manager: within it the provider and the gateway answer, and the bank's agents have keys."""

    def __init__(self, *, seed: int, port: int) -> None:
        """`port` is the gateway's; another is taken where it is not free, and 0 takes any."""
        self.directory = Path(tempfile.mkdtemp(prefix="aegis-demo-"))
        self.upstream = UpstreamProcess(apps="both", keys=(UPSTREAM_KEY,), seed=seed, port=0)
        self.keys: dict[str, IssuedKey] = {}
        self.aegis_decides = False
        self._guard = _take_port(port)
        self.settings = Settings(
            store=f"sqlite:{self.directory / 'aegis.db'}",
            pepper=f"file:{self.directory / 'pepper'}",
            signing_key=f"file:{self.directory / 'signing-key.pem'}",
            host=HOST,
            port=self._guard.getsockname()[1],
        )
        self._store: Store | None = None
        self._gateway: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stage:
        """Set everything up; return when a call would be answered.

        Raises:
            StageFault: the gateway did not start.
        """
        try:
            self.upstream.start()
            self._apply()
            self._start_gateway()
            self._await_gateway()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take everything down."""
        self.close()

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://{HOST}:{self.settings.port}"

    @property
    def store(self) -> Store:
        """The installation's store, opened for administration."""
        assert self._store is not None, "the stage is set up"
        return self._store

    @property
    def bank(self) -> Path:
        """The configuration that was applied, as files."""
        return self.directory / "bank"

    def administration(self) -> Administration:
        """The operators' use cases."""
        return Administration(
            self.store,
            bootstrap.pepper(self.settings),
            bootstrap.signatures(self.settings, make=True),
            os.urandom,
            Caller(local_name=ACTOR),
        )

    def registry(self) -> Registry:
        """North Bank's registry, as its files have it."""
        return bootstrap.configuration(read_directory(self.bank)).registries[TENANT]

    def books(self) -> Books:
        """The ledger, for reading in this thread."""
        return Books(self.store, TENANT, self.registry())

    def door(self, agent: str) -> Door:
        """The way into the gateway for one of the bank's agents."""
        return Door(agent=agent, base_url=self.url, api_key=self.keys[agent].secret)

    def back_door(self, agent: str) -> Door:
        """The way past the gateway: straight to the provider, with the provider's own key."""
        return Door(agent=agent, base_url=self.upstream.base_url, api_key=UPSTREAM_KEY)

    def desk(self, budget: str) -> list[str]:
        """The agents that live on a budget, those that were registered since included."""
        stored = self.store.state().tenants[TENANT].agents
        return [agent.id for agent in (*self.registry().agents.values(), *stored) if agent.budget == budget]

    def aegis(self, arguments: list[str]) -> CommandRun:
        """Run the `aegis` command on this installation, as a person would."""
        run = subprocess.run(
            [sys.executable, "-m", "aegis_gateway.entrypoints.cli.main", *arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return CommandRun(exit_code=run.returncode, said=run.stdout.strip())

    def issue_key(self, agent: str) -> None:
        """Give an agent a key."""
        self.keys[agent] = self.administration().issue_key(TENANT, agent)

    def bill(self) -> dict[str, Any]:
        """The provider's bill."""
        return self.upstream.bill()

    def open_the_gateway(self) -> None:
        """From here on calls go through Aegis, and the provider's bill starts at zero."""
        self.upstream.reset()
        self.aegis_decides = True

    def close(self) -> None:
        """End the gateway, the provider, and the data directory with them."""
        if self._gateway is not None:
            self._stop_gateway(self._gateway)
            self._gateway = None
        self.upstream.stop()
        if self._store is not None:
            self._store.close()
            self._store = None
        self._guard.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _apply(self) -> None:
        """Put the bank's files in force, with the provider's address in them, and issue the agents' keys."""
        shutil.copytree(_BANK, self.bank)
        file = self.bank / "aegis.yaml"
        text = file.read_text(encoding="utf-8").replace(_WRITTEN_ADDRESS, self.upstream.base_url)
        file.write_text(text.replace(_WRITTEN_ZONE, _zone_of_a_day_that_lasts()), encoding="utf-8")
        files = read_directory(self.bank)
        loaded = bootstrap.configuration(files)
        self._store = bootstrap.store(self.settings)
        self.administration().apply(files, loaded.registries, appraisal=Appraisal())
        for agent in loaded.registries[TENANT].agents:
            self.issue_key(agent)

    def _start_gateway(self) -> None:
        if sys.platform != "linux":
            self._guard.close()  # elsewhere the gateway couldn't listen beside it
        with self._log.open("wb") as log:
            self._gateway = subprocess.Popen(
                [sys.executable, "-m", "aegis_gateway.demo.gateway", str(self.directory)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**self._environment(), "NORTHBANK_UPSTREAM_KEY": UPSTREAM_KEY},
                process_group=0,  # Ctrl-C is for the demo, which then ends the gateway in order
            )

    def _environment(self) -> dict[str, str]:
        """This process's environment, with this installation's settings and no others."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
        settings = self.settings
        return {
            **others,
            "AEGIS_STORE": settings.store,
            "AEGIS_PEPPER": settings.pepper,
            "AEGIS_SIGNING_KEY": settings.signing_key,
            "AEGIS_HOST": settings.host,
            "AEGIS_PORT": str(settings.port),
            "AEGIS_WORKERS": str(settings.workers),
            "AEGIS_ACTOR": ACTOR,
        }

    def _await_gateway(self) -> None:
        """Poll until a key of this installation is known at the door, so that it is no other gateway's."""
        assert self._gateway is not None, "the gateway was started"
        deadline = time.monotonic() + _READY_S
        guest = self.door(GUEST)
        while True:
            with contextlib.suppress(OSError):
                if call_http(guest, "GET", "/v1/models").status == 200:
                    return
            if self._gateway.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(encoding="utf-8", errors="replace").strip()
                raise StageFault(f"the gateway did not start; it said: {said[-2_000:] or 'nothing'}")
            time.sleep(_POLL_S)

    def _stop_gateway(self, gateway: subprocess.Popen[bytes]) -> None:
        assert gateway.stdin is not None, "it was opened as a pipe"
        gateway.stdin.close()
        try:
            gateway.wait(timeout=_STOP_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(gateway.pid, signal.SIGKILL)
            gateway.wait()

    @property
    def _log(self) -> Path:
        return self.directory / "gateway.log"


def _zone_of_a_day_that_lasts() -> str:
    """The bank's time zone, or where its day is about to end, one whose day is not: budgets are for a day."""
    now = datetime.now(ZoneInfo(_WRITTEN_ZONE))
    return _WRITTEN_ZONE if (now + _NIGHT_BEGINS).date() == now.date() else _OTHER_ZONE


def _take_port(port: int) -> socket.socket:
    """Bind a port and keep it, without listening; another one where that is taken.

    The gateway listens with SO_REUSEPORT, so that two demos at once would each get half of the other's calls.
    This socket is bound without it, which fails where anybody listens, and allows it only afterwards.
    """
    guard = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        guard.bind((HOST, port))
    except OSError:
        guard.bind((HOST, 0))
    if sys.platform == "linux":
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return guard
