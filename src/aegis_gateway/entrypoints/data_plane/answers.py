"""What a caller gets of an answer: without what is to be redacted in it; what can't be read is withheld, and settled
all the same.

Rule: a redaction that can't be fulfilled lets nothing through. Redactions in shadow look at the answer as it came.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.application.commands import Moved
from aegis_gateway.application.decided import Decided
from aegis_gateway.application.judgement import D, Described
from aegis_gateway.application.ports import UpstreamAnswer
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.domain.redaction import Counts, told
from aegis_gateway.entrypoints.data_plane.error_forms import OPENAI, ErrorForm
from aegis_gateway.entrypoints.data_plane.exchange import (
    HttpProtocol,
    decision_headers,
    returned_headers,
    send_error,
    settlement_headers,
)
from aegis_gateway.entrypoints.data_plane.redacting import ALL, Content, redacted_json
from aegis_gateway.entrypoints.data_plane.refusals import Headers, led_away, withheld

_TEXT = ("text/", "application/x-www-form-urlencoded", "application/xml")
_PLAIN_ENCODINGS = ("", "identity")


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller gets of an answer; nothing where `why_not` says why."""

    answer: UpstreamAnswer
    why_not: str | None = None


def shown_answer(
    answer: UpstreamAnswer, decided: Decided[D], content: Content = ALL
) -> tuple[Shown, Decided[D]]:
    """What a caller gets of a whole answer, and the decision with what was redacted in it, or would have been."""
    if not decided.answer:
        return Shown(answer=answer), decided
    try:
        redacted, decided = _redacted_answer(answer, decided, content)
    except NotRedactable as fault:
        return Shown(answer=answer, why_not=str(fault)), decided
    return Shown(answer=redacted), decided


def send_answer(
    protocol: HttpProtocol,
    decided: Decided[Described],
    shown: Shown,
    moved: Moved | None,
    form: ErrorForm = OPENAI,
) -> None:
    """Answer with what a caller gets, or with why there is nothing, and with what the call came to."""
    answer, ours = shown.answer, decision_headers(decided) + settlement_headers(decided, moved)
    if _leads_away(decided, answer.status):
        send_error(protocol, led_away(ours, form))
    elif shown.why_not is not None:
        send_error(protocol, withheld(shown.why_not, ours, form))
    else:
        protocol.response_bytes(answer.status, returned_headers(answer.headers, ours), answer.body)


def _leads_away(decided: Decided[Described], status: int) -> bool:
    """Whether an answer sends its caller on to who knows where, though the tenant says where its data may be."""
    return decided.described.stays_in_regions and 300 <= status < 400 and status != 304


def _redacted_answer(
    answer: UpstreamAnswer, decided: Decided[D], content: Content
) -> tuple[UpstreamAnswer, Decided[D]]:
    wanted = decided.answer
    decided = msgspec.structs.replace(
        decided,
        shadow=tuple(
            found
            for each in wanted.watched
            if (found := _watched(answer, each, TextRedactor(each.redactions.response, wanted.key), content))
        ),
    )
    if not wanted.redaction:
        return answer, decided
    redactor = TextRedactor(wanted.redaction, wanted.key)
    body = _redacted_body(answer, redactor, content)
    shown = UpstreamAnswer(
        status=answer.status, headers=redacted_headers(answer.headers, redactor), body=body
    )
    return shown, msgspec.structs.replace(decided, redacted=redactor.counts)


def redacted_headers(headers: Headers, redactor: TextRedactor) -> Headers:
    """An answer's headers without what is to be redacted."""
    return [(name, redactor.whole(value)) for name, value in headers]


def check_encoding(headers: Headers) -> None:
    """Make sure that an answer can be read.

    Raises:
        NotRedactable: it is compressed.
    """
    if dict(headers).get("content-encoding", "").strip().lower() not in _PLAIN_ENCODINGS:
        raise NotRedactable("it is compressed")


def finding(shadow: Shadow, counts: Counts, fault: NotRedactable | None) -> Shadow | None:
    """What a redaction in shadow would have done to an answer, if anything."""
    if fault is not None:
        return Shadow(rule=shadow.rule, would="deny", message=f"the answer could not be redacted: {fault}")
    return Shadow(rule=shadow.rule, would="redact", message=told(counts)) if counts else None


def _watched(
    answer: UpstreamAnswer, shadow: Shadow, redactor: TextRedactor, content: Content
) -> Shadow | None:
    try:
        _redacted_body(answer, redactor, content)
    except NotRedactable as fault:
        return finding(shadow, redactor.counts, fault)
    return finding(shadow, redactor.counts, None)


def _redacted_body(answer: UpstreamAnswer, redactor: TextRedactor, content: Content) -> bytes:
    if not answer.body:
        return answer.body
    check_encoding(answer.headers)
    media = dict(answer.headers).get("content-type", "").partition(";")[0].strip().lower()
    if media.endswith("json"):
        return redacted_json(answer.body, redactor, content)
    if not media.startswith(_TEXT):
        raise NotRedactable(f"it is `{media[:64]}`, which is neither JSON nor text")
    try:
        return redactor.whole(answer.body.decode()).encode()
    except UnicodeDecodeError as fault:
        raise NotRedactable("it is not UTF-8") from fault
