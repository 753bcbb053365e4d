"""Requests of AuthZEN, read: who, does what, to what, in which context.

Rule 1: unknown fields are ignored, as the specification wants it; but for `context.aegis`, which is ours: a misspelt
        `reserve: false` there would spend money.
Rule 2: a field of another type, a missing one, an empty name, anything that isn't JSON or isn't called so is 400.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from aegis_gateway.domain.errors import CallError
from aegis_gateway.entrypoints.data_plane.exchange import BODY_BYTES_MAX
from aegis_gateway.entrypoints.data_plane.wire import (
    JSON,
    UNREADABLE,
    SupportsGet,
    decoder_words,
    json_type,
    strict_json,
)

EVALUATIONS_MAX = 100
PAGE_MAX = 1_000
PAGE_USUAL = 100

Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Properties = dict[str, msgspec.Raw]
T = TypeVar("T", bound=msgspec.Struct)

_REQUIRED = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
_DEFAULTED = (*_REQUIRED, "context")
_encode = msgspec.json.encode


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A subject or resource."""

    type: Name
    id: Name
    properties: Properties = {}


class EntityType(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects or resources that are searched for: a type; an id beside it means nothing."""

    type: Name
    properties: Properties = {}


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What is done."""

    name: Name
    properties: Properties = {}


class Ours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What Aegis can be told beside the standard: `reserve: false` asks without recording; `run`, `parent` and
    `customer` are as in the decision API, and so is `name`, the asker's own for the call. Of a call of a model the
    `request` can be given that would be sent, or a `prompt` with `max_output_tokens`.
    """

    reserve: bool = True
    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    name: Name | None = None
    request: msgspec.Raw = msgspec.Raw()
    prompt: str | None = None
    max_output_tokens: int | None = None


class GivenApproval(msgspec.Struct, frozen=True, kw_only=True):
    """The approval that an evaluation stands on, as the task that led to it named it."""

    id: Name


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The context of a request, as far as it is understood here."""

    arguments: Properties | None = None
    aegis: Ours = Ours()
    obligations_supported: tuple[str, ...] | None = None
    approval: GivenApproval | None = None


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a subject may do an action to a resource."""

    subject: Entity
    action: Action
    resource: Entity
    context: Context | None = None

    @property
    def around(self) -> Context:
        """The context, empty where none was given."""
        return self.context or Context()


class GivenDenial(msgspec.Struct, frozen=True, kw_only=True):
    """The denial that a request for access is about, as its evaluation told it."""

    binding_token: str = ""
    evaluation_id: str | None = None
    expires_at: str | None = None


class AccessRequest(Evaluation, frozen=True, kw_only=True):
    """A request for access to what was denied: the evaluation, and its denial."""

    denial: GivenDenial | None = None
    callback: Properties | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the results is wanted."""

    limit: Annotated[int, msgspec.Meta(ge=1)] = PAGE_USUAL
    token: str = ""


class SubjectSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do an action to a resource."""

    subject: EntityType
    action: Action
    resource: Entity
    context: Context | None = None
    page: Page | None = None


class ResourceSearch(msgspec.Struct, frozen=True, kw_only=True):
    """To what a subject may do an action."""

    subject: Entity
    action: Action
    resource: EntityType
    context: Context | None = None
    page: Page | None = None


class ActionSearch(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject may do to a resource."""

    subject: Entity
    resource: Entity
    context: Context | None = None
    page: Page | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Many evaluations, each as it stands alone with the defaults; and how many of them are wanted."""

    evaluations: tuple[bytes, ...]
    semantic: Semantic = "execute_all"


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    evaluations_semantic: Semantic = "execute_all"


class _Many(msgspec.Struct, frozen=True, kw_only=True):
    evaluations: list[Properties] = []
    options: _Options | None = None


def checked_json(headers: SupportsGet, raw: bytes) -> None:
    """Make sure that a body is JSON, and is called so.

    Raises:
        CallError: it isn't.
    """
    stated = headers.get("content-type") or "nothing"
    if stated.partition(";")[0].strip().lower() != JSON:
        raise CallError(
            f"the body is called `{stated[:64]}`; send JSON as `content-type: {JSON}`", field="content-type"
        )
    json_type(headers)
    strict_json(raw)


def read(kind: type[T], raw: bytes) -> T:
    """Read a request.

    Raises:
        CallError: it is not what it should be.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as fault:
        raise CallError(f"the body is not what it should be: {decoder_words(fault)}", field="body") from fault


def read_batch(raw: bytes) -> Batch | None:
    """Read a request for many evaluations; None where it is one for a single one.

    What an evaluation leaves out is as it stands for all; what it has, it has whole, but for names that it leaves out.

    Raises:
        CallError: it is neither.
    """
    many = read(_Many, raw)
    if not many.evaluations:
        return None
    if len(many.evaluations) > EVALUATIONS_MAX:
        raise CallError(f"one request has at most {EVALUATIONS_MAX} evaluations", field="evaluations")
    defaults = msgspec.json.decode(raw, type=Properties)
    parts = {name: _fields(defaults[name]) for name in _REQUIRED if name in defaults}
    evaluations: list[bytes] = []
    size = 0
    for each in many.evaluations:
        evaluations.append(_whole(each, defaults, parts))
        size += len(evaluations[-1])
        if size > BODY_BYTES_MAX:
            raise CallError(
                f"with what stands for all of them, the evaluations come to more than {BODY_BYTES_MAX} bytes; "
                "send fewer at once, or less for all",
                field="evaluations",
                status=413,
            )
    return Batch(
        evaluations=tuple(evaluations),
        semantic=(many.options or _Options()).evaluations_semantic,
    )


def arguments_of(
    context: Context | None, action: Properties | None = None, resource: Properties | None = None
) -> bytes:
    """The arguments that a tool would be called with, as JSON: those of the context, whole; else what resource and
    action have as `arguments` among their properties; else those properties themselves.

    Raises:
        CallError: an argument has two values.
    """
    if context is not None and context.arguments is not None:
        return _object(context.arguments)
    parts = [
        _fields(part["arguments"]) if _is_object(part.get("arguments")) else part
        for part in (resource or {}, action or {})
    ]
    together = dict(parts[0])
    for name, value in parts[1].items():
        if name in together and bytes(together[name]) != bytes(value):
            raise CallError(
                f"`{name[:64]}` is one thing among the action's properties and another among the resource's; "
                "send the tool's arguments as `context.arguments`",
                field=f"action.properties.{name[:64]}",
            )
        together[name] = value
    return _object(together)


def _whole(evaluation: Properties, defaults: Properties, parts: dict[str, Properties]) -> bytes:
    """One of many evaluations, as it would stand alone; `parts` are the fields of the defaults that have any."""
    whole = {name: defaults[name] for name in _DEFAULTED if name in defaults} | {
        name: evaluation[name] for name in _DEFAULTED if name in evaluation
    }
    for name, fields in _REQUIRED.items():
        if name in evaluation and name in defaults:
            own, general = _fields(evaluation[name]), parts[name]
            lacking = {field: general[field] for field in fields if field in general and field not in own}
            if lacking:
                whole[name] = msgspec.Raw(_object(own | lacking))
    return _object(whole)


def _is_object(raw: msgspec.Raw | None) -> bool:
    return raw is not None and bytes(raw).lstrip()[:1] == b"{"


def _fields(raw: msgspec.Raw) -> Properties:
    """The fields of an object; of anything else, which is told when it is read, none."""
    try:
        return msgspec.json.decode(raw, type=Properties)
    except UNREADABLE:
        return {}


def _object(fields: Properties) -> bytes:
    return b"{" + b",".join(_encode(name) + b":" + bytes(value) for name, value in fields.items()) + b"}"
