"""Messages as Slack's Block Kit has them; its models say here, offline, what Slack would refuse."""

from __future__ import annotations

from typing import Any

from slack_sdk.models.blocks import (
    ActionsBlock,
    Block,
    ButtonElement,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from aegis_gateway.domain.message import Message

OPEN = "aegis_open"

_TITLE_CHARACTERS_MAX = 150
_TEXT_CHARACTERS_MAX = 2_900
_FIELD_CHARACTERS_MAX = 1_900
_FIELDS_MAX = 10

_SIGNS = {"plain": "", "good": "✓ ", "attention": "! ", "warning": "‼ "}


def escaped(text: str) -> str:
    """Text in which nothing is a link, a mention or an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks_of(message: Message, name: str) -> list[dict[str, Any]]:
    """A message's blocks; with a button for each link: people answer on the page."""
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
    elements = _links(message)
    if elements:
        blocks.append(ActionsBlock(elements=elements))
    blocks.append(ContextBlock(elements=[PlainTextObject(text=name, emoji=False)]))
    return [block.to_dict() for block in blocks]


def _links(message: Message) -> list[ButtonElement]:
    return [
        ButtonElement(text=PlainTextObject(text=link.label), action_id=f"{OPEN}_{number}", url=link.url)
        for number, link in enumerate(message.links)
    ]
