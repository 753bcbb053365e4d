"""Denials that wait for a person's word, as their askers hold them: sealed, and for nothing but what was denied.

Rule: what an asker holds is good for itself, for the very subject, resource, action and arguments that were denied,
      until the time in which people answer is over. It says which request waits, and is no permission.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from decimal import Decimal

import msgspec

from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Sealer
from aegis_gateway.domain.errors import CallError, StoreError
from aegis_gateway.entrypoints.data_plane.authzen.requests import Context, Evaluation
from aegis_gateway.entrypoints.data_plane.wire import strict_json

_ABOUT = b"authzen-denial"
_ACTOR = "act"
"""The one property of a subject that an asker may leave out of its request: who acts is told by its key here."""
_TASK = re.compile(r"arq_([0-9a-f]{20})([0-9a-f]{32})")
_MAC_CHARACTERS = 32
_NO_REQUEST = msgspec.Raw(b"null")


class Denial(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed: who was denied what (a digest) by which evaluation, what approval it awaits, until when."""

    asker: str
    evaluation: str
    asked: bytes
    approval: str
    until_ns: int


class Denials:
    """Seals denials, and opens them."""

    def __init__(self, sealer: Sealer) -> None:
        """Seal denials."""
        self._sealer = sealer

    def seal(self, tenant: str, denial: Denial) -> str:
        """The text that its asker gets."""
        sealed = self._sealer.seal(tenant, msgspec.msgpack.encode(denial), _ABOUT)
        return base64.urlsafe_b64encode(sealed).decode()

    def open(self, tenant: str, token: str) -> Denial | None:
        """The denial that a text stands for; None where it is none that was given to this tenant."""
        try:
            sealed = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
            return msgspec.msgpack.decode(self._sealer.open(tenant, sealed, _ABOUT), type=Denial)
        except (StoreError, binascii.Error, UnicodeError, msgspec.MsgspecError):
            return None


def digest_of(evaluation: Evaluation) -> bytes:
    """What tells what is asked from anything else: subject, resource and action whole, arguments, and what is ours of
    the context. However numbers and names' order are written, it is the same; what else the context has is left out.

    Raises:
        CallError: it is nested too deeply.
    """
    subject = msgspec.structs.replace(
        evaluation.subject,
        properties={name: value for name, value in evaluation.subject.properties.items() if name != _ACTOR},
    )
    around = evaluation.around
    # Only tools are waited for, and a `request` is of a model.
    ours = msgspec.structs.replace(around.aegis, request=_NO_REQUEST)
    asked = Evaluation(
        subject=subject,
        action=evaluation.action,
        resource=evaluation.resource,
        context=Context(arguments=around.arguments, aegis=ours),
    )
    try:
        text = json.dumps(_plain(strict_json(msgspec.json.encode(asked))), sort_keys=True)
    except RecursionError as fault:
        raise CallError("the body is not valid JSON: it is nested too deeply") from fault
    return hashlib.sha256(text.encode()).digest()


def task_id(view: TenantView, approval: str) -> str:
    """The name of an approval at this door, which nobody can guess; always the same."""
    return f"arq_{approval.removeprefix('apr_')}{_mac(view, approval)}"


def approval_of(view: TenantView, task: str) -> str | None:
    """The approval of such a name; None where it is no name that was given here."""
    found = _TASK.fullmatch(task)
    if found is None:
        return None
    approval = f"apr_{found[1]}"
    return approval if hmac.compare_digest(found[2], _mac(view, approval)) else None


def _mac(view: TenantView, approval: str) -> str:
    said = f"authzen-task\n{approval}".encode()
    return hmac.digest(view.arguments_key, said, "sha256").hex()[:_MAC_CHARACTERS]


def _plain(value: object) -> object:
    """JSON in which equal numbers are written alike."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return {"": str(Decimal(value).normalize())}
    return value
