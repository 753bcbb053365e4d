"""Settings and saved views on a real gateway: no secret is told, and nobody changes what is another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import TENANT, Answer, Gateway, configuration

pytestmark = pytest.mark.xdist_group("call-pages")

SECRET = "hook-secret-that-nobody-may-see"  # stands in an address, and is looked for on the page
CHANNELS = f"""\
    currencies: {{EUR: {{2026-01-01: 1.10}}}}
    channels:
      ops: {{kind: webhook, url: "http://127.0.0.1:9/{SECRET}", secret: env:HOOK, network: private}}
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway with two tenants, a channel, and telemetry to nobody."""
    files = configuration("http://127.0.0.1:9", timezone="Europe/Vienna")
    other = files["aegis.yaml"].partition("  acme:\n")[2]
    document = f"{files['aegis.yaml']}{CHANNELS}  zeta:\n{other}"
    with Gateway({**files, "aegis.yaml": document}, environment={"HOOK": "whsec_" + "a" * 32}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Vi looks on in acme, cy in both tenants, zoe is nobody anywhere."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    staff.add("cy", Grant(role="finops", tenant=TENANT), Grant(role="viewer", tenant="zeta"))
    staff.add("zoe")
    return staff


def signed_in(gateway: Gateway, staff: Staff, who: str) -> Visitor:
    """Somebody at a browser of their own."""
    visitor = Visitor(gateway)
    assert 303 == visitor.sign_in(staff.tokens[who]).status
    return visitor


def save(who: Visitor, name: str, address: str, **more: str) -> Answer:
    """Save a view, with the form of a page."""
    return who.submit("/calls", "/views", name=name, address=address, **more)


def menu(page: str) -> str:
    """The menu of saved views on a page."""
    return page.partition('id="views-menu"')[2].partition("</header>")[0]


def test_a_view_from_page_to_page(gateway: Gateway, staff: Staff) -> None:
    """What a page says to save is its whole state; saved, it is in the menu of each page until it is deleted."""
    vi = signed_in(gateway, staff, "vi")
    page = text_of(vi.get("/?range=30d&by=model&agent=a%26b"))
    here = re.search(r'name="address" value="([^"]+)"', page)
    assert here is not None
    assert "/?range=30d&by=model&agent=a%26b" == here[1]
    answer = save(vi, "Models <b>30 days</b>", here[1])
    assert (303, here[1]) == (answer.status, answer.headers["location"])
    shown = vi.get("/budgets").body.decode()
    assert 'href="/?range=30d&amp;by=model&amp;agent=a%26b">Models &lt;b&gt;30 days&lt;/b&gt;' in menu(shown)
    settings = text_of(vi.get("/settings"))
    view = re.search(r'action="/views/(view_[0-9a-f]+)"', settings)
    assert view is not None
    path = f"/views/{view[1]}"
    assert 303 == vi.submit("/settings", path, act="rename", name="Models").status
    assert ">Models</a>" in menu(text_of(vi.get("/calls")))
    assert 400 == vi.submit("/settings", path, act="rename", name=" ").status
    assert 400 == vi.submit("/settings", path, act="explode").status
    assert 303 == vi.submit("/settings", path, act="delete").status
    assert ">Models</a>" not in menu(text_of(vi.get("/calls")))
    assert 403 == vi.submit("/settings", path, act="delete").status


def test_sharing_a_view(gateway: Gateway, staff: Staff) -> None:
    """Others of the tenant see it, whichever is their first; nobody else does, and nobody changes another's."""
    vi, cy, zoe = (signed_in(gateway, staff, who) for who in ("vi", "cy", "zoe"))
    assert (
        "/calls?effect=deny&tenant=acme"
        == save(vi, "Refused", "/calls?effect=deny", shared_with="acme").headers["location"]
    )
    assert 303 == save(cy, "Zeta's", "/budgets?tenant=zeta", shared_with="zeta").status
    page = text_of(cy.get("/"))
    assert "by vi, acme" in menu(page)
    assert 'href="/calls?effect=deny&tenant=acme"' in menu(page)
    assert "Zeta's" not in menu(text_of(vi.get("/")))
    assert "Refused" not in menu(text_of(zoe.get("/settings")))
    view = re.search(r'action="/views/(view_[0-9a-f]+)"', text_of(vi.get("/settings")))
    assert view is not None
    for act in ({"act": "delete"}, {"act": "rename", "name": "Mine"}, {"act": "share", "shared_with": ""}):
        assert 403 == cy.submit("/settings", f"/views/{view[1]}", **act).status
    assert 403 == save(cy, "Both", "/budgets/zeta/plenty", shared_with="acme").status
    assert 403 == save(vi, "Not mine", "/", shared_with="zeta").status
    assert 303 == vi.submit("/settings", f"/views/{view[1]}", act="share", shared_with="").status
    assert "by vi, acme" not in menu(text_of(cy.get("/")))


def test_only_pages_and_only_by_their_forms(gateway: Gateway, staff: Staff) -> None:
    """Other hosts, files, forms' addresses and nothing at all are refused, and so is a form of another page."""
    vi = signed_in(gateway, staff, "vi")
    for address in (
        "//elsewhere.example/",
        "https://elsewhere.example/",
        "javascript:alert(1)",
        "/\\elsewhere.example",
        "/calls/table.csv",
        "/sign-out",
        "/settings",
        "/static/aegis.js",
        "/v1/models",
        "",
        f"/calls?agent={'x' * 2_000}",
    ):
        assert 400 == save(vi, "Name", address).status, address
    assert 400 == save(vi, "", "/calls").status
    assert 400 == save(vi, "x" * 61, "/calls").status
    assert 403 == vi.post("/views", {"name": "Forged", "address": "/calls", "csrf": "0" * 64}).status
    assert "Forged" not in text_of(vi.get("/settings"))
    assert 303 == Visitor(gateway).get("/settings").status
    assert 'name="address"' not in text_of(vi.get("/budgets/acme/no-such-budget"))


def test_what_is_in_force(gateway: Gateway, staff: Staff) -> None:
    """Roles, zone, currencies and channels of what the reader may see, with where each is changed; no secret."""
    vi, cy, zoe = (signed_in(gateway, staff, who) for who in ("vi", "cy", "zoe"))
    page = text_of(vi.get("/settings"))
    for words in (
        "Europe/Vienna",
        "US dollars; limits also in EUR",
        "webhook, 127.0.0.1",
        "aegis notifications test ops",
        "see budgets, calls and the record",
        "needs one person’s word",
        f"{gateway.url}/metrics",
        "AEGIS_URL",
        "version 1",
        "You are not away",
    ):
        assert words in page, words
    assert "put a configuration in force, or propose it" not in page
    assert "zeta" not in page
    everything = page + text_of(cy.get("/settings?tenant=zeta"))
    for secret in (SECRET, staff.tokens["vi"], "pepper-of-the-tests", str(gateway.data)):
        assert secret not in everything
    assert 404 == vi.get("/settings?tenant=zeta").status
    assert "You have no role in any tenant" in text_of(zoe.get("/settings"))
    assert "Europe/Vienna" not in text_of(zoe.get("/settings"))


def test_signing_out_elsewhere(gateway: Gateway, staff: Staff) -> None:
    """One's other browsers are signed out, then this one too; nobody else is."""
    here, there, cy = (signed_in(gateway, staff, who) for who in ("vi", "vi", "cy"))
    page = text_of(here.get("/settings"))
    assert 1 == page.count("this browser")
    assert staff.tokens["vi"][-4:] in page
    answer = here.submit("/settings", "/settings/sessions", which="others")
    assert answer.headers["location"].startswith("/settings?ended=")
    assert 303 == there.get("/settings").status
    assert 200 == here.get("/settings").status
    csrf = csrf_on(here.get("/settings"))
    assert 303 == here.post("/settings/sessions", {"csrf": csrf, "which": "all"}).status
    assert "/sign-in?next=%2Fsettings" == here.get("/settings").headers["location"]
    assert 200 == cy.get("/settings").status


def test_many_pages_at_once(gateway: Gateway, staff: Staff) -> None:
    """More than there are threads for: each is answered, as none waits for what another holds."""
    cy = signed_in(gateway, staff, "cy")
    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(cy.get, ["/", "/budgets", "/settings", "/calls"] * 12))
    assert {200} == {each.status for each in answers}
