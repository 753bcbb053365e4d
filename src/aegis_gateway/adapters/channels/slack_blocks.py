"""Messages as Slack's Block Kit has them; its models say here, offline, what Slack would refuse.

Rule: buttons that answer are only where they can be heard (the channel has a signing secret) and somebody's word is
      wanted. What they carry names what they are about, and proves nothing by itself.
"""

from __future__ import annotations

from typing import Any

import msgspec
from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ConfirmObject,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from aegis_gateway.domain.message import Message

OPEN, APPROVE, REFUSE = "aegis_open", "aegis_approve", "aegis_refuse"

_TITLE_CHARACTERS_MAX = 150
_TEXT_CHARACTERS_MAX = 2_900
_FIELD_CHARACTERS_MAX = 1_900
_FIELDS_MAX = 10
_CONFIRMATION_CHARACTERS_MAX = 290

_SIGNS = {"plain": "", "good": "✓ ", "attention": "! ", "warning": "‼ "}


class Pressed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a button or a form is about, as it travels through Slack.

    The channel of a tenant, as the configuration calls it, and a request; `place` is Slack's own id of the channel
    where a form was opened.
    """

    tenant: str
    channel: str
    approval: str = ""
    place: str = ""

    def text(self) -> str:
        """As it travels."""
        return msgspec.json.encode(self).decode()


def escaped(text: str) -> str:
    """Text in which nothing is a link, a mention or an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks_of(message: Message, name: str, channel: str = "") -> list[dict[str, Any]]:
    """A message's blocks, with a button for each link.

    `channel` is the one that it goes to, if what people press there is heard: then those who are asked can answer.
    """
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
    elements = [*_answers(message, channel), *_links(message, channel)]
    if elements:
        blocks.append(ActionsBlock(elements=elements))
    blocks.append(ContextBlock(elements=[PlainTextObject(text=name, emoji=False)]))
    return [block.to_dict() for block in blocks]


def _answers(message: Message, channel: str) -> list[ButtonElement]:
    if message.ask is None or not channel:
        return []
    value = Pressed(tenant=message.ask.tenant, channel=channel, approval=message.ask.approval).text()
    yes = ButtonElement(
        text=PlainTextObject(text="Approve"),
        action_id=APPROVE,
        value=value,
        style="primary",
        confirm=_confirmation(message),
    )
    no = ButtonElement(text=PlainTextObject(text="Refuse…"), action_id=REFUSE, value=value, style="danger")
    return [yes, no]


def _confirmation(message: Message) -> ConfirmObject:
    what = (
        "Exactly this call goes through, once."
        if message.data.get("kind") == "call"
        else "It is in force at once."
    )
    asks = f"{message.data.get('requester', 'Somebody')} asks for {message.data.get('about', 'it')}"
    return ConfirmObject(
        title=PlainTextObject(text="Approve this?"),
        text=PlainTextObject(text=f"{asks[: _CONFIRMATION_CHARACTERS_MAX - len(what) - 2]}. {what}"),
        confirm=PlainTextObject(text="Approve"),
        deny=PlainTextObject(text="Back"),
    )


def _links(message: Message, channel: str) -> list[ButtonElement]:
    # Slack tells of links that are followed, too.
    value = Pressed(tenant=message.tenant, channel=channel).text() if channel else None
    return [
        ButtonElement(
            text=PlainTextObject(text=link.label), action_id=f"{OPEN}_{number}", url=link.url, value=value
        )
        for number, link in enumerate(message.links)
    ]
