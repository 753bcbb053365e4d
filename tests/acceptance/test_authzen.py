"""The AuthZEN door: the levels of the published certification scenario, on its fixture as agents and tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.authzen_fixture import (
    ALICE,
    ARCHIVED,
    BOB,
    READ,
    RECORD_1,
    RECORD_2,
    WRITE,
    decides,
    evaluation,
    files,
    post,
)
from tests.gateways import Gateway, ask

pytestmark = pytest.mark.xdist_group("authzen")

SOFT, HARD = ({"name": "delete", "properties": {"soft": soft}} for soft in (True, False))
ADMIN = {**BOB, "properties": {"role": "admin"}}
NAMED_2 = {"id": "record-2"}
ACTIVE = {**RECORD_1, "properties": {"status": "active"}}
EACH_RECORD = {"evaluations": [{"resource": RECORD_1}, {"resource": RECORD_2}]}
EACH_STATUS = {"evaluations": [{"resource": ACTIVE}, {"resource": ARCHIVED}]}
EACH_SUBJECT = {"evaluations": [{"subject": ALICE}, {"subject": ADMIN}]}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway with the fixture; an enforcement point asks that may ask for all."""
    with Gateway(files()) as gateway:
        yield gateway


def items(gateway: Gateway, body: object) -> list[bool]:
    """What many evaluations come to."""
    answer = post(gateway, "evaluations", body)
    assert 200 == answer.status, answer.body
    assert "decision" not in answer.json
    return [each["decision"] for each in answer.json["evaluations"]]


def results(gateway: Gateway, what: str, body: object) -> list[dict[str, Any]]:
    """What a search finds."""
    answer = post(gateway, f"search/{what}", body)
    assert (200, "application/json") == (answer.status, answer.headers["content-type"]), answer.body
    found: list[dict[str, Any]] = answer.json["results"]
    return found


# -- basic ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (evaluation(ALICE, READ), True),
        (evaluation(ALICE, WRITE), True),
        (evaluation(BOB, READ), True),
        (evaluation(BOB, WRITE), False),
        (evaluation(ALICE, WRITE, ARCHIVED), False),
        (evaluation(ADMIN, WRITE, ARCHIVED), True),
        (evaluation(ALICE, SOFT), True),
        (evaluation(ALICE, HARD), False),
        (evaluation(context={"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}), True),
        (evaluation(context=None), True),
        (evaluation(foo="bar", futureField={"nested": True}), True),
        (
            evaluation(
                {**ALICE, "properties": {"department": "Sales", "role": "manager"}},
                {**READ, "properties": {"method": "GET"}},
                {**RECORD_1, "properties": {"status": "active", "owner": "bob"}},
            ),
            True,
        ),
    ],
)  # fmt: skip
def test_the_fixtures_decisions(gateway: Gateway, body: dict[str, Any], expected: bool) -> None:
    """Each is as the scenario wants it, time and again, and has a context that says why."""
    for _ in range(2):
        answer = post(gateway, "evaluation", body)
        assert (200, "application/json", expected) == (
            answer.status,
            answer.headers["content-type"],
            answer.json["decision"],
        )
        context = answer.json["context"]
        assert context["reason"]
        assert context["codes"]
        assert ("settlement" in context) is expected


@pytest.mark.parametrize("endpoint", ["evaluation", "evaluations"])
@pytest.mark.parametrize(
    "body",
    [
        {"action": READ, "resource": RECORD_1},
        {"subject": ALICE, "resource": RECORD_1},
        {"subject": ALICE, "action": READ},
        evaluation({"id": "alice"}),
        evaluation({"type": "agent"}),
        evaluation(ALICE, {}),
        evaluation(ALICE, READ, {"id": "record-1"}),
        evaluation(ALICE, READ, {"type": "connector"}),
        evaluation("alice"),
        evaluation(ALICE, {"name": 123}),
        evaluation({"type": "agent", "id": ""}),
        evaluation({**ALICE, "properties": []}),
        evaluation(context="x"),
        evaluation(context={"arguments": [1]}),
        evaluation(context={"aegis": {"reserv": False}}),
        evaluation(context={"aegis": {"reserve": "no"}}),
        evaluation(context={"aegis": {"name": ""}}),
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"subject":{"type":"agent","id":"alice","id":"bob"},"action":{"name":"read"},'
        b'"resource":{"type":"connector","id":"record-1"}}',
        evaluation(ALICE, {**READ, "properties": {"a": 1}}, {**RECORD_1, "properties": {"a": 2}}),
        evaluation(ALICE, {"name": "delete"}),
    ],
)  # fmt: skip
def test_what_makes_no_sense(gateway: Gateway, endpoint: str, body: object) -> None:
    """It is 400, with words, and nothing is recorded."""
    before = gateway.count()
    answer = post(gateway, endpoint, body, headers={"x-request-id": "r-1"})
    assert (400, "r-1") == (answer.status, answer.headers["x-request-id"]), answer.body
    assert answer.json["error"]["message"]
    assert before == gateway.count()


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "text/json", "application/json; charset=latin-1", ""]
)
def test_what_is_not_called_json(gateway: Gateway, content_type: str) -> None:
    """The body has to be JSON, and to be called so."""
    answer = post(gateway, "evaluation", evaluation(), headers={"content-type": content_type})
    assert 400 == answer.status


def test_the_requests_id_is_given_back(gateway: Gateway) -> None:
    """Whatever is answered; without one nothing fails."""
    named = {"x-request-id": "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"}
    for what, body in (
        ("evaluation", evaluation()),
        ("search/action", {"subject": ALICE, "resource": RECORD_1}),
    ):
        assert named["x-request-id"] == post(gateway, what, body, headers=named).headers["x-request-id"]
        assert "x-request-id" not in post(gateway, what, body).headers
    for odd in ("a b", "x" * 2_000, "{}", "\t", "\xe9"):
        odd_one = post(
            gateway, "search/action", {"subject": ALICE, "resource": RECORD_1}, headers={"x-request-id": odd}
        )
        assert 200 == odd_one.status
    nobody = ask(gateway, "POST", "/access/v1/evaluation", evaluation(), key=None, headers=named)
    assert (401, named["x-request-id"]) == (nobody.status, nobody.headers["x-request-id"])
    nowhere = post(gateway, "evaluate", evaluation(), headers=named)
    assert (404, named["x-request-id"]) == (nowhere.status, nowhere.headers["x-request-id"])


# -- batch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"subject": ALICE, "action": READ, **EACH_RECORD}, [True, True]),
        ({"subject": BOB, "resource": RECORD_1, "evaluations": [{"action": READ}, {"action": WRITE}]}, [True, False]),
        ({"subject": ALICE, "action": WRITE, **EACH_STATUS}, [True, False]),
        ({"action": WRITE, "resource": ARCHIVED, **EACH_SUBJECT}, [False, True]),
        ({"evaluations": [evaluation(ALICE, READ), evaluation(BOB, WRITE)]}, [True, False]),
        (
            {
                "subject": ALICE,
                "action": READ,
                "context": {"time": "2025-06-27T18:03-07:00"},
                "evaluations": [{"resource": RECORD_1}, {"resource": RECORD_2, "context": {"source": "another"}}],
            },
            [True, True],
        ),
        (
            {
                "subject": ALICE,
                "action": WRITE,
                "resource": {"type": "connector"},
                "evaluations": [
                    {"resource": {"id": "record-1", "properties": {"status": "active"}}},
                    {"resource": ARCHIVED},
                ],
            },
            [True, False],
        ),
        (
            {"subject": ALICE, "action": WRITE, "resource": ARCHIVED, "evaluations": [{"resource": NAMED_2}]},
            [True],  # the whole resource is another one: nothing says any more that it is archived
        ),
        ({"subject": ALICE, "action": READ, "evaluations": [{"resource": RECORD_1}, {}]}, [True, False]),
    ],
)  # fmt: skip
def test_many_at_once(gateway: Gateway, body: dict[str, Any], expected: list[bool]) -> None:
    """Each with what stands for all where it says nothing itself, in the order in which they were asked."""
    assert expected == items(gateway, body)


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_until_the_first(gateway: Gateway, semantic: str, expected: list[bool]) -> None:
    """Those that come after the first no, or yes, are neither decided nor recorded."""
    before = gateway.count()
    asked = [evaluation(ALICE, READ), evaluation(BOB, WRITE), evaluation(BOB, READ)]
    body = {"evaluations": asked, "options": {"evaluations_semantic": semantic, "another": 1}}
    assert expected == items(gateway, body)
    assert before + len(expected) == gateway.count()


def test_a_batch_is_one_or_many(gateway: Gateway) -> None:
    """Without evaluations it is one; a semantic that there is not, too many, or what is no object, is 400."""
    for body in (evaluation(), evaluation(evaluations=[])):
        assert post(gateway, "evaluations", body).json["decision"] is True
    wrong_ones: list[dict[str, object]] = [
        {"evaluations": [evaluation()], "options": {"evaluations_semantic": "some"}},
        {"evaluations": [evaluation()] * 101},
        {"evaluations": [5]},
        {"evaluations": {}},
    ]
    for wrong in wrong_ones:
        assert 400 == post(gateway, "evaluations", wrong).status


def test_what_stands_for_all_is_not_endless(gateway: Gateway) -> None:
    """With it in each of them, evaluations come to no more than a body may; it isn't held a hundred times."""
    body = evaluation(context={"note": "x" * 200_000}, evaluations=[{}] * 100)
    assert 413 == post(gateway, "evaluations", body).status
    few = evaluation(context={"note": "x" * 200_000}, evaluations=[{}] * 3)
    assert [True] * 3 == items(gateway, few)


def test_what_is_wrong_with_one_of_many(gateway: Gateway) -> None:
    """It is a no in its place, with what is wrong; the others are decided."""
    body = {
        "subject": ALICE,
        "resource": RECORD_1,
        "evaluations": [{"action": READ}, {"action": {"name": "delete"}}],
    }
    first, second = post(gateway, "evaluations", body).json["evaluations"]
    assert (True, False) == (first["decision"], second["decision"])
    assert (400, "arguments.soft") == (
        second["context"]["error"]["status"],
        second["context"]["error"]["field"],
    )


# -- search --------------------------------------------------------------------------------------------------


def test_who_may(gateway: Gateway) -> None:
    """Subjects that could do it; with the arguments, where they are all given."""
    anyone = {"subject": {"type": "agent"}, "action": READ, "resource": RECORD_1}
    found = results(gateway, "subject", anyone)
    assert [{"type": "agent", "id": name} for name in ("alice", "bob", "narrow", "pep")] == found
    assert found == results(gateway, "subject", {**anyone, "context": {"ip": "10.0.0.1"}})
    writers = {"subject": {"type": "agent", "id": "alice"}, "action": WRITE}
    assert ["alice", "bob"] == [
        each["id"] for each in results(gateway, "subject", {**writers, "resource": RECORD_2})
    ]
    assert ["bob"] == [each["id"] for each in results(gateway, "subject", {**writers, "resource": ARCHIVED})]
    assert [] == results(gateway, "subject", {**anyone, "subject": {"type": "spaceship"}})
    assert [] == results(gateway, "subject", {**anyone, "resource": {"type": "record", "id": "record-1"}})


def test_to_what(gateway: Gateway) -> None:
    """Resources of a type: connectors, tools, models."""

    def found(subject: object, action: object, kind: str, **properties: object) -> list[str]:
        resource = {"type": kind, "properties": properties} if properties else {"type": kind}
        body = {"subject": subject, "action": action, "resource": resource}
        each = results(gateway, "resource", body)
        assert {kind} >= {one["type"] for one in each}
        return [one["id"] for one in each]

    assert ["record-1", "record-2"] == found(ALICE, READ, "connector")
    assert ["record-1", "record-2"] == found(ADMIN, WRITE, "connector", status="archived")
    assert [] == found(ALICE, WRITE, "connector", status="archived")
    assert ["record-1.read", "record-2.read"] == found(BOB, READ, "tool")
    assert [
        "desk.crawl",
        "desk.note",
        "record-1.read",
        "record-1.write",
        "record-2.read",
        "record-2.write",
    ] == (found(BOB, {"name": "call"}, "tool"))
    assert ["gpt-4o-mini"] == found(BOB, {"name": "chat"}, "model")
    assert ["text-embedding-3-small"] == found(ALICE, {"name": "embed"}, "model")
    assert [] == found(BOB, {"name": "embed"}, "model")
    assert [] == found(ALICE, READ, "planet")
    assert [] == found({"type": "agent", "id": "nobody"}, READ, "connector")


def test_what_may_be_done(gateway: Gateway) -> None:
    """Actions, by name."""

    def found(subject: object, resource: object) -> list[str]:
        return [
            each["name"] for each in results(gateway, "action", {"subject": subject, "resource": resource})
        ]

    assert ["delete", "read", "write"] == found(ALICE, RECORD_1)
    assert ["read", "write"] == found(BOB, RECORD_1)
    assert ["read", "write"] == found(ADMIN, ARCHIVED)
    assert ["delete", "read"] == found(ALICE, ARCHIVED)
    assert ["chat"] == found(ALICE, {"type": "model", "id": "gpt-4o-mini"})
    assert ["note"] == found(ALICE, {"type": "tool", "id": "desk.note"})
    assert [] == found({"type": "agent", "id": "nobody"}, RECORD_1)
    assert [] == found(ALICE, {"type": "connector", "id": "provider"})


def test_pages(gateway: Gateway) -> None:
    """One after the other, until there are no more; a token that is none is 400."""
    body: dict[str, Any] = {"subject": {"type": "agent"}, "action": READ, "resource": RECORD_1}
    names, token = [], ""
    for _ in range(4):
        answer = post(gateway, "search/subject", {**body, "page": {"limit": 1, "token": token}}).json
        assert 1 == answer["page"]["count"] == len(answer["results"])
        names.append(answer["results"][0]["id"])
        token = answer["page"]["next_token"]
    assert (["alice", "bob", "narrow", "pep"], "") == (names, token)
    assert "" == post(gateway, "search/subject", {**body, "page": {"limit": 4}}).json["page"]["next_token"]
    assert "page" not in post(gateway, "search/subject", body).json
    wrong_ones: list[object] = [{"limit": 0}, {"limit": "x"}, {"token": "é"}, {"token": "A"}, []]
    for wrong in wrong_ones:
        assert 400 == post(gateway, "search/subject", {**body, "page": wrong}).status


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("subject", {"subject": {"type": "agent"}, "resource": RECORD_1}),
        ("subject", {"subject": {"type": "agent"}, "action": READ, "resource": {"type": "connector"}}),
        ("subject", {"subject": {}, "action": READ, "resource": RECORD_1}),
        ("resource", {"action": READ, "resource": {"type": "connector"}}),
        ("resource", {"subject": {"type": "agent"}, "action": READ, "resource": {"type": "connector"}}),
        ("resource", {"subject": ALICE, "action": READ}),
        ("action", {"subject": ALICE}),
        ("action", {"subject": ALICE, "resource": {"type": "connector"}}),
        ("action", b""),
    ],
)
def test_searches_that_make_no_sense(gateway: Gateway, what: str, body: object) -> None:
    """They are 400."""
    assert 400 == post(gateway, f"search/{what}", body).status


def test_a_search_s_arguments_are_bounded(gateway: Gateway) -> None:
    """Each candidate is judged with them, so what one may send for one call is too much."""
    for length, status in ((60_000, 200), (70_000, 413)):
        context = {"arguments": {"note": "x" * length}}
        body = {"subject": ALICE, "action": READ, "resource": {"type": "connector"}, "context": context}
        assert status == post(gateway, "search/resource", body).status


def test_searches_record_nothing(gateway: Gateway) -> None:
    """They ask policies alone."""
    before = gateway.count()
    results(gateway, "action", {"subject": ALICE, "resource": RECORD_1})
    results(gateway, "resource", {"subject": ALICE, "action": WRITE, "resource": {"type": "connector"}})
    assert before == gateway.count()


# -- discovery -----------------------------------------------------------------------------------------------


def test_where_everything_is(gateway: Gateway) -> None:
    """The metadata names endpoints that answer, under the address by which it was asked."""
    path = "/.well-known/authzen-configuration"
    answer = ask(gateway, "GET", path, key=None)
    assert (200, "application/json") == (answer.status, answer.headers["content-type"])
    told = answer.json
    assert gateway.url == told["policy_decision_point"]
    assert ["custom"] == told["obligations_supported"]
    endpoints = {name: url for name, url in told.items() if name.endswith("_endpoint")}
    assert {
        "access_evaluation_endpoint",
        "access_evaluations_endpoint",
        "search_subject_endpoint",
        "search_resource_endpoint",
        "search_action_endpoint",
        "access_request_endpoint",
    } == endpoints.keys()
    for url in endpoints.values():
        assert 400 == ask(gateway, "POST", url.removeprefix(gateway.url), {}, key=gateway.key("pep")).status
    behind = {"host": "pdp.example.com", "x-forwarded-proto": "https"}
    told = ask(gateway, "GET", path, key=None, headers=behind).json
    assert "https://pdp.example.com/access/v1/evaluation" == told["access_evaluation_endpoint"]
    assert 400 == ask(gateway, "GET", path, key=None, headers={"host": "x/y@z"}).status


def test_decides_for_real_clients_words(gateway: Gateway) -> None:
    """A tool by its name, its arguments as properties of the resource, the agent by its external id."""
    note = {"type": "tool", "id": "desk.note", "properties": {"text": "x"}}
    for name in ("call", "note", "desk.note", "tool_call.execute"):
        assert decides(gateway, evaluation(ALICE, {"name": name}, note))
    assert decides(gateway, evaluation({"type": "agent", "id": "svc-alice"}, {"name": "call"}, note))
    assert decides(
        gateway, evaluation(ALICE, {"name": "desk.note"}, {**note, "type": "connector", "id": "desk"})
    )
    assert not decides(gateway, evaluation(ALICE, {"name": "crawl"}, note))
    assert not decides(gateway, evaluation(ALICE, READ, {"type": "record", "id": "record-1"}))
    assert not decides(gateway, evaluation({"type": "user", "id": "alice"}))
