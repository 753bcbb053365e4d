"""What was to be told, as operators see it and have it sent again: command, control API and pages of a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from typer.testing import CliRunner, Result

from aegis_gateway.domain.people import Grant
from aegis_gateway.entrypoints.cli.main import build
from tests.browsers import Staff, Visitor, csrf_on, text_of
from tests.channels import Mailbox, Receiver, Said, mail_server, receiver
from tests.gateways import PEPPER, PERMIT_ALL, Answer, Gateway, ask, configuration, until
from tests.told import REFUSED, tell

pytestmark = pytest.mark.xdist_group("notifications")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FILES = configuration("http://127.0.0.1:9", policies=PERMIT_ALL)
OTHER_TENANT = FILES["aegis.yaml"].partition("  acme:\n")[2]
CHANNELS = """\
    channels:
      fin: {{kind: teams, webhook: env:TEAMS, network: private}}
      hook: {{kind: webhook, url: "{url}/hook", secret: env:HOOK, network: private}}
      mail: {{kind: email, smtp: "{smtp}", from: aegis@acme.example, network: private}}
      lost: {{kind: webhook, url: "{url}/hook", secret: env:NOWHERE, network: private}}
"""


@pytest.fixture(scope="module")
def other_side() -> Iterator[Receiver]:
    """Where the channels lead."""
    with receiver() as server:
        yield server


@pytest.fixture(scope="module")
def mailbox() -> Mailbox:
    """Where mails are kept."""
    return Mailbox()


@pytest.fixture(scope="module")
def smtp(mailbox: Mailbox) -> Iterator[str]:
    """The address of its server."""
    with mail_server(mailbox) as address:
        yield address


@pytest.fixture(scope="module")
def gateway(other_side: Receiver, smtp: str) -> Iterator[Gateway]:
    """A gateway with two tenants, acme, which has channels, and zeta."""
    channels = CHANNELS.format(url=other_side.url, smtp=smtp)
    stated = f"{FILES['aegis.yaml']}{channels}  zeta:\n{OTHER_TENANT}"
    environment = {"TEAMS": f"{other_side.url}/workflows/x?sig=s3cret-canary", "HOOK": SECRET}
    with Gateway({**FILES, "aegis.yaml": stated}, environment=environment) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def staff(gateway: Gateway) -> Staff:
    """Fin may have things sent again in acme, vi looks on there, zoe in zeta; ana is an admin everywhere."""
    staff = Staff(gateway)
    staff.add("fin", Grant(role="finops", tenant="acme"))
    staff.add("vi", Grant(role="viewer", tenant="acme"))
    staff.add("zoe", Grant(role="finops", tenant="zeta"))
    return staff


def aegis(gateway: Gateway, *words: str, token: str = "", code: int = 0) -> Result:
    """Run `aegis notifications` beside the gateway, as somebody."""
    settings = gateway.settings
    environment: Mapping[str, str] = {
        "AEGIS_STORE": settings.store,
        "AEGIS_PEPPER": settings.pepper,
        "AEGIS_TEST_PEPPER": PEPPER,
        "AEGIS_SIGNING_KEY": settings.signing_key,
        "AEGIS_TENANT": "acme",
        "COLUMNS": "180",
        "AEGIS_TOKEN": token,
        **{name: value for name, value in gateway.environment.items() if name in ("TEAMS", "HOOK")},
    }
    found = CliRunner().invoke(build(), ["notifications", *words], env=environment)
    assert code == found.exit_code, found.output
    return found


def api(gateway: Gateway, token: str, path: str = "", method: str = "GET") -> Answer:
    """Call the control API, as somebody."""
    return ask(gateway, method, f"/api/v1/notifications{path}", key=token)


def state(gateway: Gateway, delivery: str) -> str:
    """What became of one."""
    return str(gateway.query("select state from delivery where delivery = ?", delivery)[0]["state"])


def test_what_was_given_up_is_listed_shown_and_sent_again(
    gateway: Gateway, staff: Staff, other_side: Receiver
) -> None:
    """By command: with the reason, and the message as it is, without the channel's secrets; then it is sent."""
    told = tell(gateway)
    listed = aegis(gateway).output
    assert (True, True) == (told.id in listed, REFUSED in listed)
    shown = aegis(gateway, "show", told.id).output
    for words in (
        told.id,
        "dead",
        "fin",
        "budget:loan-day",
        REFUSED,
        "Budget loan-day is exhausted",
        "$20.01",
    ):
        assert words in shown, words
    record = json.loads(aegis(gateway, "--dead", "--channel", "fin", "--json").output)["notifications"][0]
    assert (told.id, 1, REFUSED, "$20.00") == (
        record["id"],
        record["tries"],
        record["last_error"],
        record["message"]["facts"]["limit"],
    )
    assert "s3cret-canary" not in f"{listed}{shown}{json.dumps(record)}"
    fin = staff.tokens["fin"]
    assert "due now" in aegis(gateway, "retry", told.id, token=fin).output
    until(lambda: state(gateway, told.id) == "sent", "it was not sent again")
    assert [told.id] == [got.headers["x-aegis-delivery"] for got in other_side.got]
    assert "was sent" in aegis(gateway, "retry", told.id, token=fin, code=3).output
    many = [tell(gateway).id for _ in range(3)]
    assert "3 are due now" in aegis(gateway, "retry", "--dead", "--channel", "fin", token=fin).output
    until(lambda: {"sent"} == {state(gateway, each) for each in many})
    assert "nothing was given up" in aegis(gateway, "retry", "--dead", token=fin).output
    acts = [entry for entry in gateway.entries() if entry["type"] == "notification"]
    assert [("fin", "retry", [told.id]), ("fin", "retry", many)] == [
        (each["actor"], each["act"], each["deliveries"]) for each in acts
    ]


def test_a_command_used_wrongly(gateway: Gateway, staff: Staff) -> None:
    """It says what to write instead, or which role it takes, and does nothing."""
    told = tell(gateway)
    assert "there is no delivery `dlv_0`" in aegis(gateway, "show", "dlv_0", code=1).output
    assert "name a delivery, or say --dead" in aegis(gateway, "retry", code=2).output
    aegis(gateway, "retry", told.id, "--dead", code=2)
    assert "did you mean `hook`" in aegis(gateway, "test", "hok", code=1).output
    assert "token of one who is admin or finops" in aegis(gateway, "retry", told.id, code=3).output
    refused = aegis(gateway, "retry", told.id, token=staff.tokens["vi"], code=3).output
    assert "may not have notifications sent again" in refused
    assert "may not" in aegis(gateway, "test", "hook", token=staff.tokens["vi"], code=3).output
    assert "dead" == state(gateway, told.id)


def test_a_channel_is_tried_out(gateway: Gateway, staff: Staff, other_side: Receiver) -> None:
    """The message is there when the command ends; what the other side says against it is told, and no secret."""
    fin, before = staff.tokens["fin"], len(other_side.got)
    record = json.loads(aegis(gateway, "test", "hook", "--json", token=fin).output)
    (got,) = other_side.got[before:]
    assert (record["sent"][0]["id"], "test") == (got.headers["webhook-id"], got.json["type"])
    assert "fin: sent, as dlv_" in aegis(gateway, "test", "fin", token=fin).output
    other_side.first.append(Said(status=404))
    refused = aegis(gateway, "test", "fin", token=fin, code=3).output
    assert "fin: not sent: the other side answered 404" in refused
    missing = aegis(gateway, "test", "lost", token=fin, code=3).output
    assert "NOWHERE" in missing
    assert "s3cret-canary" not in refused + missing
    acts = [
        entry for entry in gateway.entries() if entry["type"] == "notification" and entry["act"] == "test"
    ]
    assert ["hook", "fin", "fin", "lost"] == [each["channel"] for each in acts]


def test_a_mail_server_is_tried_out(gateway: Gateway, staff: Staff, mailbox: Mailbox) -> None:
    """A channel for owners alone has nobody of its own: somebody is named."""
    fin = staff.tokens["fin"]
    assert "say to whom" in aegis(gateway, "test", "mail", token=fin, code=2).output
    assert (
        "leave --to out" in aegis(gateway, "test", "fin", "--to", "x@acme.example", token=fin, code=2).output
    )
    assert (
        "mail x@acme.example: sent"
        in aegis(gateway, "test", "mail", "--to", "x@acme.example", token=fin).output
    )
    assert [["x@acme.example"]] == mailbox.recipients


def test_the_doctor_says_what_was_given_up(gateway: Gateway, staff: Staff) -> None:
    """As a warning, with the command that says why; and that it is in order where nothing was."""
    del staff
    told = tell(gateway)
    environment = {"AEGIS_STORE": gateway.settings.store}
    found = CliRunner().invoke(build(), ["doctor", "--json"], env=environment)
    (notices,) = [each for each in json.loads(found.stdout)["checks"] if each["name"] == "notices"]
    assert ("warning", True) == (
        notices["state"],
        "aegis notifications --dead --tenant acme" in notices["message"],
    )
    assert told.id in aegis(gateway, "--dead").output


def test_by_the_control_api(gateway: Gateway, staff: Staff) -> None:
    """The same, for programs; who may not is told so, and what may not be read isn't there."""
    told = tell(gateway)
    fin, vi, zoe = (staff.tokens[person] for person in ("fin", "vi", "zoe"))
    listed = api(gateway, fin, "?state=dead&channel=fin&limit=1").json
    assert ("acme", [told.id]) == (listed["tenant"], [each["id"] for each in listed["notifications"]])
    shown = api(gateway, vi, f"/{told.id}").json
    assert shown == listed["notifications"][0]
    assert ("dead", REFUSED, "T") == (shown["state"], shown["last_error"], shown["made"][10])
    refusals = {
        403: api(gateway, vi, f"/{told.id}/retry", "POST"),
        404: api(gateway, zoe, f"/{told.id}/retry", "POST"),
        422: api(gateway, fin, "?state=lost"),
        401: api(gateway, "no", f"/{told.id}"),
    }
    for status, answer in refusals.items():
        assert (status, status) == (answer.status, answer.json["status"])
    assert 404 == api(gateway, zoe, f"/{told.id}").status
    assert 404 == api(gateway, zoe, "?tenant=acme").status
    assert "dead" == state(gateway, told.id)
    assert "waiting" == api(gateway, fin, f"/{told.id}/retry", "POST").json["state"]
    until(lambda: state(gateway, told.id) == "sent")
    assert 409 == api(gateway, fin, f"/{told.id}/retry", "POST").status
    manual = text_of(ask(gateway, "GET", "/api/docs", key=None))
    assert f"curl -X POST {gateway.url}/api/v1/notifications/{{notification}}/retry" in manual


def test_by_the_pages(gateway: Gateway, staff: Staff) -> None:
    """A form with its proof has one sent again; without it, from who may not, or from elsewhere, nothing is done."""
    told, other = tell(gateway), tell(gateway)
    visitors = {person: Visitor(gateway) for person in ("fin", "vi", "zoe")}
    for person, visitor in visitors.items():
        assert 303 == visitor.sign_in(staff.tokens[person]).status
    fin, vi, zoe = visitors.values()
    page = text_of(fin.get("/notifications"))
    assert (True, True, True) == (told.id in page, REFUSED in page, "Retry all" in page)
    for who, fields, status in (
        (fin, {}, 403),
        (fin, {"csrf": csrf_on(vi.get("/notifications"))}, 403),
        (vi, {"csrf": csrf_on(vi.get("/notifications"))}, 403),
        (zoe, {"csrf": csrf_on(zoe.get("/notifications"))}, 404),
    ):
        assert status == who.post(f"/notifications/{told.id}", fields).status
    assert 404 == zoe.get(f"/notifications/{told.id}").status
    assert told.id not in text_of(zoe.get("/notifications?tenant=acme"))
    assert 303 == zoe.submit("/notifications", "/notifications", tenant="acme").status
    assert ["dead", "dead"] == [state(gateway, each.id) for each in (told, other)]
    done = fin.submit("/notifications", f"/notifications/{told.id}")
    assert (303, f"/notifications/{told.id}?again=1") == (done.status, done.headers["location"])
    until(lambda: state(gateway, told.id) == "sent")
    late = fin.submit("/notifications", f"/notifications/{told.id}")
    assert (409, True) == (late.status, "was sent" in text_of(late))
    assert 303 == fin.submit("/notifications", "/notifications", tenant="acme").status
    until(lambda: state(gateway, other.id) == "sent")
    stranger = Visitor(gateway).get(f"/notifications/{told.id}")
    assert f"/sign-in?next=%2Fnotifications%2F{told.id}" == stranger.headers["location"]
