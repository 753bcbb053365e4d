"""Requests for access at the AuthZEN door, from a denial that wants a person's word to the one yes that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.answering import answer, approvals
from tests.authzen_fixture import ALICE, BOB, evaluation, files, post
from tests.gateways import Answer, Gateway, ask, assert_books_balance

pytestmark = pytest.mark.xdist_group("authzen")

ASK = """
@id("four-eyes") @effect("require_approval") @reason("notes want a person")
forbid(principal, action == Action::"desk.note", resource);
"""
CALL = {"name": "call"}
CAPABILITY = "urn:openid:authzen:capability:access-request"
ERROR = "urn:openid:authzen:access-request:error:"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """A gateway whose people are asked about notes."""
    with Gateway(files(more_policies=ASK)) as gateway:
        yield gateway


def note(text: str, subject: object = ALICE, **context: object) -> dict[str, Any]:
    """An evaluation of writing a note."""
    resource = {"type": "tool", "id": "desk.note", "properties": {"text": text, "n": 1}}
    return evaluation(subject, CALL, resource, context={"arguments": {"text": text}, **context})


def requested(asked: dict[str, Any], denied: Answer) -> dict[str, Any]:
    """The request for access to what was denied, as the profile wants it."""
    context = denied.json["context"]
    access = context["access_request"]
    denial = {
        "evaluation_id": context["evaluation_id"],
        "expires_at": access["expires_at"],
        "binding_token": access["binding_token"],
        "template": access["template"],
    }
    more = {"business_justification": "the auditor wants it"}
    return {**asked, "context": {**asked["context"], **more}, "denial": denial}


def submit(
    gateway: Gateway, body: object, *, agent: str = "pep", name: str = "", path: str = "/access/v1/requests"
) -> Answer:
    """Ask for access."""
    headers = {"idempotency-key": name} if name else {}
    return ask(gateway, "POST", path, body, key=gateway.key(agent), headers=headers)


def at(gateway: Gateway, url: str, agent: str = "pep") -> Answer:
    """How a task stands."""
    return ask(gateway, "GET", url.removeprefix(gateway.url), key=gateway.key(agent))


def test_from_the_denial_to_the_one_yes(gateway: Gateway) -> None:
    """Denied, asked for, pending, granted, evaluated again: true once, for what was asked and nothing else."""
    told = ask(gateway, "GET", "/.well-known/authzen-configuration", key=None).json
    assert ([CAPABILITY], f"{gateway.url}/access/v1/requests") == (
        told["capabilities"],
        told["access_request_endpoint"],
    )
    asked = note("to be approved")
    denied = post(gateway, "evaluation", asked)
    assert (False, ["approval_required"]) == (denied.json["decision"], denied.json["context"]["codes"])
    assert denied.json["context"]["access_request"]["endpoint"] == told["access_request_endpoint"]
    made = submit(gateway, requested(asked, denied), name="n1")
    task = made.json["task"]
    assert (202, "pending", task["status_endpoint"]) == (
        made.status,
        task["status"],
        made.headers["location"],
    )
    assert int(made.headers["retry-after"]) > 0
    assert task["expires_at"] == denied.json["context"]["access_request"]["expires_at"]
    again = submit(gateway, requested(asked, post(gateway, "evaluation", asked)), name="n1")
    assert (task["id"], 1) == (again.json["task"]["id"], len(approvals(gateway)))
    assert ("pending", False) == (
        at(gateway, task["status_endpoint"]).json["task"]["status"],
        "result" in made.json,
    )
    approval = answer(gateway, "grant")
    assert task["links"]["review"].endswith(f"/approvals/{approval}")
    done = at(gateway, task["status_endpoint"]).json
    assert ("approved", "reevaluate") == (done["task"]["status"], done["result"]["mode"])
    granted = done["result"]["approval"]
    assert granted["approved_at"] < granted["approved_until"]
    for other in (note("another"), note("to be approved", BOB)):
        swapped = {**other, "context": {**other["context"], "approval": granted}}
        refused = post(gateway, "evaluation", swapped).json
        assert (False, ["approval_not_valid"]) == (refused["decision"], refused["context"]["codes"])
    with_it = {**asked, "context": {**asked["context"], "approval": granted}}
    yes = post(gateway, "evaluation", with_it).json
    assert (True, granted["id"]) == (yes["decision"], yes["context"]["approval"]["id"])
    spent = post(gateway, "evaluation", with_it).json
    assert (False, ["approval_not_valid"]) == (spent["decision"], spent["context"]["codes"])
    assert "approved" == at(gateway, task["status_endpoint"]).json["task"]["status"]
    late = submit(gateway, requested(asked, denied))
    assert (201, "approved") == (late.status, late.json["task"]["status"])
    assert_books_balance(gateway)


def test_a_refusal_ends_it(gateway: Gateway) -> None:
    """The task is denied, in the words of who refused, and the same evaluation is a no that can't be asked about."""
    asked = note("to be refused")
    denied = post(gateway, "evaluation", asked)
    task = submit(gateway, requested(asked, denied)).json["task"]
    answer(gateway, "refuse", "not today")
    ended = at(gateway, task["status_endpoint"]).json
    assert ("denied", "not today") == (ended["task"]["status"], ended["task"]["display"]["description"])
    assert "result" not in ended
    no = post(gateway, "evaluation", asked).json["context"]
    assert (["approval_refused"], False) == (no["codes"], "access_request" in no)


def test_what_is_held_is_for_what_was_denied(gateway: Gateway) -> None:
    """Of another subject, resource or argument, from another asker, changed or made up: it is no denial of that."""
    asked = note("bound")
    good = requested(asked, post(gateway, "evaluation", asked))
    token = good["denial"]["binding_token"]
    other_text = note("bound elsewhere")
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("pep", {**good, "subject": BOB}),
        ("pep", {**good, "resource": {"type": "tool", "id": "desk.note"}}),
        ("pep", {**good, "context": other_text["context"]}),
        ("pep", {**good, "context": {**good["context"], "aegis": {"customer": "c1"}}}),
        ("alice", good),
        ("pep", {**good, "denial": {**good["denial"], "binding_token": token[:-8] + "AAAAAAA="}}),
        ("pep", {**good, "denial": {**good["denial"], "binding_token": ""}}),
        ("pep", {**good, "denial": {**good["denial"], "evaluation_id": "call_other"}}),
        ("pep", {**good, "denial": {**good["denial"], "expires_at": "2030-01-01T00:00:00Z"}}),
    ]
    for agent, body in wrong:
        told = submit(gateway, body, agent=agent)
        assert (400, f"{ERROR}invalid_denial_binding", "application/problem+json") == (
            told.status,
            told.json["type"],
            told.headers["content-type"],
        )
    without = {name: value for name, value in good.items() if name != "denial"}
    assert f"{ERROR}not_requestable" == submit(gateway, without).json["type"]
    assert 400 == submit(gateway, {**good, "callback": {"endpoint": "https://pep.example"}}).status
    assert 202 == submit(gateway, good, name="mine").status
    assert 400 == submit(gateway, good, name="n" * 256).status
    second = requested(other_text, post(gateway, "evaluation", other_text))
    assert (409, f"{ERROR}duplicate_request") == (
        (told := submit(gateway, second, name="mine")).status,
        told.json["type"],
    )


def test_a_task_is_told_to_whoever_may_ask_for_its_subject(gateway: Gateway) -> None:
    """To others, and of what there is not, it is unknown; nothing else is done to a task."""
    asked = note("whose")
    task = submit(gateway, requested(asked, post(gateway, "evaluation", asked))).json["task"]
    url = task["status_endpoint"]
    assert [200, 200, 200, 404] == [at(gateway, url, who).status for who in ("pep", "alice", "narrow", "bob")]
    assert 401 == ask(gateway, "GET", url.removeprefix(gateway.url), key=None).status
    made_up = (f"{url[:-1]}{'0' if url[-1] != '0' else '1'}", f"{gateway.url}/access/v1/requests/apr_x")
    for each in made_up:
        assert (404, f"{ERROR}unknown_task") == ((told := at(gateway, each)).status, told.json["type"])
    path = url.removeprefix(gateway.url)
    assert 405 == submit(gateway, {}, path=f"{path}/cancel").status
    assert 405 == ask(gateway, "DELETE", path, key=gateway.key("pep")).status


def test_what_only_asks_makes_no_request(gateway: Gateway) -> None:
    """`reserve: false` says that a person would have to agree, and nobody is asked."""
    before = len(approvals(gateway))
    no = post(gateway, "evaluation", note("only asked", aegis={"reserve": False})).json
    assert (["approval_required"], False, before) == (
        no["context"]["codes"],
        "access_request" in no["context"],
        len(approvals(gateway)),
    )


def test_what_waits_holds_nothing_and_is_found(gateway: Gateway) -> None:
    """No money is held for it, and a search finds what may be done once somebody has agreed."""
    held = gateway.standing("day")[0]
    assert not post(gateway, "evaluation", note("held?")).json["decision"]
    assert held == gateway.standing("day")[0]
    body = {"subject": ALICE, "resource": {"type": "tool", "id": "desk.note"}}
    assert [{"name": "note"}] == post(gateway, "search/action", body).json["results"]
