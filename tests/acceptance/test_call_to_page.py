"""A real call that wants a person's word, from the agent to the page and back."""

from __future__ import annotations

import pytest

from aegis_gateway.demo.upstream.process import UpstreamProcess
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.gateways import PERMIT_ALL, Answer, Gateway, ask, configuration, happening

pytestmark = pytest.mark.xdist_group("inbox")

ASK = """
@id("four-eyes")
@effect("require_approval")
@reason("payments above $10 need a person")
forbid(principal, action == Action::"api.pay", resource)
when { context.args.amount.greaterThan(decimal("10.0")) };
"""
BUDGETS = {
    "day": "limit: 20.00, period: daily",
    "payouts": "limit: 100000.00, period: monthly, counts: paid_out, match: {tool: api.pay}",
}


def pay(gateway: Gateway, key: str, amount: str) -> Answer:
    """One payment."""
    body = b'{"amount": %s, "currency": "USD", "beneficiary": "x"}' % amount.encode()
    return ask(gateway, "POST", "/connect/api/v1/payments", body, key=key)


def test_from_the_call_to_the_page_and_back() -> None:
    """It waits and is sent nowhere; the page shows it with what is left of its budgets; after a yes it passes once."""
    with UpstreamProcess() as upstream:
        files = configuration(upstream.base_url, policies=PERMIT_ALL + ASK, budgets=BUDGETS)
        with Gateway(files) as gateway:
            key = gateway.key()
            staff = Staff(gateway)
            staff.add("ben", Grant(role="approver", tenant="acme"))
            ben = Visitor(gateway)
            ben.sign_in(staff.tokens["ben"])
            assert 201 == pay(gateway, key, "2.00").status
            with happening(gateway, upstream) as happened:
                assert (403, "approval_required") == ((held := pay(gateway, key, "500.00")).status, held.code)
            assert 0 == happened.arrived
            (row,) = gateway.query("select approval from approval")
            page = f"/approvals/{row['approval']}"
            shown = text_of(ben.get(page))
            for words in ("500", "payments above $10 need a person", "costs at most", "day", "payouts"):
                assert words in shown, words
            answered = ben.post(page, {"csrf": csrf_on(ben.get(page)), "answer": "grant", "reason": "known"})
            assert 303 == answered.status
            with happening(gateway, upstream) as happened:
                assert 201 == pay(gateway, key, "500.00").status
            assert 1 == happened.arrived
            assert "Approved and used" in text_of(ben.get(page))
            assert (403, "approval_required") == ((again := pay(gateway, key, "500.00")).status, again.code)
