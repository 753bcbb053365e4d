"""Each kind of channel against a server that keeps to its published shape: what it takes, and how it fails."""

from __future__ import annotations

import contextlib
import email
import email.policy
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec
import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from standardwebhooks import Webhook, WebhookVerificationError

from aegis_gateway.adapters.channels.mail import MailChannel
from aegis_gateway.adapters.channels.opening import open_channel
from aegis_gateway.adapters.clock import SystemClock
from aegis_gateway.domain.channel import SLACK_API, Channel, Target
from aegis_gateway.domain.delivery import Delivery, NotSent, Sent, delivery_of
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.message import Ask, Link, Message
from tests.channels import FakeSlack, Mailbox, Receiver, Said, buttons, mail_server, receiver

SECOND_NS = 1_000_000_000
TOKEN = "xoxb-of-the-tests"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = Message(
    title="Approval wanted: pay <everybody>",
    text="ana approved: it is *fine* & <!channel>",
    tone="attention",
    facts=(
        ("cost", "$12.50"),
        ("about", "[click](https://evil.example)"),
        *((f"n{i}", "v") for i in range(12)),
    ),
    links=(Link(label="Open the request", url="https://aegis.example/approvals/acme/apr_1"),),
    ask=Ask(tenant="acme", approval="apr_1"),
    tenant="acme",
    at_ns=1_795_435_200 * SECOND_NS,
    data={"subject": "approval:apr_1", "cost_nano_usd": "12500000000"},
)
DELIVERY = delivery_of(
    tenant="acme",
    sequence=7,
    kind="approval_requested",
    subject="approval:apr_1",
    target=Target(channel="ops", recipient="ana@acme.example"),
    message=MESSAGE,
    made_ns=1,
)


class Known:
    """Secrets by their references."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets

    def resolve(self, reference: str) -> str:
        """The value."""
        if reference not in self._secrets:
            raise ConfigurationError(f"`{reference}` is not set")
        return self._secrets[reference]


def send(
    channel: Channel, secrets: Mapping[str, str], before: tuple[str, ...] = (), delivery: Delivery = DELIVERY
) -> Sent | NotSent:
    """Send a message by a channel as the steward does."""
    return open_channel(channel, Known(secrets), SystemClock()).send(delivery, before)


def webhook(url: str) -> Channel:
    """A receiver of webhooks on this machine."""
    return Channel(id="hook", kind="webhook", address=url, secret="env:HOOK", network="private")


# -- webhooks ------------------------------------------------------------------------------------------------


def test_a_webhook_is_verified_by_the_standards_own_library() -> None:
    """Its signature counts, for this id and body alone; and it has the facts for people and for programs."""
    with receiver() as hook:
        assert Sent() == send(webhook(f"{hook.url}/aegis?team=fin"), {"env:HOOK": SECRET})
    (got,) = hook.got
    assert "/aegis?team=fin" == got.path
    told = Webhook(SECRET).verify(got.body, got.headers)
    assert ("approval_requested", "acme", "12500000000") == (
        told["type"],
        told["data"]["tenant"],
        told["data"]["details"]["cost_nano_usd"],
    )
    assert DELIVERY.id == got.headers["webhook-id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body.replace(b"12500000000", b"1"), got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.body, {**got.headers, "webhook-id": "dlv_other"})


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (Said(status=204), Sent()),
        (Said(status=500), NotSent(fault="the other side answered 500")),
        (Said(status=400), NotSent(fault="the other side answered 400", is_final=True)),
        (
            Said(status=302, headers={"location": "http://169.254.169.254/"}),
            NotSent(fault="the other side answered 302", is_final=True),
        ),
        (
            Said(status=429, headers={"retry-after": "17"}),
            NotSent(fault="the other side answered 429", retry_after_ns=17 * SECOND_NS),
        ),
        (Said(status=503, headers={"retry-after": "soon"}), NotSent(fault="the other side answered 503")),
        (Said(hangs_up=True), NotSent(fault="the other side closed the connection without an answer")),
    ],
)  # fmt: skip
def test_what_a_receiver_answers(said: Said, outcome: Sent | NotSent) -> None:
    """It is taken, or will be later, or never; a redirect is not followed."""
    with receiver() as hook:
        hook.first.append(said)
        assert outcome == send(webhook(hook.url), {"env:HOOK": SECRET})
    assert 1 == len(hook.got)


def test_what_can_not_be_reached() -> None:
    """Nobody listens; or the name leads into the operator's own network, which the channel may not."""
    with receiver() as hook:
        pass
    down = send(webhook(hook.url), {"env:HOOK": SECRET})
    assert NotSent(fault="the other side cannot be reached; nothing was sent") == down
    metadata = Channel(id="hook", kind="webhook", address="http://169.254.169.254/", secret="env:HOOK")
    told = send(metadata, {"env:HOOK": SECRET})
    assert isinstance(told, NotSent)
    assert "is an address that no upstream has" in told.fault


def test_a_secret_that_is_none() -> None:
    """One that isn't set is told by its reference, one that isn't a webhook's by what it should look like."""
    with pytest.raises(ConfigurationError, match="env:HOOK"):
        send(webhook("http://127.0.0.1:1"), {})
    told = send(webhook("http://127.0.0.1:1"), {"env:HOOK": "hunter2"})
    assert isinstance(told, NotSent)
    assert told.is_final
    assert "hunter2" not in told.fault


# -- Slack ---------------------------------------------------------------------------------------------------


@pytest.fixture
def slack() -> Iterator[tuple[FakeSlack, Receiver]]:
    """Slack's Web API, and the server it is on."""
    fake = FakeSlack(TOKEN)
    with receiver(fake) as server:
        yield fake, server


def ops(server: Receiver, place: str = "C012", secret: str = "") -> Channel:
    """A channel in that Slack; without a secret nothing that is pressed there is heard."""
    return Channel(
        id="ops",
        kind="slack",
        address=f"{server.url}/api",
        credential="env:SLACK",
        place=place,
        secret=secret,
        network="private",
    )


def test_a_message_in_slack(slack: tuple[FakeSlack, Receiver]) -> None:
    """It is posted with a button to the page, and nothing in it is a mention or a link that Slack makes of it."""
    fake, server = slack
    sent = send(ops(server), {"env:SLACK": TOKEN})
    assert isinstance(sent, Sent)
    ((place, message),) = fake.messages.items()
    assert "/".join(place) == sent.reference
    assert {"aegis_open_0"} == buttons(message).keys()
    texts = str(message["blocks"])
    assert "&lt;!channel&gt;" in texts
    assert "<!channel>" not in texts
    assert {"id": DELIVERY.id} == message["metadata"]["event_payload"]


def test_buttons_only_where_they_are_heard(slack: tuple[FakeSlack, Receiver]) -> None:
    """With a signing secret, and only while somebody's word is wanted; a yes is asked for once more."""
    fake, server = slack
    heard = ops(server, secret="env:SIGNING")
    sent = send(heard, {"env:SLACK": TOKEN})
    assert isinstance(sent, Sent)
    ((_, message),) = fake.messages.items()
    found = buttons(message)
    assert ["aegis_approve", "aegis_refuse", "aegis_open_0"] == list(found)
    about = '{"tenant":"acme","channel":"ops","approval":"apr_1"}'
    assert [about, about] == [found[name]["value"] for name in ("aegis_approve", "aegis_refuse")]
    assert (True, False) == ("confirm" in found["aegis_approve"], "confirm" in found["aegis_refuse"])
    long = msgspec.structs.replace(MESSAGE, data={"kind": "call", "requester": "bot", "about": "x" * 2_000})
    assert isinstance(
        send(heard, {"env:SLACK": TOKEN}, (), msgspec.structs.replace(DELIVERY, message=long)), Sent
    )
    told = msgspec.structs.replace(MESSAGE, ask=None, links=())
    send(heard, {"env:SLACK": TOKEN}, (sent.reference,), msgspec.structs.replace(DELIVERY, message=told))
    assert {} == buttons(next(iter(fake.messages.values())))


def test_what_comes_later_takes_its_place(slack: tuple[FakeSlack, Receiver]) -> None:
    """The message is changed, without buttons; one that is gone is posted anew."""
    fake, server = slack
    sent = send(ops(server), {"env:SLACK": TOKEN})
    assert isinstance(sent, Sent)
    decided = delivery_of(
        tenant="acme",
        sequence=8,
        kind="approval_decided",
        subject="approval:apr_1",
        target=Target(channel="ops"),
        message=Message(title="Approval granted: pay", tone="good"),
        made_ns=2,
    )
    assert sent == send(ops(server), {"env:SLACK": TOKEN}, (sent.reference,), decided)
    ((_, message),) = fake.messages.items()
    assert {} == buttons(message)
    fake.messages.clear()
    assert isinstance(send(ops(server), {"env:SLACK": TOKEN}, (sent.reference,), decided), Sent)
    assert ["chat.postMessage", "chat.update", "chat.update", "chat.postMessage"] == fake.calls
    escalated = [send(ops(server), {"env:SLACK": TOKEN}) for _ in range(3)]
    places = [each.reference for each in escalated if isinstance(each, Sent)]
    fake.messages.pop(tuple(places[2].split("/")))  # type: ignore[arg-type]  # a channel and a time
    assert escalated[1] == send(ops(server), {"env:SLACK": TOKEN}, tuple(reversed(places)), decided)
    assert [decided.message.title] * 3 == [each["text"] for each in fake.messages.values()]


def test_what_slack_refuses(slack: tuple[FakeSlack, Receiver]) -> None:
    """What it will never take is final, with its own word for it; being too fast isn't."""
    fake, server = slack
    never = NotSent(fault="Slack refused it: `channel_not_found`", is_final=True)
    assert never == send(ops(server, "general"), {"env:SLACK": TOKEN})
    assert NotSent(fault="Slack refused it: `invalid_auth`", is_final=True) == send(
        ops(server), {"env:SLACK": "x"}
    )
    fake.ratelimited_for_s = 30
    later = send(ops(server), {"env:SLACK": TOKEN})
    assert NotSent(fault="the other side answered 429", retry_after_ns=30 * SECOND_NS) == later
    server.first.append(Said(body=b"<html>"))
    assert NotSent(fault="the other side's answer isn't Slack's") == send(ops(server), {"env:SLACK": TOKEN})


def test_the_official_client_finds_this_slack_like_the_other(slack: tuple[FakeSlack, Receiver]) -> None:
    """What the tests call Slack answers Slack's own client as that expects it."""
    _, server = slack
    client = WebClient(token=TOKEN, base_url=f"{server.url}/api/")
    posted = client.chat_postMessage(channel="C012", text="x", blocks=[{"type": "divider"}])
    changed = client.chat_update(
        channel=posted["channel"], ts=posted["ts"], text="y", blocks=[{"type": "divider"}]
    )
    assert (True, posted["ts"]) == (changed["ok"], changed["ts"])
    with pytest.raises(SlackApiError, match="channel_not_found"):
        client.chat_postMessage(channel="general", text="x", blocks=[])
    assert "https://slack.com/api" == SLACK_API


# -- Teams ---------------------------------------------------------------------------------------------------


def test_a_card_in_teams() -> None:
    """A message with one Adaptive Card, whose only actions lead to pages; the address is a secret."""
    with receiver(lambda _got: Said(status=202)) as workflow:
        teams = Channel(id="fin", kind="teams", credential="env:TEAMS", network="private")
        assert Sent() == send(teams, {"env:TEAMS": f"{workflow.url}/workflows/x?sig=secret"})
        workflow.first.append(Said(status=400))
        refused = send(teams, {"env:TEAMS": f"{workflow.url}/workflows/x?sig=secret"})
        assert NotSent(fault="the other side answered 400", is_final=True) == refused
    (attachment,) = workflow.got[0].json["attachments"]
    assert "application/vnd.microsoft.card.adaptive" == attachment["contentType"]
    card = attachment["content"]
    assert ["Action.OpenUrl"] == [action["type"] for action in card["actions"]]
    facts = next(element for element in card["body"] if element["type"] == "FactSet")["facts"]
    assert "\\[click\\](https://evil.example)" == facts[1]["value"]


# -- e-mail --------------------------------------------------------------------------------------------------


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate of 127.0.0.1: the server's side, and that of whoever trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "mail.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    trusting = ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())
    return server, trusting


def mail_channel(address: str, *, credential: str = "", network: str = "private") -> Channel:
    """A mail server on this machine."""
    return Channel(
        id="mail",
        kind="email",
        address=address,
        credential=credential,
        sender="aegis@acme.example",
        network="private" if network == "private" else "public",
    )


def test_a_mail(tmp_path: Path) -> None:
    """Text and HTML, to one recipient, after STARTTLS and with a password; what it says is escaped."""
    mailbox = Mailbox()
    ours, theirs = certificate(tmp_path)
    login = []

    def authenticate(
        _server: object, _session: object, _envelope: object, _how: str, data: object
    ) -> AuthResult:
        found = cast(LoginPassword, data)
        login.append((found.login, found.password))
        return AuthResult(success=found.password == b"let me", handled=False)

    settings = {
        "tls_context": ours,
        "authenticator": authenticate,
        "auth_required": True,
        "require_starttls": True,
    }
    with mail_server(mailbox, **settings) as address:
        channel = mail_channel(address, credential="env:MAIL")
        sent = MailChannel(channel, Known({"env:MAIL": "aegis:let me"}), theirs).send(DELIVERY, ())
        wrong = MailChannel(channel, Known({"env:MAIL": "aegis:no"}), theirs).send(DELIVERY, ())
        stranger = MailChannel(channel, Known({"env:MAIL": "aegis:let me"})).send(DELIVERY, ())
    assert Sent() == sent
    assert isinstance(wrong, NotSent)
    assert wrong.is_final
    assert isinstance(stranger, NotSent)
    assert "certificate" in stranger.fault
    assert [["ana@acme.example"]] == mailbox.recipients
    mail = email.message_from_bytes(mailbox.mails[0], policy=email.policy.default)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert ("Approval wanted: pay <everybody>", f"<{DELIVERY.id}@acme.example>") == (
        mail["subject"],
        mail["message-id"],
    )
    assert "cost: $12.50" in text.get_content()
    assert "pay &lt;everybody&gt;" in html.get_content()


def test_a_mail_server_without_tls() -> None:
    """It gets nothing, but on the operator's own network, and never a password."""
    mailbox = Mailbox()
    with mail_server(mailbox) as address:
        local = MailChannel(mail_channel(address), Known({})).send(DELIVERY, ())
        with_password = MailChannel(
            mail_channel(address, credential="env:MAIL"), Known({"env:MAIL": "a:b"})
        ).send(DELIVERY, ())
        public = MailChannel(mail_channel(address, network="public"), Known({})).send(DELIVERY, ())
    refused = NotSent(fault="the mail server takes no STARTTLS; nothing was sent", is_final=True)
    assert [Sent(), refused, refused] == [local, with_password, public]
    assert 1 == len(mailbox.mails)


def test_a_mail_server_that_never_ends_its_answer() -> None:
    """It is left after a while, though each byte of it comes in time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while not left.wait(0.02):
                    connection.sendall(b"2")

        server = threading.Thread(target=drip)
        server.start()
        address = f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        outcome = MailChannel(mail_channel(address), Known({}), total_s=0.2).send(DELIVERY, ())
        left.set()
        server.join()
    assert isinstance(outcome, NotSent)
    assert not outcome.is_final, "half an answer says nothing for good"


def test_what_a_mail_server_refuses() -> None:
    """For now, or for good; or it isn't there."""
    mailbox = Mailbox()
    with mail_server(mailbox) as address:
        channel = MailChannel(mail_channel(address), Known({}))
        mailbox.refuses["ana@acme.example"] = "450 busy"
        assert NotSent(fault="the mail server answered 450: busy") == channel.send(DELIVERY, ())
        mailbox.refuses["ana@acme.example"] = "550 no such person"
        gone = NotSent(fault="the mail server answered 550: no such person", is_final=True)
        assert gone == channel.send(DELIVERY, ())
    down = NotSent(fault="the connection to the mail server failed, or broke off")
    assert down == MailChannel(mail_channel(address), Known({})).send(DELIVERY, ())
