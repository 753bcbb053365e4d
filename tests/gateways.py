"""Gateways for tests: real processes on free ports, from a configuration in a few words, which leave nothing behind.

    with UpstreamProcess() as upstream, Gateway(configuration(upstream.base_url)) as gateway:
        answer = chat(gateway, gateway.key("bot"), "hello")

What `aegis up` starts is what is tested: the ledger process and its workers. Keys and configurations are made in
this process, beside the running gateway, as `aegis key` and `aegis apply` do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from aegis_gateway import bootstrap
from aegis_gateway.adapters.stores import open_store
from aegis_gateway.application.administration import Administration, IssuedKey, owners_bound
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.demo.upstream.process import KEY as UPSTREAM_KEY
from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.risk import Appraisal

HOST = "127.0.0.1"
TENANT = "acme"
WAIT_S = 20.0
POLL_S = 0.01
SIGNING_KEY = (
    Ed25519PrivateKey.from_private_bytes(b"signs configurations in tests...")
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
"""The same for all gateways, as those of one database need it."""
PEPPER = "pepper-of-the-tests-0123456789abcdef-canary"
CREDENTIAL_VARIABLE = "ACME_UPSTREAM_KEY"

_READY_S = 20.0
_SOCKETS = 8_192
_LISTENING = "0A"
_STOP_S = 30.0
_PR_SET_PDEATHSIG = 1
_SUPERVISOR = (
    "from aegis_gateway.configuration.settings import read_settings\n"
    "from aegis_gateway.entrypoints.supervisor import Supervisor\n"
    "Supervisor(read_settings()).run()\n"
)

Files = dict[str, str]

PERMIT_ALL = '@id("all-may")\npermit(principal, action, resource);\n'

BUDGET_PEOPLE = "owner: ana@acme.example, deputy: ben@acme.example"

PAYMENTS = """\
          pay:
            method: POST
            path: /v1/payments
            arguments:
              amount: {type: number, from: body.amount, shown: true}
              currency: {type: string, from: body.currency, shown: true}
              reference: {type: string, from: body.reference, required: false}
            price: {per_call: 0.25}
            counts: {paid_out: body.amount}
          show:
            method: GET
            path: /v1/payments/{id}
            arguments: {id: {type: string, from: path.id}}
            price: {per_call: 0}
          rate:
            method: GET
            path: /v1/fx/{pair}
            price: {per_call: 0.002}
"""
"""Operations of the bundled payments API."""


def configuration(
    upstream: str,
    *,
    budgets: Mapping[str, str] | None = None,
    rates: Mapping[str, str] | None = None,
    policies: str = PERMIT_ALL,
    agents: Iterable[str] = ("bot",),
    agent_budgets: Mapping[str, str] | None = None,
    models: Mapping[str, str] | None = None,
    operations: str = PAYMENTS,
    timeout_seconds: int = 600,
    connector_settings: Mapping[str, str] | None = None,
    timezone: str = "UTC",
) -> Files:
    """The files of a configuration with one tenant, `acme`, in front of one upstream.

    Budgets, rates and models are written as they stand in the file, within their braces:
    `budgets={"day": "limit: 20.00, period: daily"}`. A budget's owner and deputy may be left out. Without budgets
    each agent lives on `plenty`, which is never empty; with some, on `agent_budgets` or else on the first.
    """
    stated = dict(budgets or {"plenty": "limit: 1000000.00, period: yearly"})
    home = next(iter(stated))
    homes = dict(agent_budgets or {})
    named_models = models or {
        "gpt-4o-mini": "connector: provider",
        "gpt-4.1": "connector: provider",
        "gpt-5-mini": "connector: provider",
    }
    lines = [
        "version: 1",
        "tenants:",
        f"  {TENANT}:",
        f"    timezone: {timezone}",
        "    quantities: {paid_out: {unit: usd}, rows: {decimals: 0}}",
        "    teams:",
        f"      desk: {{cost_centre: CC-1, owner: ana@acme.example, default_budget: {home}}}",
        "    agents:",
    ]
    for agent in agents:
        budget = f", budget: {homes[agent]}" if agent in homes else ""
        lines.append(
            f"      {agent}: {{team: desk, owner: ana@acme.example, purpose: test, environment: test{budget}}}"
        )
    lines += [
        "    connectors:",
        "      provider:",
        "        kind: openai",
        f"        base_url: {upstream}/v1",
        f"        credential: env:{CREDENTIAL_VARIABLE}",
        f"        timeout_seconds: {timeout_seconds}",
        *(f"        {setting}: {value}" for setting, value in (connector_settings or {}).items()),
        *_connector("claude", "anthropic", f"{upstream}/v1", timeout_seconds),
        *_connector("google", "gemini", f"{upstream}/v1beta", timeout_seconds),
        *_connector("azure", "azure", upstream, timeout_seconds, api_version="2024-10-21"),
        "      api:",
        "        kind: http",
        f"        base_url: {upstream}",
        f"        credential: env:{CREDENTIAL_VARIABLE}",
        f"        timeout_seconds: {timeout_seconds}",
        "        operations:",
        operations.rstrip("\n"),
        "    models:",
        *(f"      {name}: {{{text}}}" for name, text in named_models.items()),
        "    budgets:",
        *(
            f"      {name}: {{{text}, {BUDGET_PEOPLE}}}"
            if "owner:" not in text
            else f"      {name}: {{{text}}}"
            for name, text in stated.items()
        ),
    ]
    if rates:
        lines += ["    rates:", *(f"      {name}: {{{text}}}" for name, text in rates.items())]
    return {"aegis.yaml": "\n".join(lines) + "\n", "policies/all.cedar": policies}


def _connector(name: str, kind: str, base_url: str, timeout_seconds: int, **rest: str) -> list[str]:
    """A connector to a model API that isn't OpenAI's."""
    settings = {
        "kind": kind,
        "base_url": base_url,
        "credential": f"env:{CREDENTIAL_VARIABLE}",
        "timeout_seconds": timeout_seconds,
        **rest,
    }
    return [f"      {name}:", *(f"        {setting}: {value}" for setting, value in settings.items())]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer over plain HTTP; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error in the API's form."""
        return str(self.json["error"]["code"])


class Gateway:
    """A gateway of real processes. Within the context it answers at `url`; after it nothing of it is left."""

    def __init__(
        self,
        files: Files | None,
        *,
        store: str | None = None,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> None:
        """`store` is a URL (SQLite in a directory of its own if left out); without `files` nothing is applied."""
        self.directory = Path(tempfile.mkdtemp(prefix="aegis-test-"))
        self.data = self.directory / "data"
        self.settings = Settings(
            store=store or f"sqlite:{self.data / 'aegis.db'}",
            pepper="env:AEGIS_TEST_PEPPER",
            signing_key=f"file:{self.data / 'signing-key.pem'}",
            host=HOST,
            port=0,
            workers=workers,
        )
        self._files = files
        self._starts = start
        self.environment = {CREDENTIAL_VARIABLE: UPSTREAM_KEY, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: socket.socket | None = None
        self._keys: dict[str, IssuedKey] = {}
        self.first_start_s = 0.0

    # -- lifetime ------------------------------------------------------------------------------------------

    def __enter__(self) -> Gateway:
        try:
            _allow_many_sockets()
            self.data.mkdir(exist_ok=True)
            (self.data / "signing-key.pem").write_text(SIGNING_KEY)
            self._guard = take_port()
            port = self._guard.getsockname()[1]
            self.settings = msgspec.structs.replace(self.settings, port=port)
            if self._files is not None:
                self.apply(self._files)
            if self._starts:
                self.first_start_s = self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log())
        self.close()

    def start(self) -> float:
        """Start the processes and wait until they answer; gives the seconds that it took."""
        began = time.monotonic()
        self._spawn()
        deadline = began + _READY_S
        while not self.is_ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the gateway did not start:\n{self.log()}")
            time.sleep(POLL_S)
        return time.monotonic() - began

    def stop(self) -> int:
        """Ask it to stop (SIGTERM) and wait until it has; gives the exit code."""
        assert self._process is not None, "the gateway does not run"
        self._process.terminate()
        return self.ended()

    def ended(self) -> int:
        """Wait until the ledger process has ended; gives the exit code."""
        assert self._process is not None, "the gateway does not run"
        code = self._process.wait(timeout=_STOP_S)
        until(lambda: not self.is_listening(), "the workers go on without their ledger")
        self._process = None
        return code

    def kill(self) -> None:
        """`kill -9` of the ledger process only; its workers have to end by themselves, which is waited for."""
        assert self._process is not None, "the gateway does not run"
        children = self.children()
        self._process.kill()
        self._process.wait()
        until(lambda: not any(map(_is_alive, children)), "something outlives its ledger")
        self._process = None

    def kill_all(self) -> None:
        """`kill -9` of everything at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def without_fault(self) -> None:
        """From the next start on, without the fault of a drill."""
        self.environment.pop("AEGIS_FAULT", None)

    def restart(self) -> float:
        """Start again what was stopped or killed; gives the seconds until it answers."""
        if self._process is not None:
            self.stop()
        return self.start()

    def close(self) -> None:
        """End whatever still runs and remove the directory."""
        self.kill_all()
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The ledger process."""
        assert self._process is not None, "the gateway does not run"
        return self._process.pid

    def workers(self) -> list[int]:
        """The process ids of the gateway workers."""
        return _children(self.pid, "aegis_gateway.entrypoints.worker")

    def stewards(self) -> list[int]:
        """The process id of the steward, as the only one in a list; none while there is none."""
        return _children(self.pid, "aegis_gateway.entrypoints.steward")

    def pages(self) -> list[int]:
        """The process id of the pages, as the only one in a list; none while there is none."""
        return _children(self.pid, "aegis_gateway.entrypoints.pages")

    def children(self) -> list[int]:
        """The process ids of all that the ledger process has started."""
        return _children(self.pid)

    def is_ready(self) -> bool:
        """Whether it says that it is ready."""
        try:
            return ask(self, "GET", "/readyz", key=None).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def is_listening(self) -> bool:
        """Whether anybody takes connections on its port."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.settings.port)) == 0

    def all_serve(self) -> bool:
        """Whether each of its workers takes connections; elsewhere than on Linux, whether one does."""
        table = Path("/proc/net/tcp")
        if not table.exists():
            return self.is_ready()
        rows = (line.split() for line in table.read_text().splitlines()[1:])
        here = [row for row in rows if row[1].endswith(f":{self.settings.port:04X}") and row[3] == _LISTENING]
        return len(here) == self.settings.workers

    def log(self) -> str:
        """All that its processes have said on standard output and standard error."""
        file = self.directory / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    # -- use -----------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.settings.port}"

    def key(self, agent: str = "bot") -> str:
        """A key of an agent, the same each time."""
        if agent not in self._keys:
            self._keys[agent] = self.issue(agent)
        return self._keys[agent].secret

    def issue(self, agent: str = "bot") -> IssuedKey:
        """A new key of an agent."""
        with self.administration() as administration:
            return administration.issue_key(TENANT, agent)

    def apply(self, files: Files) -> None:
        """Put a configuration in force, as `aegis apply` does."""
        loaded = bootstrap.configuration(files)
        with contextlib.closing(bootstrap.store(self.settings)) as store:
            newest = store.state().config
        appraisal = Appraisal(based_on=newest.version if newest else 0)
        with self.administration() as administration:
            bounds = {name: owners_bound(registry) for name, registry in loaded.registries.items()}
            administration.apply(files, list(loaded.registries), appraisal=appraisal, bounds=bounds)

    @contextlib.contextmanager
    def administration(self) -> Iterator[Administration]:
        """The operators' use cases, on a connection of its own beside the running gateway."""
        with contextlib.closing(bootstrap.store(self.settings)) as store:
            yield Administration(
                store,
                PEPPER.encode(),
                bootstrap.signatures(self.settings),
                os.urandom,
                Caller(local_name="test"),
            )

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The store, to read."""
        with contextlib.closing(open_store(self.settings.store, read_only=True)) as store:
            yield store

    def query(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the store; `?` stands for a value."""
        with self.store() as store:
            return store.query(sql, values)

    def calls(self) -> list[dict[str, Any]]:
        """All calls in the order in which they were decided."""
        return self.query("select * from call order by tenant, sequence")

    def call(self, name: str) -> dict[str, Any]:
        """One call."""
        return self.query("select * from call where call = ?", name)[0]

    def last_call(self) -> dict[str, Any]:
        """The call that was decided last."""
        return self.query("select * from call order by sequence desc limit 1")[0]

    def states(self) -> Counter[str]:
        """How many calls there are in each state."""
        return Counter(row["state"] for row in self.query("select state from call"))

    def count(self) -> int:
        """How many calls were decided."""
        return int(self.query("select count(*) as n from call")[0]["n"])

    def entries(self) -> list[dict[str, Any]]:
        """The record, decoded, in order."""
        rows = self.query("select body from entry order by tenant, sequence")
        return [json.loads(bytes(row["body"])) for row in rows]

    def standing(self, budget: str) -> tuple[int, int]:
        """What is pending and what is posted on a budget, all its scopes and windows together."""
        sql = "select coalesce(sum(pending), 0) as pending, coalesce(sum(posted), 0) as posted"
        row = self.query(f"{sql} from standing where budget = ?", budget)[0]
        return int(row["pending"]), int(row["posted"])

    def charged(self) -> int:
        """The sum of all charge lines, in nano-USD."""
        return int(self.query("select coalesce(sum(nano_usd), 0) as total from charge_line")[0]["total"])

    def settled(self) -> dict[str, Any]:
        """The last call, once it is no more under way."""
        until(lambda: self.last_call()["state"] != "dispatched", "the call stays under way")
        return self.last_call()

    # -- inside --------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        command = Path(sys.executable).with_name("aegis")
        arguments = [str(command), "up"] if command.exists() else [sys.executable, "-c", _SUPERVISOR]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
        environment = {
            **kept,
            **self.environment,
            "AEGIS_STORE": self.settings.store,
            "AEGIS_PEPPER": self.settings.pepper,
            "AEGIS_SIGNING_KEY": self.settings.signing_key,
            "AEGIS_TEST_PEPPER": PEPPER,
            "AEGIS_HOST": self.settings.host,
            "AEGIS_PORT": str(self.settings.port),
            "AEGIS_WORKERS": str(self.settings.workers),
            # What `kill -9` leaves behind goes with our directory.
            "TMPDIR": str(self.directory),
        }
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )


def assert_books_balance(gateway: Gateway) -> None:
    """Whatever happened: the record has no gap, each call its decision, each cost its lines, each leg its place."""
    with gateway.store() as store:
        while True:
            heads = store.query("select tenant, next_sequence from tenant_head")
            calls = store.query("select * from call")
            entries = store.query(
                "select tenant, sequence, call, type, body from entry order by tenant, sequence"
            )
            lines = store.query("select call, sum(nano_usd) as total from charge_line group by call")
            standings = store.query('select budget, scope, "window", quantity, pending, posted from standing')
            hours = store.query("select tenant, budget, scope, hour, amount from budget_hour")
            # What a killed process had sent off may be committed after it. Each commit moves a head.
            if heads == store.query("select tenant, next_sequence from tenant_head"):
                break
    _assert_record_is_whole(calls, entries, heads)
    _assert_costs_are_charged(calls, lines)
    _assert_standings_follow(calls, entries, standings)
    _assert_hours_follow(calls, entries, hours)


def _assert_record_is_whole(
    calls: list[dict[str, Any]], entries: list[dict[str, Any]], heads: list[dict[str, Any]]
) -> None:
    sequences: dict[str, list[int]] = {head["tenant"]: [] for head in heads}
    for entry in entries:
        sequences[entry["tenant"]].append(entry["sequence"])
    assert {head["tenant"]: list(range(1, head["next_sequence"])) for head in heads} == sequences
    decisions = Counter(entry["call"] for entry in entries if entry["type"] == "decision")
    assert {call["call"]: 1 for call in calls} == decisions
    settlements = Counter(entry["call"] for entry in entries if entry["type"] == "settlement")
    assert {call["call"]: 1 for call in calls if call["state"] == "settled"} == settlements


def _assert_costs_are_charged(calls: list[dict[str, Any]], lines: list[dict[str, Any]]) -> None:
    charged = {row["call"]: int(row["total"]) for row in lines}
    for call in calls:
        assert (call["cost_nano_usd"] or 0) == charged.get(call["call"], 0), call
        assert (call["state"] in ("settled", "released", "expired")) == (call["cost_nano_usd"] is not None)


def _assert_standings_follow(
    calls: list[dict[str, Any]], entries: list[dict[str, Any]], standings: list[dict[str, Any]]
) -> None:
    pending: Counter[tuple[str, str, str]] = Counter()
    posted: Counter[tuple[str, str, str]] = Counter()
    for call in calls:
        if call["state"] in ("reserved", "dispatched", "in_doubt"):
            for budget, scope, window, _quantity, amount, *_ in json.loads(call["legs"]):
                pending[budget, scope, window] += amount
    for entry in entries:
        if entry["type"] == "settlement":
            for leg in json.loads(bytes(entry["body"]))["legs"]:
                posted[leg["budget"], leg["scope"], leg["window"]] += int(leg["settled"])
    for row in standings:
        if row["quantity"] == "instances":
            continue  # not money or anything else that calls carry: how many balances were opened
        key = (row["budget"], row["scope"], row["window"])
        assert (pending[key], posted[key]) == (row["pending"], row["posted"]), key


def _assert_hours_follow(
    calls: list[dict[str, Any]], entries: list[dict[str, Any]], hours: list[dict[str, Any]]
) -> None:
    """What was settled stands in the hours of admission, but for balances that aren't kept by hour."""
    by_call = {call["call"]: call for call in calls}
    expected: Counter[tuple[str, str, str, int]] = Counter()
    for entry in entries:
        if entry["type"] == "settlement":
            call = by_call[entry["call"]]
            held = json.loads(call["legs"])
            for leg, (_, _, _, _, _, by_hour) in zip(
                json.loads(bytes(entry["body"]))["legs"], held, strict=True
            ):
                if by_hour:
                    hour = call["decided_ns"] // HOUR_NS
                    expected[call["tenant"], leg["budget"], leg["scope"], hour] += int(leg["settled"])
    found = Counter(
        {(row["tenant"], row["budget"], row["scope"], row["hour"]): int(row["amount"]) for row in hours}
    )
    assert +expected == found


def ask(
    gateway: Gateway,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own, by the standard library. An empty key is the default agent's."""
    connection = http.client.HTTPConnection(HOST, gateway.settings.port, timeout=WAIT_S)
    given: dict[str, str] = {}
    if body is not None:
        given["content-type"] = "application/json"
    if key is not None:
        given["authorization"] = f"Bearer {key or gateway.key()}"
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        connection.request(method, path, data, {**given, **(headers or {})})
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(status=answer.status, headers=names, body=answer.read())
    finally:
        connection.close()


def chat(gateway: Gateway, text: str, *, key: str = "", **rest: object) -> Answer:
    """One chat completion; `text` may hold directives to the bundled provider."""
    return ask(gateway, "POST", "/v1/chat/completions", chat_body(text, **rest), key=key)


def chat_body(text: str, **rest: object) -> dict[str, object]:
    """The body of a chat completion."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **rest}


def at_once(requests: Iterable[tuple[Gateway, str, str, object, str]]) -> list[Answer | None]:
    """Many requests at the same time: gateway, method, path, body and key of each. None where nobody answered."""

    async def one(
        client: Client, gateway: Gateway, method: str, path: str, body: object, key: str
    ) -> Answer | None:
        headers = [("content-type", "application/json"), ("authorization", f"Bearer {key}")]
        request = client.request(method, gateway.url + path).headers(headers)
        try:
            answer = await request.body_bytes(json.dumps(body).encode()).build().send()
            content = bytes(await answer.bytes())
        except PyreqwestError:
            return None
        return Answer(status=answer.status, headers=dict(answer.headers.items()), body=content)

    async def all_of_them() -> list[Answer | None]:
        async with ClientBuilder().no_proxy().timeout(timedelta(seconds=60)).build() as client:
            return await asyncio.gather(*(one(client, *request) for request in requests))

    return asyncio.run(all_of_them())


def exchange(gateway: Gateway, request: bytes, *, hang_up: bool = False) -> bytes:
    """Send raw bytes, as no HTTP library would, and give all that comes back until the connection is closed.

    `hang_up` tells the gateway that nothing more will come.
    """
    with socket.create_connection((HOST, gateway.settings.port), timeout=WAIT_S) as connection:
        pieces = []
        with contextlib.suppress(OSError):  # it may hang up on us before it was sent all of it
            connection.sendall(request)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                pieces.append(piece)
        return b"".join(pieces)


def until(
    condition: Callable[[], bool], what: str = "the condition did not come true", *, wait_s: float = WAIT_S
) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


class ScriptedUpstream:
    """An upstream that answers with whatever bytes a test wants, and keeps what it was asked.

    `script` gets a request's bytes and the connection, and writes what it likes; then the connection is closed.
    """

    def __init__(self, script: Callable[[bytes, socket.socket], None]) -> None:
        """Answer by a script."""
        self.requests: list[bytes] = []
        self._script = script
        self._listener = socket.create_server((HOST, 0))
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(WAIT_S)
            request = _whole_request(connection)
            self.requests.append(request)
            self._script(request, connection)


def answer_with(
    body: bytes, *, status: str = "200 OK", headers: str = "content-type: application/json\r\n"
) -> Callable[[bytes, socket.socket], None]:
    """A script that answers with a body."""

    def script(_request: bytes, connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)

    return script


def _whole_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if name.lower() == b"transfer-encoding":
            while not body.endswith(b"0\r\n\r\n"):
                body += _received(connection)
    while len(body) < length:
        body += _received(connection)
    return head + b"\r\n\r\n" + body


def _received(connection: socket.socket) -> bytes:
    piece = connection.recv(65_536)
    if not piece:
        raise ConnectionResetError
    return piece


def _allow_many_sockets() -> None:
    """A thousand calls at once are two thousand sockets; what is started from here inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def take_port() -> socket.socket:
    """A free port, kept free of everybody else for as long as the socket is open (see the demo upstream's)."""
    guard = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    guard.bind((HOST, 0))
    if sys.platform == "linux":
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return guard


def die_with_parent() -> None:
    """A test run that is killed takes its gateways along; their workers follow."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _children(pid: int, running: str = "") -> list[int]:
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = (line.split(None, 2) for line in listed.splitlines())
    return [int(child) for child, parent, *args in rows if int(parent) == pid and running in " ".join(args)]


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asked about does not."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")


class Happened(msgspec.Struct, kw_only=True):
    """What a block of a test has caused: requests that reached the upstream, decisions, and what was charged."""

    arrived: int = 0
    decided: int = 0
    billed_nano_usd: int = 0
    charged_nano_usd: int = 0


@contextlib.contextmanager
def happening(gateway: Gateway, upstream: UpstreamProcess) -> Iterator[Happened]:
    """Count what the block causes; the numbers are there after it."""
    happened = Happened()
    before = _so_far(gateway, upstream)
    yield happened
    after = _so_far(gateway, upstream)
    for name in happened.__struct_fields__:
        setattr(happened, name, getattr(after, name) - getattr(before, name))


def _so_far(gateway: Gateway, upstream: UpstreamProcess) -> Happened:
    bill = upstream.bill()
    return Happened(
        arrived=bill["arrived"],
        decided=gateway.count(),
        billed_nano_usd=bill["total_nano_usd"],
        charged_nano_usd=gateway.charged(),
    )
