"""What each client of the tests does at the bank, and how it tells.

A client is given its address, key and the prefix of the tools' names in its environment, does all of it in one
connection, and prints what came of it as JSON, under these names:

`tools` their names · `search` the text, and `meta` what came with it · `refused` what a refused transfer came to ·
`progress` the steps that were reported · `asked` what was asked, and `confirmed` what came of it · `resource` and
`prompt` their texts
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable
from typing import Any

URL = os.environ["MCP_URL"]
KEY = os.environ["MCP_KEY"]
PREFIX = os.environ.get("MCP_PREFIX", "")
HEADERS = {"Authorization": f"Bearer {KEY}"}

SEARCH = {"query": "loans", "limit": 3}
TOO_MUCH = {"amount": 6000, "to": "mallory"}
QUESTION = "shall I?"
PROMPT = "brief"
TOPIC = {"topic": "rates"}


def tool(name: str) -> str:
    """A tool's name, where several servers are one."""
    return f"{PREFIX}{name}"


def text_of(result: Any) -> str:
    """The texts of a result, in the form of this client or of that one."""
    if isinstance(result.content, str):
        return result.content
    return "".join(each["text"] if isinstance(each, dict) else each.text for each in result.content)


async def confirmed(call: Awaitable[Any]) -> str:
    """What came of a call that asks: its text, or the words of the error that the client raises."""
    try:
        result = await call
    except Exception as error:  # whatever it raises, its words are what is told
        return str(error)
    return text_of(result)


def tell(told: dict[str, Any]) -> None:
    """Print what came of it all."""
    print(json.dumps(told))
