"""Cards for Teams, as the official renderer of Adaptive Cards takes them, and where their button leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from aegis_gateway.adapters.channels.teams import envelope
from aegis_gateway.domain.channel import Target
from aegis_gateway.domain.delivery import delivery_of
from aegis_gateway.domain.message import message_of
from aegis_gateway.domain.notice import NOTICE_KINDS, Notice, NoticeKind
from aegis_gateway.domain.people import Grant
from tests.asked import arguments, ask_people
from tests.browsers import Staff
from tests.channels import Receiver, Said, receiver
from tests.chromium import CARDS
from tests.gateways import TENANT, Gateway, configuration, until
from tests.watched import PHONE, SOON_MS, Watched

pytestmark = pytest.mark.xdist_group("browser")

SHOW = """card => {
  const context = new AdaptiveCards.SerializationContext(new AdaptiveCards.Version(1, 4));
  const shown = new AdaptiveCards.AdaptiveCard();
  shown.parse(card, context);
  const wrong = shown.validateProperties().validationEvents.map(each => each.message);
  for (let place = 0; place < context.eventCount; place++) wrong.push(context.getEventAt(place).message);
  window.opened = [];
  shown.onExecuteAction = action => window.opened.push(action.url);
  document.body.replaceChildren(shown.render());
  return wrong;
}"""

BODY: dict[str, object] = {
    "approval": "apr_1",
    "about": "api.pay",
    "state": "refused",
    "requester": "bot",
    "maximum_nano_usd": 250_000_000,
    "budget": "loan-day",
    "threshold": "80%",
    "agent": "bot",
    "used": {"spent_nano_usd": "16000000000", "limit_nano_usd": "20000000000"},
    "deadline_ns": 1_795_435_200_000_000_000,
    "answers": [{"by": "ana", "answer": "refuse", "reason": "[not](https://evil.example) **this**"}],
    "facts": {"arguments": {"amount": "48200.00", "note": "![x](https://evil.example/x.png) `code`\n# head"}},
}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with the renderer, and nothing else."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(SOON_MS)
        page.add_script_tag(path=CARDS)
        yield page


def card_of(kind: NoticeKind, body: dict[str, object]) -> dict[str, Any]:
    """What Teams is sent about something."""
    notice = Notice(tenant=TENANT, sequence=7, kind=kind, subject="budget:loan-day", at_ns=1, body=body)
    message = message_of(notice, "Acme *Bank*", "https://aegis.example")
    target = Target(channel="fin")
    delivery = delivery_of(
        tenant=TENANT,
        sequence=7,
        kind=kind,
        subject=notice.subject,
        target=target,
        message=message,
        made_ns=1,
    )
    (attachment,) = envelope(delivery)["attachments"]
    card: dict[str, Any] = attachment["content"]
    return card


@pytest.mark.parametrize("kind", NOTICE_KINDS)
def test_each_kind_of_message_is_a_card(page: Page, kind: NoticeKind) -> None:
    """It is parsed and shown without any complaint, with all its facts and nothing else, or with none."""
    for body in ({}, BODY):
        card = card_of(kind, body)
        assert [] == page.evaluate(SHOW, card)
        shown = page.inner_text("body").replace("\\", "")
        facts = next(each["facts"] for each in card["body"] if each["type"] == "FactSet")
        for words in (card["body"][0]["text"], *(fact["value"] for fact in facts)):
            assert " ".join(words.replace("\\", "").split()) in " ".join(shown.split())
        assert len(card["actions"]) == page.locator("button").count()
        assert 0 == page.locator("img, a").count()


def test_what_is_no_card_is_complained_about(page: Page) -> None:
    """The renderer does say something about what it can't show."""
    card = card_of("incident", BODY)
    card["body"].append({"type": "Nothing"})
    card["actions"].append({"type": "Action.OpenUrl", "title": "x"})
    assert 2 <= len(page.evaluate(SHOW, card))


@pytest.fixture
def workflow() -> Iterator[Receiver]:
    """A Teams workflow that takes cards."""
    with receiver(lambda _got: Said(status=202)) as server:
        yield server


def test_the_button_of_a_card_leads_to_a_yes(browser: Browser, page: Page, workflow: Receiver) -> None:
    """Who presses it and isn't signed in sees nothing of the request; once they are, one more press grants it."""
    settings = (
        "    channels: {fin: {kind: teams, webhook: env:TEAMS, network: private}}\n"
        "    notify: [{what: approval_requested, to: fin}]\n"
    )
    files = configuration("http://127.0.0.1:9")
    files = {**files, "aegis.yaml": files["aegis.yaml"] + settings}
    with Gateway(files, environment={"TEAMS": f"{workflow.url}/workflows/x?sig=secret"}) as gateway:
        staff = Staff(gateway)
        staff.add("ben", Grant(role="approver", tenant=TENANT))
        asked = ask_people(gateway, facts=arguments("48200.00"))
        until(lambda: bool(workflow.got), "no card came")
        (got,) = workflow.got
        assert [] == page.evaluate(SHOW, got.json["attachments"][0]["content"])
        page.get_by_role("link", name="Open the request").click()
        (address,) = page.evaluate("window.opened")
        assert address.startswith(f"{gateway.url}/")
        with browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:
            phone = Watched(context, gateway)
            shown = phone.go(address.removeprefix(gateway.url))
            assert "/sign-in" in shown.url
            assert not any(words in shown.content() for words in ("api.pay", "48200", "Contoso"))
            phone.sign_in(staff.tokens["ben"])
            assert f"{gateway.url}/approvals/{asked.id}" == shown.url
            shown.get_by_role("button", name="Approve").tap()
            shown.wait_for_selector("text=Approved.")
            assert [] == phone.wrong
        rows = gateway.query("select state from approval where approval = ?", asked.id)
        assert ["granted"] == [row["state"] for row in rows]
