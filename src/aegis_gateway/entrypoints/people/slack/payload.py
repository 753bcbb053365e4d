"""What Slack sends when somebody presses a button or sends a form, as far as it is looked at.

Rule: a payload says whose signature it has to have, and is believed in nothing before that one is checked.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import parse_qsl

import msgspec

from aegis_gateway.adapters.channels.slack_blocks import APPROVE, OPEN, REFUSE, Pressed
from aegis_gateway.adapters.channels.slack_views import REASON_BLOCK, REASON_INPUT, REASON_VIEW
from aegis_gateway.domain.errors import CallError

BODY_BYTES_MAX = 256 * 1024
"""Slack sends the message along whose button was pressed; ours are a few kilobytes."""

_FIELDS_MAX = 8
_USER = re.compile(r"[UW][A-Z0-9]{2,31}")
_NAME_CHARACTERS_MAX = 128

Asked = Literal["grant", "form", "refuse", "nothing"]
"""What somebody wants done: say yes, be shown the form for a no, say no, or nothing (a link was followed)."""

_ASKED: dict[str, Asked] = {APPROVE: "grant", REFUSE: "form"}

Name = Annotated[str, msgspec.Meta(max_length=_NAME_CHARACTERS_MAX)]


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """One of them: by which of Slack's users, in which of its channels (`place`).

    `trigger` is Slack's name for it, which no other has.
    """

    asked: Asked
    about: Pressed
    user: str
    place: str
    trigger: str
    reason: str = ""


class _Named(msgspec.Struct, frozen=True):
    id: Name


class _Action(msgspec.Struct, frozen=True):
    action_id: Name
    value: str = ""


class _Given(msgspec.Struct, frozen=True):
    value: str | None = None


class _State(msgspec.Struct, frozen=True):
    values: dict[str, dict[str, _Given]] = {}


class _View(msgspec.Struct, frozen=True):
    callback_id: str = ""
    private_metadata: str = ""
    state: _State = _State()


class _Payload(msgspec.Struct, frozen=True):
    type: str
    user: _Named
    trigger_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    channel: _Named | None = None
    actions: tuple[_Action, ...] = ()
    view: _View | None = None


_payload_decoder = msgspec.json.Decoder(_Payload)
_pressed_decoder = msgspec.json.Decoder(Pressed)


def interaction_of(body: bytes) -> Interaction:
    """Read a request's body.

    Raises:
        CallError: it is none of what Aegis's messages and forms have Slack send.
    """
    try:
        fields = dict(parse_qsl(body.decode(), max_num_fields=_FIELDS_MAX))
        payload = _payload_decoder.decode(fields.get("payload", ""))
        found = _pressed(payload) if payload.view is None else _sent(payload, payload.view)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise CallError("the body is no interaction with a message of Aegis's") from None
    names = (found.about.tenant, found.about.channel, found.about.approval, found.about.place)
    if not _USER.fullmatch(found.user) or any(len(name) > _NAME_CHARACTERS_MAX for name in names):
        raise CallError("the body has names that are none")
    return found


def _pressed(payload: _Payload) -> Interaction:
    if payload.type != "block_actions" or len(payload.actions) != 1:
        raise ValueError
    action = payload.actions[0]
    asked = "nothing" if action.action_id.startswith(OPEN) else _ASKED.get(action.action_id)
    if asked is None:
        raise ValueError
    return Interaction(
        asked=asked,
        about=_pressed_decoder.decode(action.value),
        user=payload.user.id,
        place=payload.channel.id if payload.channel is not None else "",
        trigger=payload.trigger_id,
    )


def _sent(payload: _Payload, view: _View) -> Interaction:
    if payload.type != "view_submission" or view.callback_id != REASON_VIEW:
        raise ValueError
    about = _pressed_decoder.decode(view.private_metadata)
    given = view.state.values.get(REASON_BLOCK, {}).get(REASON_INPUT, _Given()).value
    return Interaction(
        asked="refuse",
        about=about,
        user=payload.user.id,
        place=about.place,
        trigger=payload.trigger_id,
        reason=(given or "").strip(),
    )
