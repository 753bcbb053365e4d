"""Answers in Slack, over a real gateway, its steward and a Slack of our own: whose counts, and all that is refused."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import apsw
import pytest
from slack_sdk.signature import SignatureVerifier

from aegis_gateway.adapters.channels.slack_blocks import Pressed
from aegis_gateway.adapters.channels.slack_views import reason_view
from aegis_gateway.domain.approval import Approval
from aegis_gateway.domain.approval_route import Group, Route, Want
from aegis_gateway.domain.people import Grant
from tests.asked import arguments, ask_people
from tests.browsers import Staff
from tests.channels import FakeSlack, Receiver, buttons, receiver
from tests.gateways import PERMIT_ALL, Gateway, ask, configuration, until
from tests.slack import ENVIRONMENT, PATH, PLACE, SIGNING_SECRET, TOKEN, Workspace, channel, signed

pytestmark = pytest.mark.xdist_group("slack")

USERS = {"U0BEN": "ben", "U0CY": "cy", "U0VI": "vi", "U0GONE": "gone", "U0NOONE": "noone", "U0BOB": "bob"}
BEN, CY = "U0BEN", "U0CY"


@pytest.fixture(scope="module")
def slack() -> Iterator[tuple[FakeSlack, Receiver]]:
    """A Slack, and the server that it is on."""
    fake = FakeSlack(TOKEN)
    with receiver(fake) as server:
        yield fake, server


@pytest.fixture(scope="module")
def gateway(slack: tuple[FakeSlack, Receiver]) -> Iterator[Gateway]:
    """A gateway with two workers, whose tenants acme and zeta have a channel in that Slack each."""
    files = configuration("http://127.0.0.1:9", policies=PERMIT_ALL)
    acme = files["aegis.yaml"] + channel(slack[1].url, USERS)
    zeta = files["aegis.yaml"].partition("  acme:\n")[2]
    other = channel(slack[1].url, {"U0ZOE": "ben"}, "zops").replace("SLACK_SIGNING", "OTHER_SIGNING")
    with Gateway(
        {**files, "aegis.yaml": f"{acme}  zeta:\n{zeta}{other}"},
        workers=2,
        environment={**ENVIRONMENT, "OTHER_SIGNING": "another-secret-canary"},
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Ben, cy and bob approve in acme, vi looks on, gone is suspended; noone isn't registered."""
    staff = Staff(gateway)
    for person in ("ben", "cy", "bob", "gone"):
        staff.add(person, Grant(role="approver", tenant="acme"))
    staff.add("vi", Grant(role="viewer", tenant="acme"))
    with staff.people() as people:
        people.suspend("gone")
    return staff


@pytest.fixture
def workspace(slack: tuple[FakeSlack, Receiver], gateway: Gateway, staff: Staff) -> Workspace:
    """That Slack with its people."""
    assert staff.tokens
    assert 200 == ask(gateway, "GET", "/sign-in", key=None).status  # what answers people is there
    slack[0].whispers.clear()
    return Workspace(slack[0], gateway)


def state(gateway: Gateway, approval: Approval) -> str:
    """How a request stands."""
    (row,) = gateway.query("select state from approval where approval = ?", approval.id)
    return str(row["state"])


def acts(gateway: Gateway, approval: str) -> list[tuple[str, str, str]]:
    """What the record says was done about a request after it was made: what, by whom, by which way."""
    return [
        (entry["act"], entry["actor"], entry.get("via", ""))
        for entry in gateway.entries()
        if entry.get("approval") == approval and entry["act"] != "request"
    ]


def reasons(gateway: Gateway, approval: str) -> list[str]:
    """Why answers didn't count, as the record says."""
    return [
        entry["reason"]
        for entry in gateway.entries()
        if entry.get("approval") == approval and entry.get("act") == "not_taken"
    ]


def decided(workspace: Workspace, approval: Approval) -> dict[str, Any]:
    """The message about a request, once it says what became of it."""

    def found() -> dict[str, Any] | None:
        for message in list(workspace.slack.messages.values()):
            if f"/{approval.id}" in json.dumps(message) and "aegis_approve" not in buttons(message):
                return message
        return None

    until(lambda: found() is not None, "the message was not changed")
    message = found()
    assert message is not None
    return message


def test_a_yes(gateway: Gateway, workspace: Workspace) -> None:
    """Is asked for once more, taken in time, on the record with who and how, and the message says so."""
    asked = ask_people(gateway, facts=arguments("5000.01"))
    _, message = workspace.message(asked.id)
    assert {"aegis_approve", "aegis_refuse", "aegis_open_0"} == buttons(message).keys()
    confirm = buttons(message)["aegis_approve"]["confirm"]
    assert "bot asks for api.pay. Exactly this call goes through, once." == confirm["text"]["text"]
    began = time.monotonic()
    taken = workspace.press(asked.id, "aegis_approve", BEN)
    assert (200, b"") == (taken.status, taken.body)
    assert time.monotonic() - began < 3
    assert "granted" == state(gateway, asked)
    assert [("grant", "ben", "slack")] == acts(gateway, asked.id)
    told = decided(workspace, asked)
    assert "ben approved in Slack" in json.dumps(told["blocks"])
    assert [] == workspace.slack.whispers


def test_a_no_with_its_reason(gateway: Gateway, workspace: Workspace) -> None:
    """By a form, which asks again where there is none; the agent is told it."""
    asked = ask_people(gateway)
    form = workspace.form(asked.id, BEN)
    for nothing in (None, "  "):
        unreasoned = workspace.submit(form, nothing, BEN)
        assert ("errors", ["reason"]) == (
            unreasoned.json["response_action"],
            list(unreasoned.json["errors"]),
        )
    assert ("waiting", []) == (state(gateway, asked), acts(gateway, asked.id))
    done = workspace.submit(form, "not this vendor", BEN)
    assert (200, b"") == (done.status, done.body)
    assert ("refused", [("refuse", "ben", "slack")]) == (state(gateway, asked), acts(gateway, asked.id))
    assert "ben refused in Slack: not this vendor" in json.dumps(decided(workspace, asked)["blocks"])
    late = workspace.submit(form, "not this vendor either", CY)
    assert "update" == late.json["response_action"]
    assert "is refused by `ben`" in json.dumps(late.json["view"])


def test_a_form_that_is_not_opened(gateway: Gateway, workspace: Workspace) -> None:
    """As when its trigger is too old: whoever pressed is told to do so again."""
    asked = ask_people(gateway)
    pressed = workspace.pressed(asked.id, "aegis_refuse", BEN)
    workspace.slack.triggers.clear()
    assert 200 == workspace.send(pressed).status
    assert "Press again" in workspace.whisper(BEN)
    assert ("waiting", []) == (state(gateway, asked), acts(gateway, asked.id))


def test_a_link_is_followed(gateway: Gateway, workspace: Workspace) -> None:
    """Slack tells of it, and is answered; nothing else is done."""
    asked = ask_people(gateway)
    assert 200 == workspace.press(asked.id, "aegis_approve", CY).status
    other = ask_people(gateway)
    body = workspace.pressed(other.id, "aegis_open_0", BEN)
    assert [200, 200] == [workspace.send(body).status for _ in range(2)]
    assert ("waiting", []) == (state(gateway, other), acts(gateway, other.id))


def test_double_clicks(gateway: Gateway, workspace: Workspace) -> None:
    """Many at once, each with a trigger of its own, are one answer."""
    asked = ask_people(gateway)
    bodies = [workspace.pressed(asked.id, "aegis_approve", BEN) for _ in range(6)]
    statuses: list[int] = []
    presses = [
        threading.Thread(target=lambda body=body: statuses.append(workspace.send(body).status))
        for body in bodies
    ]
    for press in presses:
        press.start()
    for press in presses:
        press.join()
    assert [200] * 6 == statuses
    assert ("granted", [("grant", "ben", "slack")]) == (state(gateway, asked), acts(gateway, asked.id))


def test_two_are_wanted(gateway: Gateway, workspace: Workspace) -> None:
    """The first is told that another is wanted; the same one again is no second."""
    asked = ask_people(gateway, route=Route(wants=(Want(needs=2),)))
    for _ in range(2):
        assert 200 == workspace.press(asked.id, "aegis_approve", BEN).status
        assert "wants somebody else's besides" in workspace.whisper(BEN)
    assert ("waiting", [("grant", "ben", "slack")]) == (state(gateway, asked), acts(gateway, asked.id))
    assert 200 == workspace.press(asked.id, "aegis_approve", CY).status
    assert "granted" == state(gateway, asked)


def test_what_is_told_together(gateway: Gateway, workspace: Workspace) -> None:
    """Only what the message shows is answered, and whoever answers hears of the rest."""
    alike = [
        ask_people(gateway, group_after=1, about="api.refund", facts=arguments(f"{n}.00")) for n in (1, 2, 3)
    ]
    assert 200 == workspace.press(alike[1].id, "aegis_approve", BEN).status
    assert f"1 more like it still wait; see {gateway.settings.pages_url}/approvals" == workspace.whisper(BEN)
    assert ["waiting", "granted", "waiting"] == [state(gateway, each) for each in alike]


def test_an_answer_of_another_way(gateway: Gateway, workspace: Workspace, staff: Staff) -> None:
    """Changes the message too; what is pressed there since is told that it is over."""
    asked = ask_people(gateway)
    pressed = workspace.pressed(asked.id, "aegis_approve", CY)
    path = f"/api/v1/approvals/{asked.id}/answer"
    body = {"answer": "refuse", "reason": "no such vendor"}
    assert 200 == ask(gateway, "POST", path, body, key=staff.tokens["ben"]).status
    assert "ben refused by the API: no such vendor" in json.dumps(decided(workspace, asked)["blocks"])
    assert 200 == workspace.send(pressed).status
    assert "is refused by `ben`" in workspace.whisper(CY)
    assert "refused" == state(gateway, asked)


@pytest.mark.parametrize(
    ("user", "actor", "why"),
    [
        ("U0STRANGER", "slack:U0STRANGER", "is nobody's"),
        ("U0NOONE", "noone", "no person `noone`"),
        ("U0GONE", "gone", "`gone` is suspended"),
        ("U0VI", "vi", "not among those"),
        ("U0BOB", "bob", "stands behind"),
        (CY, "cy", "own request"),
    ],
)
def test_whose_answer_does_not_count(
    gateway: Gateway, workspace: Workspace, user: str, actor: str, why: str
) -> None:
    """Each is told why, alone, and is on the record; nothing is decided, neither by button nor by form."""
    asked = ask_people(gateway, kind="increase", requester="cy", behind=("bob",), about="plenty")
    assert 200 == workspace.press(asked.id, "aegis_approve", user).status
    assert why in workspace.whisper(user)
    view = reason_view(Pressed(tenant="acme", channel="ops", approval=asked.id, place=PLACE))
    form = workspace.submit(view, "no", user)
    assert why in json.dumps(form.json["view"])
    assert "waiting" == state(gateway, asked)
    assert [("not_taken", actor, "slack")] * 2 == acts(gateway, asked.id)


def test_who_is_not_asked(gateway: Gateway, workspace: Workspace) -> None:
    """Whoever may approve, but not this."""
    desk = Route(wants=(Want(groups=(Group(name="desk", people=("cy",)),)),))
    asked = ask_people(gateway, route=desk)
    assert 200 == workspace.press(asked.id, "aegis_approve", BEN).status
    assert "not among those whom" in workspace.whisper(BEN)
    assert [("not_taken", "ben", "slack")] == acts(gateway, asked.id)


def test_too_late(gateway: Gateway, workspace: Workspace) -> None:
    """What has run out is over, whether or not that was written down."""
    asked = ask_people(gateway)
    body = workspace.pressed(asked.id, "aegis_approve", BEN)
    over = ask_people(gateway, route=Route(within_ns=1))
    moved = body.replace(asked.id.encode(), over.id.encode())
    assert 200 == workspace.send(moved).status
    assert "is expired" in workspace.whisper(BEN)
    assert "expired" == state(gateway, over)
    assert ("not_taken", "ben", "slack") == acts(gateway, over.id)[-1]


def test_bad_signatures(gateway: Gateway, workspace: Workspace) -> None:
    """Another's secret, another body, none, junk: all the same answer, and nothing is written down."""
    asked = ask_people(gateway)
    body = workspace.pressed(asked.id, "aegis_approve", BEN)
    good = signed(body)
    assert SignatureVerifier(SIGNING_SECRET).is_valid_request(body, good)
    rows = len(gateway.entries())
    for headers in (
        signed(body, secret="another-secret-canary"),
        signed(body + b"&x=1"),
        {},
        {**good, "x-slack-signature": "v0="},
        {**good, "x-slack-signature": good["x-slack-signature"].upper()},
        {**good, "x-slack-signature": "\xe9" * 67},
        {**good, "x-slack-request-timestamp": "now"},
        {**good, "x-slack-request-timestamp": "9" * 5_000},
        {**good, "x-slack-request-timestamp": str(int(good["x-slack-request-timestamp"]) + 1)},
    ):
        answered = workspace.send(body, headers)
        assert (401, b"") == (answered.status, answered.body)
    elsewhere = workspace.pressed(asked.id, "aegis_approve", BEN).replace(b"%22acme%5C", b"%22zeta%5C")
    assert b"zeta" in elsewhere
    for named in (
        elsewhere,
        elsewhere.replace(b"%22ops%5C", b"%22zops%5C"),
        elsewhere.replace(b"zeta", b"none"),
    ):
        assert 401 == workspace.send(named).status
    assert ("waiting", rows) == (state(gateway, asked), len(gateway.entries()))
    assert [] == gateway.query("select interaction from interaction where interaction like 'slack:stale%'")
    assert "canary" not in gateway.log()
    assert SIGNING_SECRET not in gateway.log()
    assert 200 == workspace.send(body, good).status


def test_a_stale_one(gateway: Gateway, workspace: Workspace) -> None:
    """Is refused however well it is signed, and recorded once, however often it comes."""
    asked = ask_people(gateway)
    body = workspace.pressed(asked.id, "aegis_approve", BEN)
    for shift_s in (-301, 301 + 5):
        stale = signed(body, at_s=time.time() + shift_s)
        assert [401] * 3 == [workspace.send(body, stale).status for _ in range(3)]
    assert ["it was signed more than five minutes ago"] == reasons(gateway, asked.id)
    assert "waiting" == state(gateway, asked)


def test_a_replayed_one(gateway: Gateway, workspace: Workspace) -> None:
    """Counts once on all workers, and after a restart; it is recorded once that it came again."""
    asked = ask_people(gateway, route=Route(wants=(Want(needs=2),)))
    body = workspace.pressed(asked.id, "aegis_approve", BEN)
    headers = signed(body)
    statuses: list[int] = []
    sends = [
        threading.Thread(target=lambda: statuses.append(workspace.send(body, headers).status))
        for _ in range(8)
    ]
    for send in sends:
        send.start()
    for send in sends:
        send.join()
    assert [200] + [409] * 7 == sorted(statuses)
    gateway.restart()
    assert 409 == workspace.send(body, headers).status
    assert 409 == workspace.send(body, signed(body)).status
    assert [("grant", "ben", "slack"), ("not_taken", "slack:U0BEN", "slack")] == sorted(
        acts(gateway, asked.id)
    )
    assert ["it was sent again"] == reasons(gateway, asked.id)


def test_junk(gateway: Gateway, workspace: Workspace) -> None:
    """What can't be read, what is too long, and what names nothing is refused, and nothing breaks."""
    asked = ask_people(gateway)
    good = workspace.pressed(asked.id, "aegis_approve", BEN)
    rows = len(gateway.entries())
    payloads: list[object] = [
        None,
        [],
        {"type": "block_actions"},
        {"type": "block_actions", "user": {"id": BEN}, "actions": []},
        {
            "type": "block_actions",
            "user": {"id": BEN},
            "actions": [{"action_id": "aegis_approve", "value": "x"}],
        },
        {"type": "block_actions", "user": {"id": BEN}, "actions": [{"action_id": "other", "value": "{}"}]},
        {"type": "view_submission", "user": {"id": BEN}, "view": {"callback_id": "aegis_reason"}},
        {"type": "shortcut", "user": {"id": BEN}},
    ]
    bodies = [urlencode({"payload": json.dumps(each)}).encode() for each in payloads]
    deep = urlencode({"payload": '{"x":' + "[" * 20_000 + "]" * 20_000 + "}"}).encode()
    many = urlencode({f"f{number}": "" for number in range(100)}).encode()
    twice = good.replace(b"%22actions%22%3A+%5B", b"%22actions%22%3A+%5B%7B%22action_id%22%3A%22x%22%7D%2C")
    assert twice != good
    strange = good.replace(b"%22U0BEN%22", b"%22%3C%21here%3E%22")
    for body in (*bodies, deep, many, b"", b"payload=", b"\xff\xfe", b'{"payload": 1}', twice, strange):
        assert 400 == workspace.send(body).status, body[:80]
    assert 413 == workspace.send(good + b"&x=" + b"x" * 300_000).status
    assert 413 == workspace.send(b"x" * 1_000_000).status
    assert ("waiting", rows) == (state(gateway, asked), len(gateway.entries()))
    unknown = workspace.send(good.replace(asked.id.encode(), b"apr_00000000000000000000"))
    assert 200 == unknown.status
    assert "there is no approval" in workspace.whisper(BEN)
    assert [("not_taken", "slack:U0BEN", "slack")] == acts(gateway, "apr_00000000000000000000")


def test_a_slack_that_hangs(
    gateway: Gateway, workspace: Workspace, slack: tuple[FakeSlack, Receiver]
) -> None:
    """Keeps nobody waiting: forms and words come late, answers are taken in time."""
    asked = ask_people(gateway)
    bodies = [workspace.pressed(asked.id, "aegis_refuse", BEN) for _ in range(24)]
    last = workspace.pressed(asked.id, "aegis_approve", BEN)
    slack[1].may_answer.clear()
    began = time.monotonic()
    try:
        assert {200} == {workspace.send(body).status for body in bodies}
        assert 200 == workspace.send(last).status
        assert "granted" == state(gateway, asked)
        assert time.monotonic() - began < 8
    finally:
        slack[1].may_answer.set()
    decided(workspace, asked)
    assert TOKEN not in gateway.log()


def test_a_store_that_is_busy(gateway: Gateway, workspace: Workspace) -> None:
    """Slack is answered in time all the same; the answer is taken afterwards, and who it isn't taken of is told."""
    asked, other = ask_people(gateway), ask_people(gateway)
    form = reason_view(Pressed(tenant="acme", channel="ops", approval=other.id, place=PLACE))
    bodies = [workspace.pressed(asked.id, "aegis_approve", BEN), workspace.submitted(form, "no", "U0VI")]
    for body in bodies:
        with contextlib.closing(apsw.Connection(gateway.settings.store.removeprefix("sqlite:"))) as writer:
            writer.set_busy_timeout(10_000)  # the steward writes, too
            writer.execute("begin immediate")
            began = time.monotonic()
            answered = workspace.send(body)
            assert time.monotonic() - began < 3
            writer.execute("rollback")
        assert (200, b"") == (answered.status, answered.body)
    until(lambda: state(gateway, asked) == "granted", "the answer was lost")
    assert "not among those" in workspace.whisper("U0VI")
    assert "waiting" == state(gateway, other)


def test_no_page_can_press(gateway: Gateway, workspace: Workspace) -> None:
    """A browser that is sent here by another page has no signature; nothing is read at this address."""
    asked = ask_people(gateway)
    body = workspace.pressed(asked.id, "aegis_approve", BEN)
    from_a_page = {"origin": "https://evil.example", "content-type": "application/x-www-form-urlencoded"}
    assert 401 == workspace.send(body, from_a_page).status
    assert "waiting" == state(gateway, asked)
    assert 405 == ask(gateway, "GET", PATH, key=None).status
