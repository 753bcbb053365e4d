"""The browser of the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.chromium import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser. It has an event loop in this thread, so it has to end before tests of another kind begin."""
    with chromium() as browser:
        yield browser
