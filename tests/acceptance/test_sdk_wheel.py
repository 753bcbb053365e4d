"""The SDK as it is published: its wheel, alone in a fresh environment, with a real gateway."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.clients import ROOT
from tests.gateways import Gateway
from tests.sdks import tools

pytestmark = pytest.mark.xdist_group("sdk_clients")

_AGENT = """
import asyncio, importlib.metadata, importlib.util, sys

assert importlib.util.find_spec("aegis_gateway") is None
names = sorted(each.metadata["Name"] for each in importlib.metadata.distributions())
before = set(sys.modules)
from aegis_sdk import Denied, guard, run

@guard("desk.crawl")
def crawl(url):
    return {"pages": 2, "rows": 0}

@guard("desk.wire")
async def wire(amount):
    raise AssertionError("it must not run")

async def main():
    async with run():
        try:
            await wire(101)
        except Denied as refused:
            print(refused.decision.reasons[0].subject)

crawl("https://example.org")
asyncio.run(main())
print(*names)
"""


def test_the_wheel_is_all_that_an_agent_needs(tmp_path: Path) -> None:
    """It depends on nothing of its own accord, is typed, has its licence, and works where nothing else is installed."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT / "sdk", check=True, capture_output=True)
    [wheel] = tmp_path.glob("aegis_sdk-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [name for name in names if name.endswith("METADATA")]
        described = archive.read(metadata).decode()
    assert "aegis_sdk/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "License-Expression: Apache-2.0" in described
    needed = [line for line in described.splitlines() if line.startswith("Requires-Dist:")]
    assert [] == [line for line in needed if "extra ==" not in line]  # frameworks, each for its own adapter
    assert (ROOT / "LICENSE").read_text() == (ROOT / "sdk" / "LICENSE").read_text()

    environment = tmp_path / "environment"
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(environment / "bin" / "python")
    subprocess.run(
        [uv, "venv", "--quiet", "--offline", "--python", sys.executable, str(environment)], check=True
    )
    subprocess.run([uv, "pip", "install", "--quiet", "--offline", "--python", python, str(wheel)], check=True)
    with Gateway(tools()) as gateway:
        done = subprocess.run(
            [python, "-I", "-c", _AGENT],
            env={"AEGIS_URL": gateway.url, "AEGIS_API_KEY": gateway.key()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (0, "ceiling\naegis-sdk\n") == (done.returncode, done.stdout), done.stderr
        assert [20_000_000, None] == [call["cost_nano_usd"] for call in gateway.calls()]
