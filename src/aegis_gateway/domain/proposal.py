"""Changes that want a second person: proposed and then approved or refused, or done at once and reviewed later.

Rule 1: `ANSWERS` is all that can become of one; each is answered once, by somebody who certainly isn't its author.
Rule 2: what is approved is, to the byte, what was proposed, on what it was proposed on.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from aegis_gateway.domain.config_version import Canary

State = Literal["open", "approved", "refused", "unreviewed", "reviewed"]
AnswerKind = Literal["approve", "refuse", "review"]

ANSWERS: dict[tuple[State, AnswerKind], State] = {
    ("open", "approve"): "approved",
    ("open", "refuse"): "refused",
    ("unreviewed", "review"): "reviewed",
}

WAITING: tuple[State, ...] = ("open", "unreviewed")

_encode = msgspec.json.Encoder(order="sorted").encode


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a configuration is put in force: as going back to a version, for a canary's agents, as the end of one; and
    whether it `stays`, and is not taken back by itself.
    """

    back_to: int | None = None
    canary: Canary | None = None
    ends: int | None = None
    stays: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What another person said, why, and which version it came to, if it did."""

    kind: AnswerKind
    by: str
    at_ns: int
    note: str = ""
    version: int | None = None


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A change by one person that wants another's word.

    `files` are the configuration (empty where they were not read), `based_on` the version that was in force, `tenants`
    those where two people are needed, `reasons` what widens there, `behind` everybody whose word the author's can be.
    `emergency` is the version that was put in force at once, without waiting for the other.
    """

    number: int
    author: str
    behind: tuple[str, ...]
    proposed_ns: int
    based_on: int
    tenants: tuple[str, ...]
    reasons: tuple[str, ...]
    digest: str
    files: dict[str, str] = {}
    note: str = ""
    manner: Manner = Manner()
    emergency: int | None = None
    answer: Answer | None = None

    @property
    def state(self) -> State:
        """How far it is."""
        first: State = "open" if self.emergency is None else "unreviewed"
        return first if self.answer is None else ANSWERS[first, self.answer.kind]


def files_digest(files: dict[str, str]) -> str:
    """SHA-256 of a configuration's files, as of `ConfigVersion.digest`; hexadecimal."""
    return hashlib.sha256(_encode(files)).hexdigest()
