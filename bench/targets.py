"""What is measured: the bundled provider, the bare relay, and Aegis as `aegis up` starts it.

Rule: each has a key of its own at the provider, so that the provider's one bill says who spent what.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from aegis_gateway import bootstrap
from aegis_gateway.application.administration import Administration
from aegis_gateway.application.operators import Caller
from aegis_gateway.configuration.settings import DEFAULT_KEEP_ALIVE_S, Settings
from aegis_gateway.demo.upstream.bill import masked
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.risk import Appraisal
from aegis_gateway.entrypoints import worker
from bench.processes import NotReady, answers, children, free_port, listeners, running, wait_until

START_S_MAX = 30.0
STOP_S_MAX = 30.0
UPSTREAM_KEY = "AEGIS_BENCH_UPSTREAM_KEY"
TENANT = "northbank"
AGENT = "mortgage-assistant"

_CONFIGURATION = Path(__file__).parent / "configuration"
_COMMAND = "aegis_gateway.entrypoints.cli.main"
_SUPERVISOR = (
    "import logging; logging.basicConfig(level=logging.WARNING);"
    "from aegis_gateway.configuration.settings import read_settings;"
    "from aegis_gateway.entrypoints.supervisor import Supervisor;"
    "Supervisor(read_settings()).run()"
)


class Target:
    """Somewhere to send requests: a port, a key, and the processes behind it by what they do."""

    def __init__(self, name: str, port: int, key: str, upstream_key: str) -> None:
        self.name = name
        self.port = port
        self.key = key
        self.account = masked(upstream_key)

    def processes(self) -> dict[str, list[int]]:
        """Process ids by role."""
        return {}

    def stop(self) -> None:
        """End what was started."""


class Relay(Target):
    """Bare relays that share a port."""

    def __init__(self, name: str, url: str, upstream_key: str, workers: int) -> None:
        super().__init__(name, free_port(), "unused", upstream_key)
        command = [sys.executable, "-m", "bench.relay", "--port", str(self.port), "--key", upstream_key]
        command += ["--url", url]
        command += ["--backlog", str(worker.BACKLOG), "--backpressure", str(worker.BACKPRESSURE)]
        command += ["--header-timeout-ms", str(DEFAULT_KEEP_ALIVE_S * 1_000)]
        self._running = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(workers)]
        _wait_for_workers(self.port, workers, "/", self._running)

    def processes(self) -> dict[str, list[int]]:
        return {"relay": [each.pid for each in self._running]}

    def stop(self) -> None:
        for each in self._running:
            _end(each)


class Aegis(Target):
    """A gateway on a store of its own."""

    def __init__(
        self,
        name: str,
        files: dict[str, str],
        upstream_key: str,
        folder: Path,
        workers: int,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`variables` are more of its environment."""
        folder.mkdir()
        self._variables = variables
        self.settings = Settings(
            store=f"sqlite:{folder / 'aegis.db'}",
            pepper=f"file:{folder / 'pepper'}",
            signing_key=f"file:{folder / 'signing-key.pem'}",
            port=free_port(),
            workers=workers,
        )
        self.database = folder / "aegis.db"
        self._folder = folder
        self._upstream_key = upstream_key
        self._running: subprocess.Popen[bytes] | None = None
        super().__init__(name, self.settings.port, _set_up(self.settings, files), upstream_key)
        self.start()

    def start(self) -> float:
        """Start it, and tell after how many seconds it answered that it is ready."""
        environment = {
            **os.environ,
            "AEGIS_STORE": self.settings.store,
            "AEGIS_PEPPER": self.settings.pepper,
            "AEGIS_SIGNING_KEY": self.settings.signing_key,
            "AEGIS_HOST": self.settings.host,
            "AEGIS_PORT": str(self.settings.port),
            "AEGIS_WORKERS": str(self.settings.workers),
            UPSTREAM_KEY: self._upstream_key,
            **self._variables,
        }
        with open(self._folder / "log", "ab") as log:
            spawned_at = time.monotonic()
            self._running = subprocess.Popen(
                _up(), env=environment, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            ready_at = _wait_for_workers(self.port, self.settings.workers, "/readyz", [self._running])
        except NotReady as fault:
            self.stop()
            log_text = (self._folder / "log").read_text(errors="replace")
            raise NotReady(f"{fault}; its log:\n{log_text[-4_000:]}") from fault
        return ready_at - spawned_at

    def processes(self) -> dict[str, list[int]]:
        if self._running is None:
            return {}
        roles: dict[str, list[int]] = {"worker": [], "ledger": [self._running.pid]}
        for child in children(self._running.pid):
            roles.setdefault(running(child).rpartition(".")[2], []).append(child)
        return roles

    def stop(self) -> None:
        if self._running is not None:
            _end(self._running)
            self._running = None


class Targets:
    """All of them, started together and idle but for the one that is measured."""

    def __init__(self, folder: Path, starts: int) -> None:
        keys = [f"sk-bench-{name}-{number:04d}" for number, name in enumerate(("a", "b", "c", "d", "e", "f"))]
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.provider = stack.enter_context(UpstreamProcess(apps="provider", keys=keys))
            port = int(self.provider.base_url.rpartition(":")[2])
            self.direct = Target("provider directly", port, keys[0], keys[0])
            url, files = (
                f"{self.provider.base_url}/v1/chat/completions",
                configuration(self.provider.base_url),
            )
            self.relay = Relay("bare relay", url, keys[1], 1)
            stack.callback(self.relay.stop)
            self.relay_2 = Relay("bare relay, 2 processes", url, keys[2], 2)
            stack.callback(self.relay_2.stop)
            self.aegis = Aegis("Aegis", files, keys[3], folder / "one", 1)
            stack.callback(self.aegis.stop)
            self.aegis_2 = Aegis("Aegis, 2 workers", files, keys[4], folder / "two", 2)
            stack.callback(self.aegis_2.stop)
            self.ready_s = _ready_times(files, keys[5], folder / "ready", starts)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """End all of them."""
        self._stack.close()


def configuration(upstream: str) -> dict[str, str]:
    """The configuration's files, with an upstream's address in them."""
    return {
        str(path.relative_to(_CONFIGURATION)): path.read_text().replace("{{PROVIDER}}", upstream)
        for path in sorted(_CONFIGURATION.rglob("*"))
        if path.is_file()
    }


def _ready_times(files: dict[str, str], upstream_key: str, folder: Path, starts: int) -> list[float]:
    """How long a gateway takes to be ready, each time that it is started on the same store."""
    aegis = Aegis("ready", files, upstream_key, folder, 1)
    seconds = []
    for _ in range(starts):
        aegis.stop()
        seconds.append(aegis.start())
    aegis.stop()
    return seconds


def _up() -> list[str]:
    """`aegis up`, or what it runs while the command isn't there."""
    if importlib.util.find_spec(_COMMAND) is None:
        return [sys.executable, "-c", _SUPERVISOR]
    return [str(Path(sys.executable).parent / "aegis"), "up"]


def _set_up(settings: Settings, files: dict[str, str]) -> str:
    """Apply a configuration and issue a key, as `aegis apply` and `aegis key issue` do."""
    loaded = bootstrap.configuration(files)
    store = bootstrap.store(settings)
    try:
        administration = Administration(
            store,
            bootstrap.pepper(settings),
            bootstrap.signatures(settings, make=True),
            os.urandom,
            Caller(local_name="bench"),
        )
        administration.apply(files, loaded.registries, appraisal=Appraisal())
        return administration.issue_key(TENANT, AGENT).secret
    finally:
        store.close()


def _wait_for_workers(
    port: int, workers: int, path: str, running: Sequence[subprocess.Popen[bytes]]
) -> float:
    """Wait until a port answers, and until all its workers listen; tell when it answered.

    Raises:
        NotReady: it ended, or did not in time.
    """

    def is_ready() -> bool:
        if any(each.poll() is not None for each in running):
            raise NotReady("it ended before it was ready")
        return answers(port, path)

    wait_until(is_ready, "it was not ready", seconds_max=START_S_MAX)
    ready_at = time.monotonic()
    wait_until(lambda: listeners(port) >= workers, "not every worker listened", seconds_max=START_S_MAX)
    return ready_at


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
