"""Forms in Slack: the one that asks why something is refused, and what is shown in its place afterwards."""

from __future__ import annotations

from typing import Any

from slack_sdk.models.blocks import (
    InputBlock,
    MarkdownTextObject,
    PlainTextInputElement,
    PlainTextObject,
    SectionBlock,
)
from slack_sdk.models.views import View

from aegis_gateway.adapters.channels.slack_blocks import Pressed, escaped
from aegis_gateway.application.recording import REASON_CHARACTERS_MAX

REASON_VIEW = "aegis_reason"
REASON_BLOCK, REASON_INPUT = "reason", "text"

_TEXT_CHARACTERS_MAX = 2_900


def reason_view(pressed: Pressed) -> dict[str, Any]:
    """The form that asks why something is refused."""
    view = View(
        type="modal",
        callback_id=REASON_VIEW,
        title=PlainTextObject(text="Refuse"),
        submit=PlainTextObject(text="Refuse"),
        close=PlainTextObject(text="Back"),
        private_metadata=pressed.text(),
        blocks=[
            _section(f"Request `{pressed.approval}`. Whoever asked is told why."),
            InputBlock(
                block_id=REASON_BLOCK,
                label=PlainTextObject(text="Why?"),
                element=PlainTextInputElement(
                    action_id=REASON_INPUT, multiline=True, min_length=1, max_length=REASON_CHARACTERS_MAX
                ),
            ),
        ],
    )
    return dict(view.to_dict())


def telling_view(words: str) -> dict[str, Any]:
    """What is shown in the form's place when the answer was not taken."""
    view = View(
        type="modal",
        title=PlainTextObject(text="Not taken"),
        close=PlainTextObject(text="Close"),
        blocks=[_section(escaped(words)[:_TEXT_CHARACTERS_MAX])],
    )
    return dict(view.to_dict())


def _section(text: str) -> SectionBlock:
    return SectionBlock(text=MarkdownTextObject(text=text, verbatim=True))
