"""Which of the caller's own functions the model calls: an order in the conversation, one step an answer.

    [[call search {"query": "shoes"}]] [[call search {"query": "socks"}]] [[then pay {"amount": 12}]]

``call`` belongs to the step under way, ``then`` begins the next one; what one step calls comes in one answer. When all
was called, the model says again what came of it, so that whoever reads its last answer sees what it was told.

Rule: an order that can't be followed is refused, as any other directive: bad JSON, or a function that isn't on offer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from aegis_gateway.demo.upstream.directives import DirectiveError
from aegis_gateway.demo.upstream.wire import encode

MARK = b"[[call "
"""What a request's body has if there is an order in it: the others need not be looked through."""

_ORDER = re.compile(r"\[\[(call|then) +([A-Za-z0-9_.-]+)\s*")
_END = re.compile(r"\s*\]\]")
_decoder = json.JSONDecoder()


class Said(msgspec.Struct, frozen=True, gc=False):
    """A message of the conversation. An assistant's that only calls functions isn't one."""

    role: Literal["user", "assistant"]
    text: str


class Called(msgspec.Struct, frozen=True, gc=False):
    """So many functions that were called in one answer."""

    count: int


class Came(msgspec.Struct, frozen=True, gc=False):
    """What came of one call."""

    text: str


Event = Said | Called | Came


class FunctionCall(msgspec.Struct, frozen=True, gc=False):
    """A call of one of the caller's functions; ``arguments`` are JSON."""

    name: str
    arguments: str


class Turn(msgspec.Struct, frozen=True, gc=False):
    """What the model does next: it calls, or else it says something."""

    calls: tuple[FunctionCall, ...] = ()
    text: str = ""


def scripted(events: Sequence[Event], functions: Collection[str]) -> Turn | None:
    """The next step of the script in the last user's message, or None where there is none.

    ``functions`` are on offer. Raises ``DirectiveError`` for an order that can't be followed.
    """
    called, came = 0, []
    for event in reversed(events):
        if isinstance(event, Called):
            called += event.count
        elif isinstance(event, Came):
            came.append(event.text)
        elif event.role == "assistant":
            return None
        # Some callers say something of their own, as a user, between a call's result and the next answer.
        elif steps := _steps(event.text):
            return _next(steps, called, came[::-1], functions)
    return None


def _next(steps: list[list[FunctionCall]], called: int, came: list[str], functions: Collection[str]) -> Turn:
    for step in steps:
        if called <= 0:
            for call in step:
                if call.name not in functions:
                    offered = ", ".join(f"`{name}`" for name in sorted(functions)) or "none"
                    raise DirectiveError(f"can't call `{call.name}`: the functions on offer are {offered}")
            return Turn(calls=tuple(step))
        called -= len(step)
    return Turn(text="I was told: " + " | ".join(came))


def _steps(text: str) -> list[list[FunctionCall]]:
    """The orders of a text."""
    steps: list[list[FunctionCall]] = []
    place = 0
    while match := _ORDER.search(text, place):
        try:
            arguments, place = _decoder.raw_decode(text, match.end())
        except ValueError:
            raise _unclear(text, match) from None
        end = _END.match(text, place)
        if end is None or not isinstance(arguments, dict):
            raise _unclear(text, match)
        place = end.end()
        if match[1] == "then" or not steps:
            steps.append([])
        steps[-1].append(FunctionCall(name=match[2], arguments=encode(arguments).decode()))
    return steps


def _unclear(text: str, match: re.Match[str]) -> DirectiveError:
    order = text[match.start() : match.end() + 60]
    return DirectiveError(f'can\'t follow `{order}`: write it as `[[call NAME {{"argument": "value"}}]]`')
