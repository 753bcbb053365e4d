"""The examples do what their READMEs say: the commands are taken from there, and so is what is seen.

Only the ports are others, so that several can run at once, and the packages of the second terminal are those of the
tests' environments.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import ROOT, python_of
from tests.gateways import until

EXAMPLES = ROOT / "examples"
ENVIRONMENTS = {
    "langgraph": "agents",
    "openai_agents": "agents",
    "pydantic_ai": "agents",
    "claude_agent": "claude",
}
GATEWAY, PROVIDER = "8700", "8701"
"""The ports that the READMEs name."""
_BLOCK = re.compile(r"```(console|text)\n(.*?)```", re.DOTALL)
_MONTH = re.compile(r"\b\d{4}-\d{2}\b")


def test_every_example_is_tried() -> None:
    """There is no agent that no test runs."""
    assert set(ENVIRONMENTS) == {agent.parent.name for agent in EXAMPLES.glob("*/agent.py")}


EACH = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"example-{name}")) for name in ENVIRONMENTS],
)


@EACH
def test_what_is_installed(name: str) -> None:
    """The SDK's extras exist, and what else is installed is in the environment that the example is tried in."""
    install = blocks(name)[0]
    extras = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = re.findall(r"'([^']+)'|(?<= )([a-z][a-z-]+)(?=\s|$)", install.partition("pip install .")[2])
    for each in filter(None, (quoted or plain for quoted, plain in wanted)):
        if each.startswith("./sdk["):
            assert each[6:-1] in extras
        else:
            locked = (ROOT / "tests" / "environments" / f"{ENVIRONMENTS[name]}.in").read_text().splitlines()
            assert each in locked


@EACH
def test_what_is_seen(name: str, tmp_path: Path) -> None:
    """Both terminals as the README has them; the agent says what the README says."""
    _install, gateway, agent, seen = blocks(name)
    ports = {GATEWAY: free_port(), PROVIDER: free_port()}
    here = tmp_path / "examples" / name
    shutil.copytree(EXAMPLES / name, here, ignore=shutil.ignore_patterns("aegis-data", "__pycache__"))
    for file in (here / "aegis.yaml", here / "agent.py"):
        file.write_text(elsewhere(file.read_text(), ports))
    ours, theirs = Path(sys.executable).parent, python_of(ENVIRONMENTS[name]).parent
    environment = {
        "HOME": str(tmp_path),
        "AEGIS_PORT": ports[GATEWAY],
        "AEGIS_URL": f"http://127.0.0.1:{ports[GATEWAY]}",
    }
    with terminal(elsewhere(gateway, ports), tmp_path, {**environment, "PATH": path(ours)}) as first:
        until(lambda: is_ready(ports[GATEWAY], first), "the gateway does not start", wait_s=60)
        done = subprocess.run(
            ["bash", "-euc", elsewhere(agent, ports)],
            cwd=tmp_path,
            env={**environment, "PATH": path(theirs, ours), "PYTHONPATH": str(ROOT / "sdk" / "src")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert 0 == done.returncode, done.stderr
    assert said(seen) == said(done.stdout)


def blocks(name: str) -> list[str]:
    """What stands in a README's blocks: three of commands, and what is seen."""
    found = _BLOCK.findall((EXAMPLES / name / "README.md").read_text())
    assert ["console", "console", "console", "text"] == [kind for kind, _ in found]
    return [
        text if kind == "text" else "\n".join(line.removeprefix("$ ") for line in text.splitlines())
        for kind, text in found
    ]


def said(text: str) -> list[str]:
    """The words of a text, in any month."""
    return _MONTH.sub("YYYY-MM", text).split()


def elsewhere(text: str, ports: dict[str, str]) -> str:
    """A text with other ports."""
    for port, other in ports.items():
        text = text.replace(port, other)
    return text


def path(*folders: Path) -> str:
    """Where commands are found."""
    return os.pathsep.join([*map(str, folders), "/usr/bin", "/bin"])


def free_port() -> str:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


@contextlib.contextmanager
def terminal(commands: str, folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A terminal in which commands run; closing it ends whatever they started."""
    with (folder / "terminal.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def is_ready(port: str, process: subprocess.Popen[str]) -> bool:
    """Whether the gateway answers.

    Raises:
        AssertionError: its terminal has ended.
    """
    assert process.poll() is None, "the first terminal has ended"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
