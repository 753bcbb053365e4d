"""One browser for all tests of pages, which run on one worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.chromium import chromium


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser. It has an event loop, so it ends before tests of another kind begin."""
    with chromium() as browser:
        yield browser
