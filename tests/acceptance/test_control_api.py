"""The control API over a real gateway: what it tells and takes, in whose name, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.cli.main import build
from tests.asked import arguments, ask_people
from tests.browsers import Staff
from tests.gateways import PERMIT_ALL, Answer, Gateway, ask, configuration

pytestmark = pytest.mark.xdist_group("control-api")

FILES = configuration(
    "http://127.0.0.1:9",
    policies=PERMIT_ALL,
    budgets={
        "day": "limit: 20.00, period: daily, thresholds: [{at: 50%, do: [notify]}]",
        "own": "limit: 5.00, period: monthly",
    },
)
OTHER_TENANT = FILES["aegis.yaml"].partition("  acme:\n")[2]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway with two tenants, acme and zeta."""
    files = {**FILES, "aegis.yaml": f"{FILES['aegis.yaml']}  zeta:\n{OTHER_TENANT}"}
    with Gateway(files) as gateway:
        gateway.key()
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Ben approves in acme, zoe in zeta; vi looks on in acme; ana is an admin everywhere."""
    staff = Staff(gateway)
    staff.add("ben", Grant(role="approver", tenant="acme"))
    staff.add("zoe", Grant(role="approver", tenant="zeta"))
    staff.add("vi", Grant(role="viewer", tenant="acme"))
    return staff


class Api:
    """The API, as somebody calls it."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self._gateway = gateway
        self._token = token

    def get(self, path: str) -> Answer:
        """Read something."""
        return ask(self._gateway, "GET", f"/api/v1{path}", key=self._token)

    def answer(self, approval: str, **body: str) -> Answer:
        """Answer a request."""
        return ask(self._gateway, "POST", f"/api/v1/approvals/{approval}/answer", body, key=self._token)


@pytest.fixture(scope="module")
def ben(gateway: Gateway, staff: Staff) -> Api:
    """Ben's programs."""
    return Api(gateway, staff.tokens["ben"])


def is_problem(answer: Answer, status: int, words: str) -> bool:
    """Whether a refusal has the form of a problem, and says something."""
    told = answer.json
    assert "application/problem+json" == answer.headers["content-type"]
    assert ("about:blank", status, status) == (told["type"], told["status"], answer.status)
    assert words in told["detail"], told
    return True


def test_a_request_is_listed_shown_and_answered(gateway: Gateway, ben: Api) -> None:
    """With all that a page shows of it; the same answer again changes nothing."""
    asked = ask_people(gateway, facts=arguments("48200.00"))
    listed = ben.get("/approvals").json["approvals"]
    assert [(asked.id, "waiting", 250_000_000)] == [
        (each["id"], each["state"], each["maximum_nano_usd"]) for each in listed
    ]
    shown = ben.get(f"/approvals/{asked.id}").json
    assert ("48200.00", True, None) == (
        shown["facts"]["arguments"]["amount"],
        shown["may_answer"],
        shown["may_not_because"],
    )
    assert ["bot has not called api.pay in the last 7 days."] == shown["stands_out"]
    for _ in range(2):
        told = ben.answer(asked.id, answer="grant", reason="as agreed")
        assert (200, "granted", ["ben"], ["api"]) == (
            told.status,
            told.json["state"],
            [each["by"] for each in told.json["answers"]],
            [each["via"] for each in told.json["answers"]],
        )
    assert [] == ben.get("/approvals").json["approvals"]
    assert [asked.id] == [each["id"] for each in ben.get("/approvals?state=decided").json["approvals"]]


def test_answers_that_do_not_count(gateway: Gateway, staff: Staff, ben: Api) -> None:
    """Each says why, as a problem, and nothing is done."""
    asked = ask_people(gateway)
    assert is_problem(
        Api(gateway, staff.tokens["vi"]).answer(asked.id, answer="grant"), 409, "not among those"
    )
    assert is_problem(Api(gateway, staff.tokens["zoe"]).answer(asked.id, answer="grant"), 404, "no approval")
    assert is_problem(ben.answer(asked.id, answer="refuse", reason=" "), 422, "needs a reason")
    assert is_problem(ben.answer(asked.id, answer="perhaps"), 422, "`answer`")
    assert is_problem(ben.answer(asked.id, answer="grant", also="x"), 422, "`also`")
    assert is_problem(ben.answer(asked.id, answer="grant", reason="x" * 1_001), 422, "`reason`")
    assert is_problem(ben.answer("apr_0", answer="grant"), 404, "no approval `apr_0`")
    rows = gateway.query("select state from approval where approval = ?", asked.id)
    assert ["waiting"] == [row["state"] for row in rows]


def test_who_is_let_in(gateway: Gateway, staff: Staff) -> None:
    """People's valid tokens: no agent's key, no cookie, nobody who is suspended."""
    mistyped = staff.tokens["ben"][:-1] + ("y" if staff.tokens["ben"].endswith("x") else "x")
    for key in (None, "no", gateway.key(), mistyped):
        refused = ask(gateway, "GET", "/api/v1/approvals", key=key)
        assert is_problem(refused, 401, "token")
        assert 'Bearer realm="aegis"' == refused.headers["www-authenticate"]
    with staff.people() as people:
        people.suspend("vi")
    assert 401 == Api(gateway, staff.tokens["vi"]).get("/approvals").status
    with staff.people() as people:
        people.resume("vi")
    assert 200 == Api(gateway, staff.tokens["vi"]).get("/approvals").status


def test_budgets_are_what_the_command_tells(gateway: Gateway, staff: Staff, ben: Api) -> None:
    """The same records; a tenant is named where there is a choice, and one that may not be read isn't there."""
    arguments_ = ["budget", "--json", "--tenant", "acme", "--store", gateway.settings.store]
    told = CliRunner().invoke(build(), arguments_, catch_exceptions=False)
    assert json.loads(told.stdout)["budgets"] == ben.get("/budgets").json["budgets"]
    one = ben.get("/budgets?tenant=acme&budget=day").json
    assert ("acme", ["day"], 20_000_000_000) == (
        one["tenant"],
        [each["budget"] for each in one["budgets"]],
        one["budgets"][0]["left_amount"],
    )
    assert one["budgets"] == ben.get("/budgets/day").json["budgets"]
    (half,) = ben.get("/budgets/day").json["budgets"][0]["thresholds"]
    assert ("50", "not_passed", 10_000_000_000) == (half["threshold"], half["state"], half["left_amount"])
    assert is_problem(ben.get("/budgets/x"), 404, "no budget `x`")
    assert is_problem(ben.get("/budgets?tenant=zeta"), 404, "no tenant `zeta`")
    assert is_problem(ben.get("/approvals?tenant=zeta"), 404, "no tenant `zeta`")
    assert is_problem(ben.get("/budgets?budget=x"), 404, "no budget `x`")
    ana = Api(gateway, staff.tokens["ana"])
    assert is_problem(ana.get("/budgets"), 404, "acme, zeta")
    assert "zeta" == ana.get("/budgets?tenant=zeta").json["tenant"]


def test_what_is_nowhere_is_a_problem_too(ben: Api, gateway: Gateway) -> None:
    """Other paths, other methods, limits out of range."""
    assert is_problem(ben.get("/nothing"), 404, "/api/docs")
    assert is_problem(ask(gateway, "DELETE", "/api/v1/approvals", key=None), 405, "DELETE")
    assert is_problem(ben.get("/approvals?limit=0"), 422, "`limit`")


def test_the_manual_is_the_description(gateway: Gateway) -> None:
    """Each operation of the description stands in it; neither names another host."""
    document = ask(gateway, "GET", "/api/openapi.json", key=None).json
    page = ask(gateway, "GET", "/api/docs", key=None).body.decode()
    assert {"/api/v1/approvals", "/api/v1/approvals/{approval}", "/api/v1/approvals/{approval}/answer"} < set(
        document["paths"]
    )
    for path, found in document["paths"].items():
        for method, operation in found.items():
            assert f"{method.upper()} {path}" in page
            assert "401" in operation["responses"]
    assert [] == [word for word in page.split() if "://" in word and gateway.url not in word]
