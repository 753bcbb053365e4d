"""Reviews: somebody says what came of looking, and when to look again.

Rule: a review stands in the record, with whoever made it, and is never changed; the last one says when the next is due.
"""

from __future__ import annotations

from aegis_gateway.application.operators import Caller, Operators
from aegis_gateway.application.ports import RegistryStore
from aegis_gateway.application.recording import RegistryRecording
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.review import NOTE_CHARACTERS_MAX, QUARTER_NS, REVIEW, Review

NEXT_NS_MAX = 2 * 366 * 86_400 * 1_000_000_000
"""A review that is due in more than two years is none."""


class Reviews:
    """The use cases, in the name of one caller."""

    def __init__(self, store: RegistryStore, pepper: bytes, caller: Caller) -> None:
        """`pepper` is the installation's secret that tokens are hashed under."""
        self._operators = Operators(store, pepper, caller)
        self._via = caller.via

    def record(self, tenant: str, note: str, next_ns: int | None = None) -> Review:
        """Record a review of a tenant; the next one is due at `next_ns`, or else in a quarter.

        Raises:
            ConfigurationError: nothing is said of what came of it, or the next one isn't to come.
            NotPermitted: who calls may not.
        """
        words = " ".join(note.split())[:NOTE_CHARACTERS_MAX]
        if not words:
            raise ConfigurationError("say what was looked at and what was decided; give a note")
        with self._operators.act("review", [tenant]) as act:
            act.require([tenant])
            recording = RegistryRecording(act.change, act.operator.name)
            now_ns = recording.now_ns(tenant)
            due_ns = now_ns + QUARTER_NS if next_ns is None else next_ns
            if not now_ns < due_ns <= now_ns + NEXT_NS_MAX:
                raise ConfigurationError("the next review has to be to come, within two years")
            sequence = recording.enter(
                tenant,
                None,
                REVIEW,
                {"act": "review", "note": words, "next_ns": str(due_ns), "via": self._via},
            )
        return Review(sequence=sequence, at_ns=now_ns, by=act.operator.name, note=words, next_ns=due_ns)
