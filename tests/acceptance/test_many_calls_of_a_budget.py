"""A budget of whose window there are more calls than are read one by one: page, files and command say the same."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest

from aegis_gateway.adapters.budget_agents import CALLS_READ_MAX
from aegis_gateway.domain.people import Grant
from tests.browsers import Staff, Visitor
from tests.gateways import TENANT, Gateway, ask, configuration
from tests.spending import aegis

pytestmark = pytest.mark.xdist_group("call-pages")

LOCAL = """\
      desk:
        kind: local
        operations:
          rank: {price: {per_call: 0.10}}
"""
BUDGETS = {
    "home": "limit: 100000.00, period: yearly",
    "few": "limit: 100000.00, period: yearly, match: {agent: other}",
    "served": "limit: 100000.00, period: yearly, match: {tenant: acme}, per: [customer]",
}
AT_ONCE = 100
OF_BOT = CALLS_READ_MAX


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway on which `bot` has made many calls, and `other` some later ones; the first of each is settled."""
    files = configuration("http://127.0.0.1:9", agents=("bot", "other"), budgets=BUDGETS)
    text = files["aegis.yaml"].replace(
        "    models:\n", f"{LOCAL}    customers: {{c: {{name: C}}}}\n    models:\n"
    )
    with Gateway({**files, "aegis.yaml": text}) as gateway:
        for agent, calls in (("bot", OF_BOT), ("other", AT_ONCE)):
            key, first = gateway.key(agent), None
            for _ in range(calls // AT_ONCE):
                asked = {"decisions": [{"tool": "desk.rank"}] * AT_ONCE}
                decided = ask(gateway, "POST", "/v1/decisions/batch", asked, key=key).json["decisions"]
                assert ["allow"] * AT_ONCE == [each["effect"] for each in decided]
                first = first or decided[0]
            assert first is not None
            settled = {"token": first["token"], "result": {}}
            assert (
                200
                == ask(gateway, "POST", f"/v1/decisions/{first['id']}/settlement", settled, key=key).status
            )
        yield gateway


@pytest.fixture(scope="module")
def viewer(gateway: Gateway) -> Visitor:
    """Vi looks on."""
    staff = Staff(gateway)
    staff.add("vi", Grant(role="viewer", tenant=TENANT))
    visitor = Visitor(gateway)
    assert 303 == visitor.sign_in(staff.tokens["vi"]).status
    return visitor


def test_its_agents_are_told_by_sums(gateway: Gateway, viewer: Visitor) -> None:
    """To the call and the nano-dollar, and it is said that it was sums."""
    for budget, expected in (
        ("home", [("bot", OF_BOT, "0.1"), ("other", AT_ONCE, "0.1")]),
        ("few", [("other", AT_ONCE, "0.1")]),
    ):
        page = viewer.get(f"/budgets/{TENANT}/{budget}").body.decode()
        assert "Added up by the hour: the calls that count on it by today&#39;s settings." in page
        assert "is spent of it" not in page, "all that is spent of it is there"
        file = viewer.get(f"/budgets/{TENANT}/{budget}/agents/table.csv").body.decode()
        rows = list(csv.DictReader(io.StringIO(file, newline="")))
        assert expected == [(row["agent"], int(row["calls"]), row["cost_usd"]) for row in rows]
        assert {"sums"} == {row["looked_at"] for row in rows}
        told = json.loads(aegis(gateway, "budget", budget, "--json"))
        assert [each[:2] for each in expected] == [(each["agent"], each["calls"]) for each in told["agents"]]
        assert ("sums", 0) == (told["agents_of"]["looked_at"], told["agents_of"]["rest_nano_usd"])
        assert "Added up by the hour" in aegis(gateway, "budget", budget)


def test_what_no_sum_tells(gateway: Gateway, viewer: Visitor) -> None:
    """Of a budget that is split by customer it is the newest calls, none of which had one."""
    page = viewer.get(f"/budgets/{TENANT}/served").body.decode()
    assert "No call that was looked at counted against it in this window." in page
    assert f"were looked at, up to {CALLS_READ_MAX:,} of the tenant&#39;s" in page
    told = json.loads(aegis(gateway, "budget", "served", "--json"))
    assert ([], "newest_calls") == (told["agents"], told["agents_of"]["looked_at"])
