"""Messages as Slack's Block Kit has them; its models say here, offline, what Slack would refuse."""

from __future__ import annotations

from typing import Any

import msgspec
from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ContextBlock,
    HeaderBlock,
    InputBlock,
    MarkdownTextObject,
    PlainTextInputElement,
    PlainTextObject,
    SectionBlock,
)
from slack_sdk.models.views import View

from aegis_gateway.domain.message import Ask, Message

APPROVE, REFUSE, OPEN = "aegis_approve", "aegis_refuse", "aegis_open"
REASON_VIEW = "aegis_reason"
REASON_BLOCK, REASON_INPUT = "reason", "text"

_TITLE_CHARACTERS_MAX = 150
_TEXT_CHARACTERS_MAX = 2_900
_FIELD_CHARACTERS_MAX = 1_900
_FIELDS_MAX = 10
_REASON_CHARACTERS_MAX = 1_000

_SIGNS = {"plain": "", "good": "✓ ", "attention": "! ", "warning": "‼ "}


class Pressed(msgspec.Struct, frozen=True, kw_only=True):
    """What a button or a form is about, as it travels through Slack: a request, and where its message stands."""

    tenant: str
    approval: str
    channel: str = ""
    message: str = ""


def escaped(text: str) -> str:
    """Text in which nothing is a link, a mention or an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks_of(message: Message, name: str) -> list[dict[str, Any]]:
    """A message's blocks; with buttons where people's word is wanted."""
    title = f"{_SIGNS[message.tone]}{message.title}"[:_TITLE_CHARACTERS_MAX]
    blocks: list[Block] = [HeaderBlock(text=PlainTextObject(text=title, emoji=False))]
    if message.text:
        text = MarkdownTextObject(text=escaped(message.text)[:_TEXT_CHARACTERS_MAX], verbatim=True)
        blocks.append(SectionBlock(text=text))
    for first in range(0, len(message.facts), _FIELDS_MAX):
        blocks.append(
            SectionBlock(
                fields=[
                    MarkdownTextObject(
                        text=f"*{escaped(label)}*\n{escaped(value)}"[:_FIELD_CHARACTERS_MAX], verbatim=True
                    )
                    for label, value in message.facts[first : first + _FIELDS_MAX]
                ]
            )
        )
    elements = [*_buttons(message.ask), *_links(message)]
    if elements:
        blocks.append(ActionsBlock(elements=elements))
    blocks.append(ContextBlock(elements=[PlainTextObject(text=name, emoji=False)]))
    return [block.to_dict() for block in blocks]


def _buttons(ask: Ask | None) -> list[ButtonElement]:
    if ask is None:
        return []
    value = msgspec.json.encode(Pressed(tenant=ask.tenant, approval=ask.approval)).decode()
    return [
        ButtonElement(text=PlainTextObject(text="Approve"), action_id=APPROVE, value=value, style="primary"),
        ButtonElement(text=PlainTextObject(text="Refuse…"), action_id=REFUSE, value=value, style="danger"),
    ]


def _links(message: Message) -> list[ButtonElement]:
    return [
        ButtonElement(text=PlainTextObject(text=link.label), action_id=f"{OPEN}_{number}", url=link.url)
        for number, link in enumerate(message.links)
    ]


def reason_view(pressed: Pressed) -> dict[str, Any]:
    """The form that asks why something is refused."""
    view = View(
        type="modal",
        callback_id=REASON_VIEW,
        title=PlainTextObject(text="Refuse"),
        submit=PlainTextObject(text="Refuse"),
        close=PlainTextObject(text="Back"),
        private_metadata=msgspec.json.encode(pressed).decode(),
        blocks=[
            InputBlock(
                block_id=REASON_BLOCK,
                label=PlainTextObject(text="Why?"),
                element=PlainTextInputElement(
                    action_id=REASON_INPUT, multiline=True, min_length=1, max_length=_REASON_CHARACTERS_MAX
                ),
            )
        ],
    )
    return view.to_dict()
