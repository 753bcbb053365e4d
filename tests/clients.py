"""Clients in environments of their own: packages that can't be installed beside each other, each run as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_of(environment: str) -> Path:
    """The interpreter of one of `tests/environments/`.

    Raises:
        FileNotFoundError: it was not set up.
    """
    python = Path(sys.prefix) / "environments" / environment / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"environment `{environment}` is not set up; run the tests by `make test`")
    return python


def run_client(
    environment: str, script: Path, *arguments: str, env: dict[str, str], timeout_s: float = 60
) -> str:
    """Run a script under an environment's interpreter, with `env` and nothing else; what it printed.

    Raises:
        AssertionError: it failed; with what it wrote.
    """
    done = subprocess.run(
        [python_of(environment), script, *arguments],
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{script.name} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout
