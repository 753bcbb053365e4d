"""Digests in every channel's form: figures as people read them, and nothing in them is more than text."""

from __future__ import annotations

import msgspec
import pytest

from aegis_gateway.adapters.channels.mail import mail
from aegis_gateway.adapters.channels.slack_blocks import blocks_of
from aegis_gateway.adapters.channels.teams import card
from aegis_gateway.adapters.channels.webhook import payload
from aegis_gateway.domain.channel import Target
from aegis_gateway.domain.delivery import Delivery, delivery_of
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.digest_content import (
    BudgetFigures,
    Driver,
    Figures,
    Refusals,
    Words,
    digest_message,
)
from aegis_gateway.domain.message import Message
from aegis_gateway.domain.window import Window

DAY_NS = 86_400_000_000_000
HOSTILE = "<script>alert(1)</script> [pay](https://evil.example) <!channel>"
DIGEST = Digest(id="day", every="daily", to=("ops",))


def window(number: int) -> Window:
    """A day."""
    return Window(label=f"d{number}", starts_ns=number * DAY_NS, ends_ns=(number + 1) * DAY_NS)


FIGURES = Figures(
    tenant="acme",
    tenant_name="Acme & Sons",
    zone="UTC",
    of="Acme & Sons",
    every="daily",
    window=window(20_000),
    before=window(19_999),
    nano_usd=1_500_000_001,
    before_nano_usd=1_000_000_000,
    calls=3,
    open_calls=1,
    open_nano_usd=250_000_000,
    agents=(Driver(name=HOSTILE, calls=3, nano_usd=1_500_000_001, before_nano_usd=1_000_000_000),),
    budgets=(
        BudgetFigures(
            budget="payouts",
            scope="",
            window="2024-10",
            quantity="paid_out",
            scale=100,
            is_money=False,
            limit=1_000_000,
            spent=25_050,
            reserved=0,
            expected=90_000,
            low=80_000,
            high=100_000,
        ),
    ),
    refused=(Refusals(rule=HOSTILE, code="policy_denied", effect="deny", calls=4_200),),
    words=Words(asked=3, answered=2, waiting=1, median_ns=185_000_000_000),
    saved_nano_usd=40,
    missing=(window(19_999),),
)


def made() -> Message:
    """The digest's message."""
    return digest_message(DIGEST, FIGURES, "https://aegis.example")


def delivery() -> Delivery:
    """It, on its way by mail."""
    target = Target(channel="mail", recipient="fin@acme.example")
    return delivery_of(
        tenant="acme",
        sequence=1,
        kind="digest",
        subject="digest:day",
        target=target,
        message=made(),
        made_ns=1,
    )


def test_what_people_read() -> None:
    """Exact amounts, the change, the forecast with its band, the median; what is missing, and savings apart."""
    message = made()
    facts = dict(message.facts)
    assert "Acme & Sons, 2024-10-04: $1.500000001 spent" == message.title
    assert "Nobody was there to make the digest of 2024-10-03" in message.text
    assert "$1.500000001 in 3 calls; $1.00 in 2024-10-03 (+50 %)" == facts["spent"]
    assert "1 call, at most $0.25" == facts["not settled yet"]
    assert (
        "250.5 paid_out of 10,000 paid_out in 2024-10 (2 %); forecast 900 paid_out (800 paid_out to 1,000 paid_out)"
        == facts["budget payouts"]
    )
    assert "3 asked, 2 answered, 1 waiting now; answered within 3 min in the middle" == facts["approvals"]
    assert facts["saved"].startswith("$0.00000004 less")
    assert "+$0.500000001" in facts["changed most"]


def test_a_rolling_window_is_told_by_its_length() -> None:
    """Not by the name that the ledger has for it."""
    (budget,) = FIGURES.budgets
    rolling = msgspec.structs.replace(budget, window="rolling-86400s", expected=None)
    figures = msgspec.structs.replace(FIGURES, budgets=(rolling,))
    facts = dict(digest_message(DIGEST, figures, "https://aegis.example").facts)
    assert "250.5 paid_out of 10,000 paid_out in the last 1d (2 %)" == facts["budget payouts"]


@pytest.mark.parametrize(
    ("spent", "told"), [(996, "+0 %"), (994, "-1 %"), (1_006, "+1 %"), (1_000, "+0 %"), (0, "-100 %")]
)
def test_a_change_is_rounded_to_the_nearest(spent: int, told: str) -> None:
    """Down as well as up."""
    figures = msgspec.structs.replace(FIGURES, nano_usd=spent, before_nano_usd=1_000)
    facts = dict(digest_message(DIGEST, figures, "https://aegis.example").facts)
    assert facts["spent"].endswith(f"({told})")


def test_it_is_text_everywhere() -> None:
    """In Slack's blocks, a card, both parts of a mail; programs get numbers."""
    blocks = blocks_of(made(), "dlv_1", "ops")
    assert len(blocks) <= 50
    assert "<script>" not in str(blocks)
    assert "<!channel>" not in str(blocks)
    assert "[pay](" not in str(card(made(), "dlv_1"))
    written = mail(delivery(), "aegis@acme.example")
    html = written.get_body(("html",))
    text = written.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "<script>" not in html.get_content()
    assert "$1.500000001" in text.get_content()
    details = payload(delivery())["data"]
    assert isinstance(details, dict)
    assert 1_500_000_001 == details["details"]["nano_usd"]
