"""A real browser for tests: the one that `make test` unpacks, or one that is installed.

`AEGIS_TEST_CHROMIUM` names another. Where there is none the tests say so and are skipped.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

_ROOT = Path(__file__).parent.parent
_UNPACKED = _ROOT / ".venv" / "browser"
AXE = _UNPACKED / "node_modules" / "axe-core" / "axe.min.js"
CARDS = _UNPACKED / "node_modules" / "adaptivecards" / "dist" / "adaptivecards.min.js"


def _executable() -> str | None:
    named = os.environ.get("AEGIS_TEST_CHROMIUM")
    if named:
        return named
    unpacked = _UNPACKED / "chromium" / "chromium"
    if unpacked.exists() and sys.platform == "linux" and platform.machine() == "x86_64":
        return str(unpacked)
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _fonts(executable: str) -> dict[str, str]:
    """The unpacked browser's own fonts; another has the machine's."""
    config = _UNPACKED / "chromium" / "fonts.conf"
    return {"FONTCONFIG_FILE": str(config)} if executable.startswith(str(_UNPACKED)) else {}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, without a window."""
    executable = _executable()
    if executable is None or not AXE.exists():
        pytest.skip("there is no Chromium here: `make test` sets one up, or name one in AEGIS_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            # Who is root, as in a container, has no sandbox; the pages are our own.
            args=["--no-sandbox", "--headless=shell", "--disable-gpu", "--disable-dev-shm-usage"],
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(_UNPACKED / "chromium" / "lib"),
                **_fonts(executable),
            },
        )
        yield browser
        browser.close()
