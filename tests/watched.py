"""Pages in a real browser, for tests: as somebody at a desk or with a phone meets them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, ViewportSize

from aegis_gateway.demo.stage import Stage
from tests.chromium import AXE
from tests.gateways import Gateway

PHONE: ViewportSize = {"width": 360, "height": 640}
DESK: ViewportSize = {"width": 1280, "height": 800}
SOON_MS = 10_000
STILL = "Promise.allSettled(document.getAnimations().map(each => each.finished))"
"""Colours that fade into others are measured when they have; a fading that was broken off is over too."""


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

    def show(self, path: str) -> Page:
        """Open a page and wait until it stays as it is: its charts are drawn, and it follows calls no more."""
        page = self.go(path)
        drawn(page)
        if page.locator("#live:not([hidden])").count():
            page.get_by_role("button", name="Pause").click()
        return page

    @contextmanager
    def at_night_on_a_phone(self) -> Iterator[None]:
        """The page as it is there, all of it unfolded; what is opened next is at a desk by daylight again."""
        page = self.page
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        drawn(page)
        page.evaluate(STILL)
        yield
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="light")

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


@contextmanager
def judged(browser: Browser, gateway: Gateway | Stage) -> Iterator[Watched]:
    """A page at a desk by daylight with axe in it, which the page's own policy would keep out."""
    with browser.new_context(viewport=DESK, color_scheme="light") as context:
        context.add_init_script(path=AXE)
        yield Watched(context, gateway)


def hindrances(browser: Browser, gateway: Gateway, token: str, paths: Iterable[str]) -> list[str]:
    """What keeps anybody out of pages, at a desk by daylight or on a phone at night, and what else is wrong.

    For what a page may come to look like (empty, refused, with long names): each as it usually is, `test_every_page`
    looks at.
    """
    found: list[str] = []
    with judged(browser, gateway) as watched:
        watched.go("/sign-in")
        watched.sign_in(token)
        for path in paths:
            page = watched.show(path)
            found += [f"{path}: {each}" for each in watched.complaints()]
            with watched.at_night_on_a_phone():
                found += [f"{path}: {each}" for each in watched.complaints()]
                found += [f"{path}: {overflow(page)} px wider than a phone"] if overflow(page) else []
        return [*found, *watched.wrong]


def drawn(page: Page) -> None:
    """Wait until a page's charts are drawn."""
    for number in range(page.locator("[data-chart]").count()):
        page.locator("[data-chart] .canvas").nth(number).locator("canvas").first.wait_for()


def overflow(page: Page) -> int:
    """How many pixels a page is wider than what it is shown on."""
    found = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return int(found)


def pictures() -> Path:
    """Where pictures of pages are left, for whoever wants to look at them."""
    directory = Path(os.environ.get("AEGIS_SCREENSHOTS") or Path(__file__).parents[1] / ".screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
