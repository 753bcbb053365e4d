"""`aegis demo`, as its users run it: the command, its output, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis_gateway.demo.aftermath import what_to_try
from aegis_gateway.demo.doors import call_http
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.visitor import let_in

AEGIS = Path(sys.executable).parent / "aegis"

SCENES = [
    "without-aegis",
    "missing-tag",
    "256-at-once",
    "rate-limit",
    "payment-ceiling",
    "under-the-ceiling",
    "revoked-key",
    "runaway-loop",
    "run-purse",
    "in-shadow",
    "accounts",
]

RUN_SECONDS_MAX = 120.0
GONE_SECONDS_MAX = 30.0
POLL_SECONDS = 0.05

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="processes are found in /proc"
)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary directory nobody else uses; its path marks the demo's processes."""
    yield {**os.environ, "TMPDIR": str(tmp_path)}
    for pid in processes(tmp_path):
        os.kill(pid, signal.SIGKILL)


def run(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run `aegis demo` to its end, without a terminal."""
    return subprocess.run(
        [AEGIS, "demo", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )


def processes(mark: Path) -> list[int]:
    """The processes that were started with a temporary directory."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            values = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"TMPDIR={mark}".encode() in values:
            found.append(int(folder.name))
    return found


def left_behind(mark: Path) -> list[object]:
    """Processes and files of a demo that are still there when there was time to end."""
    deadline = time.monotonic() + GONE_SECONDS_MAX
    while True:
        left: list[object] = [*processes(mark), *mark.glob("aegis-demo-*")]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_SECONDS)


def shell(command: str) -> str:
    """What a command line says on its standard output; it must succeed."""
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert 0 == ended.returncode, ended.stderr
    return ended.stdout


def begun(environment: dict[str, str]) -> subprocess.Popen[str]:
    """A demo in its first scene: everything that it starts is running."""
    demo = subprocess.Popen(
        [AEGIS, "demo"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("0  "):
            return demo
    raise AssertionError("the demo ended before its first scene")


@needs_proc
def test_fast_json_is_one_object_whose_numbers_agree(environment: dict[str, str], tmp_path: Path) -> None:
    """Every scene passes; bill, ledger and agents agree by this test's own arithmetic; nothing is left behind."""
    ended = run(environment, "--fast", "--json")
    assert ("", 0) == (ended.stderr, ended.returncode)
    said: dict[str, Any] = json.loads(ended.stdout)
    assert [{"name": name, "passed": True} for name in SCENES] == said["scenes"]
    assert said["provider_bill_nano_usd"] == said["ledger_nano_usd"]
    assert said["provider_bill_nano_usd"] == sum(said["agents_nano_usd"].values())
    assert 0 == said["overspent_nano_usd"]
    assert said["calls"] == said["allowed"] + said["denied"] + said["throttled"] + said["asked"]
    # The 256 calls but for those that fitted, the loop's rounds after its day, seven payments; one rate too many.
    assert said["denied"] > 252
    assert 1 == said["throttled"]
    # Two desks stop below $20.00; four payments cost $0.25 each, each exchange rate $0.002.
    spent = said["agents_nano_usd"]
    assert 19_990_000_000 < spent["loan-advisor"] + spent["affordability-checker"] <= 20_000_000_000
    assert 19_990_000_000 < spent["market-researcher"] <= 20_000_000_000
    assert 4 * 250_000_000 == spent["payout-clerk"]
    assert 0 == spent["fx-watch"] % 2_000_000
    assert [] == left_behind(tmp_path)


def test_plain_lines_end_with_the_three_equal_numbers(environment: dict[str, str]) -> None:
    """Where output is piped, the story is lines without colour, and its last three are one number."""
    ended = run(environment, "--fast")
    lines = ended.stdout.splitlines()
    numbers = [re.fullmatch(r"  (.{15}) \$(\d+\.\d{9})", line) for line in lines[-3:]]
    assert 0 == ended.returncode
    assert all(numbers)
    assert ["provider's bill", "Aegis's ledger ", "sum over agents"] == [
        found[1] for found in numbers if found
    ]
    assert 1 == len({found[2] for found in numbers if found})
    assert "\x1b" not in ended.stdout
    assert re.search(r"provider bills \$212\.\d\d for its \$20\.00 day", ended.stdout)
    assert re.search(r"256 of 256 went through: \$2\.\d\d over the limit", ended.stdout.replace("\n   ", " "))


@needs_proc
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_nothing_is_left_behind_however_it_ends(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Stopped or killed in the middle of the story, its processes and its data end with it."""
    with begun(environment) as demo:
        assert len(processes(tmp_path)) > 1
        demo.send_signal(number)
        assert code == demo.wait(GONE_SECONDS_MAX)
    assert [] == left_behind(tmp_path)


def test_the_commands_to_try_work_as_they_are_printed() -> None:
    """Every command that is left to try runs in a shell as it stands: store, key and port are in it."""
    with Stage(seed=1, port=0) as stage:
        blocks = re.split(r"^# .*\n", what_to_try(stage, let_in(stage)).plain, flags=re.MULTILINE)[1:]
        commands = [block.partition("\n\n")[0] for block in blocks]
        said = [shell(command.replace("aegis top", "aegis top --once")) for command in commands]
    assert ["aegis", "aegis", "curl", "curl", "openai", "aegis", "aegis"] == [
        next(word for word in ("openai", "curl", "aegis") if word in command) for command in commands
    ]
    assert "North Bank" in said[0]
    assert '"pair":"EUR-USD"' in said[2]
    assert "aegis-budget-remaining-usd" in said[3]
    assert said[4].strip()
    assert "nothing to do" in said[5]
    assert f"{stage.url}/sign-in?link=" in said[6]


def test_the_link_leads_to_the_overview() -> None:
    """It is printed where the story ends, and signs in once: whoever opens it stands before what the bank has spent."""
    with Stage(seed=1, port=0) as stage:
        (link,) = re.findall(
            r"^http\S+/sign-in\?link=\S+$", what_to_try(stage, let_in(stage)).plain, re.MULTILINE
        )
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        form = opener.open(link).read().decode()
        fields = dict(re.findall(r'name="(csrf|next|link)" value="([^"]*)"', form))
        page = opener.open(f"{stage.url}/sign-in", urllib.parse.urlencode(fields).encode())
        assert (f"{stage.url}/", True) == (page.url, "Spent today" in page.read().decode())
        with pytest.raises(urllib.error.HTTPError, match="403"):
            opener.open(f"{stage.url}/sign-in", urllib.parse.urlencode(fields).encode())


def test_another_port_is_taken_where_the_usual_one_is_not_free() -> None:
    """A gateway that listens elsewhere is not shared: the demo goes to another port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Stage(seed=1, port=port) as stage:
            assert port != stage.settings.port
            assert 200 == call_http(stage.door("guest"), "GET", "/v1/models").status


def test_without_the_official_client_it_says_what_to_install(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The demo's agents need `openai`, which a gateway does not: the fault is one line, with the command."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['openai'] = None\n")
    ended = run({**environment, "PYTHONPATH": str(blocked)}, "--fast")
    assert 1 == ended.returncode
    assert "pip install 'aegis-gateway[demo]'" in ended.stderr
    assert "Traceback" not in ended.stderr
