"""The shape of a rule as people write it: who, what, when, effect, message.

What stands in `when` depends on the tools that the rule is about, so it is read when the rule is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from aegis_gateway.configuration import references, values
from aegis_gateway.configuration.document import Entry, LimitMode, ModelId, PositiveAmount, Text, Tokens
from aegis_gateway.domain.redaction import KINDS, SIDES
from aegis_gateway.domain.registry import CONNECTOR_KINDS

EFFECTS: dict[str, tuple[str, ...]] = {
    "allow": (),
    "deny": (),
    "require_approval": ("approvers",),
    "downgrade": ("model",),
    "cap": ("max_output_tokens", "max_cost_usd"),
    "throttle": ("limit", "every", "per"),
    "redact": ("kinds", "fields", "in"),
}
"""What rules do, and the settings that each effect may have. In Cedar each is an annotation of the same name."""
NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "downgrade": (("model",),),
    "cap": (("max_output_tokens", "max_cost_usd"),),
    "throttle": (("limit",), ("every",)),
    "redact": (("kinds", "fields"),),
}
"""The settings that an effect can't do without; of each group one is enough."""

EFFECT_SETTINGS = tuple(dict.fromkeys(setting for settings in EFFECTS.values() for setting in settings))


def _reference(kind: str, called: str | None = None) -> Callable[..., tuple[str, ...]]:
    return values.some(references.reference(kind, called), with_context=True)


def _duration_text(value: object) -> str:
    values.duration(value)
    return str(value)


Texts = Annotated[tuple[str, ...], PlainValidator(values.some(values.text))]
Ids = Annotated[tuple[str, ...], PlainValidator(values.some(values.identifier))]


class WhoEntry(Entry):
    """Whose calls a rule is about: all that is named must agree; of a list, one. Agents may be imported ones."""

    tenant: Annotated[
        tuple[str, ...], PlainValidator(values.some(references.own_tenant, with_context=True))
    ] = ()
    team: Annotated[tuple[str, ...], PlainValidator(_reference("team"))] = ()
    project: Annotated[tuple[str, ...], PlainValidator(_reference("project"))] = ()
    agent: Ids = ()
    owner: Texts = ()
    cost_centre: Texts = ()
    purpose: Texts = ()
    role: Texts = ()
    environment: Ids = ()
    tags: dict[Text, Texts] = Field(default={})


class WhatEntry(Entry):
    """Which calls a rule is about: all that is named must agree; of a list, one."""

    tool: Annotated[tuple[str, ...], PlainValidator(_reference("action", "tool"))] = ()
    connector: Annotated[tuple[str, ...], PlainValidator(_reference("connector"))] = ()
    model: Annotated[tuple[str, ...], PlainValidator(_reference("model"))] = ()
    region: Texts = ()
    kind: Annotated[tuple[str, ...], PlainValidator(values.some(values.choice(*CONNECTOR_KINDS)))] = ()
    tags: dict[Text, Texts] = Field(default={})


class RuleEntry(Entry):
    """A rule."""

    who: WhoEntry = WhoEntry()
    what: WhatEntry = WhatEntry()
    when: dict[str, Any] = Field(default={})
    effect: Annotated[str, PlainValidator(values.choice(*EFFECTS))] = Field(
        description="what is done to such a call", examples=["deny"]
    )
    message: Text | None = None
    mode: LimitMode = "enforce"
    max_output_tokens: Tokens | None = None
    max_cost_usd: PositiveAmount | None = None
    model: ModelId | None = None
    limit: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] | None = None
    every: Annotated[str, PlainValidator(_duration_text)] | None = None
    per: Text | None = None
    approvers: Annotated[str, PlainValidator(values.identifier)] | None = None
    kinds: Annotated[tuple[str, ...], PlainValidator(values.some(values.choice(*KINDS)))] | None = None
    fields: Annotated[tuple[str, ...], PlainValidator(values.some(values.argument_name))] | None = None
    sides: Annotated[tuple[str, ...], PlainValidator(values.some(values.choice(*SIDES)))] | None = Field(
        default=None, alias="in"
    )

    def setting(self, name: str) -> Any:
        """A setting of the effect's, by its name in the file."""
        return getattr(self, "sides" if name == "in" else name)
