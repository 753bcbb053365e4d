"""Pages in a real browser, for tests: as somebody at a desk or with a phone meets them."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, ViewportSize

from aegis_gateway.demo.stage import Stage
from tests.gateways import Gateway

PHONE: ViewportSize = {"width": 360, "height": 640}
DESK: ViewportSize = {"width": 1280, "height": 800}
SOON_MS = 10_000


class Watched:
    """A page, and all that is not as it should be about it: errors, and requests to anybody else."""

    def __init__(self, context: BrowserContext, gateway: Gateway | Stage) -> None:
        self.gateway = gateway
        self.wrong: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SOON_MS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._see)

    def go(self, path: str) -> Page:
        """Open a page."""
        self.page.goto(self.gateway.url + path)
        return self.page

    def sign_in(self, token: str) -> None:
        """Sign in, on the form that is shown."""
        self.page.fill("#token", token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_selector("header .who")

    def complaints(self) -> list[str]:
        """What axe has to say about the page as it is."""
        found = self.page.evaluate("async () => (await axe.run()).violations")
        return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _see(self, request: Request) -> None:
        if not request.url.startswith(self.gateway.url + "/"):
            self.wrong.append(f"asked {request.url}")


def overflow(page: Page) -> int:
    """How many pixels a page is wider than what it is shown on."""
    found = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return int(found)


def pictures() -> Path:
    """Where pictures of pages are left, for whoever wants to look at them."""
    directory = Path(os.environ.get("AEGIS_SCREENSHOTS") or Path(__file__).parents[1] / ".screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
