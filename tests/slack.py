"""People in Slack: they press buttons and send forms, which Slack signs and brings to a gateway.

Payloads have the documented shapes (`block_actions`, `view_submission`), and come form-encoded.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from aegis_gateway.adapters.channels.slack_views import REASON_BLOCK, REASON_INPUT
from tests.channels import FakeSlack, buttons
from tests.gateways import Answer, Gateway, ask, until

PATH = "/slack/interactions"
PLACE = "C012AB3CD"
TOKEN = "xoxb-of-the-tests"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"

_numbers = itertools.count(1)


def channel(api: str, users: Mapping[str, str], name: str = "ops") -> str:
    """A Slack channel with a signing secret, and that it is told of approvals, as lines of a tenant's settings."""
    listed = ", ".join(f"{user}: {person}" for user, person in users.items())
    return (
        f"    channels:\n      {name}: {{kind: slack, token: env:SLACK_TOKEN, channel: {PLACE}, api: {api}/api,"
        f" network: private, signing_secret: env:SLACK_SIGNING, users: {{{listed}}}}}\n"
        f"    notify:\n      - {{what: [approval_requested, approval_escalated], to: [{name}]}}\n"
    )


ENVIRONMENT = {"SLACK_TOKEN": TOKEN, "SLACK_SIGNING": SIGNING_SECRET}


def signed(body: bytes, *, secret: str = SIGNING_SECRET, at_s: float | None = None) -> dict[str, str]:
    """The headers with which Slack sends a body."""
    timestamp = str(int(time.time() if at_s is None else at_s))
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/x-www-form-urlencoded",
        "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={digest}",
    }


class Workspace:
    """A Slack with a gateway that its app's interactivity address leads to."""

    def __init__(self, slack: FakeSlack, gateway: Gateway) -> None:
        self.slack = slack
        self.gateway = gateway

    def message(self, approval: str) -> tuple[tuple[str, str], dict[str, Any]]:
        """The message about a request, once it is there with its buttons: where, and what."""
        until(lambda: self._about(approval) is not None, "no message came to Slack")
        found = self._about(approval)
        assert found is not None
        return found

    def _about(self, approval: str) -> tuple[tuple[str, str], dict[str, Any]] | None:
        for place, message in list(self.slack.messages.items()):
            if any(f'"{approval}"' in button.get("value", "") for button in buttons(message).values()):
                return place, message
        return None

    def pressed(self, approval: str, action: str, user: str) -> bytes:
        """The body that comes when somebody presses a button of the message about a request."""
        (place, ts), message = self.message(approval)
        button = buttons(message)[action]
        pressed = {"type": "button", "block_id": "b1", "action_ts": f"{time.time():.6f}", **button}
        return self.body(
            {
                "type": "block_actions",
                "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": "T0"},
                "api_app_id": "A0",
                "token": "verification-token",
                "container": {
                    "type": "message",
                    "message_ts": ts,
                    "channel_id": place,
                    "is_ephemeral": False,
                },
                "team": {"id": "T0", "domain": "acme"},
                "enterprise": None,
                "is_enterprise_install": False,
                "channel": {"id": place, "name": "ops"},
                "message": {"type": "message", "bot_id": "B0", "ts": ts, **message},
                "state": {"values": {}},
                "response_url": "https://hooks.slack.example/actions/T0/1/x",
                "actions": [pressed],
            }
        )

    def body(self, payload: dict[str, Any]) -> bytes:
        """A payload with a trigger of its own, as it travels."""
        trigger = f"{next(_numbers)}.{time.time_ns()}.abcdef"
        self.slack.triggers.add(trigger)
        return urlencode({"payload": json.dumps({**payload, "trigger_id": trigger})}).encode()

    def press(self, approval: str, action: str, user: str) -> Answer:
        """Press a button, and answer what comes of it."""
        return self.send(self.pressed(approval, action, user))

    def form(self, approval: str, user: str) -> dict[str, Any]:
        """Press `Refuse…`, and wait for the form."""
        before = len(self.slack.views)
        assert 200 == self.press(approval, "aegis_refuse", user).status
        until(lambda: len(self.slack.views) > before, "no form was opened")
        return self.slack.views[-1]

    def submitted(self, view: dict[str, Any], reason: str | None, user: str) -> bytes:
        """The body that comes when somebody sends a form."""
        given = {"type": "plain_text_input", "value": reason}
        sent = {"id": "V1", "hash": "1.x", "state": {"values": {REASON_BLOCK: {REASON_INPUT: given}}}, **view}
        return self.body(
            {
                "type": "view_submission",
                "team": {"id": "T0", "domain": "acme"},
                "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": "T0"},
                "api_app_id": "A0",
                "token": "verification-token",
                "view": sent,
                "response_urls": [],
            }
        )

    def submit(self, view: dict[str, Any], reason: str | None, user: str) -> Answer:
        """Send a form."""
        return self.send(self.submitted(view, reason, user))

    def send(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Bring a body to the gateway, signed as Slack does unless headers say otherwise."""
        return ask(
            self.gateway, "POST", PATH, body, key=None, headers=signed(body) if headers is None else headers
        )

    def whisper(self, user: str) -> str:
        """What somebody was told that nobody else saw, which is taken away."""
        until(lambda: any(each["user"] == user for each in self.slack.whispers), f"nobody told {user}")
        found = next(each for each in self.slack.whispers if each["user"] == user)
        self.slack.whispers.remove(found)
        return str(found["text"])
