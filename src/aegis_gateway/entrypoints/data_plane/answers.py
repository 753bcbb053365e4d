"""An answer without what is to be redacted in it; what can't be read is withheld, and settled all the same.

Rule: a redaction that can't be fulfilled lets nothing through. Redactions in shadow look at the answer as it came.
"""

from __future__ import annotations

import msgspec

from aegis_gateway.adapters.redaction import TextRedactor
from aegis_gateway.application.calls import Decided
from aegis_gateway.application.judgement import D
from aegis_gateway.application.ports import UpstreamAnswer
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.domain.redaction import Counts, told
from aegis_gateway.entrypoints.data_plane.redacting import ALL, Content, redacted_json
from aegis_gateway.entrypoints.data_plane.refusals import Headers

_TEXT = ("text/", "application/x-www-form-urlencoded", "application/xml")
_PLAIN_ENCODINGS = ("", "identity")


def redacted_answer(
    answer: UpstreamAnswer, decided: Decided[D], content: Content = ALL
) -> tuple[UpstreamAnswer, Decided[D]]:
    """A whole answer without what is to be redacted, and the decision with what was.

    Raises:
        NotRedactable: it can't be read, or not be redacted.
    """
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
