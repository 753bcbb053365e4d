"""Whether Slack has signed a request, by Slack's own check: an HMAC over the raw body and its time, five minutes."""

from __future__ import annotations

import re
from typing import Literal

from slack_sdk.signature import Clock, SignatureVerifier

Signature = Literal["good", "stale", "bad"]

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}")


class _At(Clock):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return self._seconds


def signature_of(secret: str, body: bytes, timestamp: str, signature: str, now_s: float) -> Signature:
    """What a request's headers prove: `stale` is one that was signed, more than five minutes from now."""
    if not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(signature):
        return "bad"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "bad"
    if SignatureVerifier(secret, _At(now_s)).is_valid(text, timestamp, signature):
        return "good"
    signed_then = SignatureVerifier(secret, _At(float(timestamp))).is_valid(text, timestamp, signature)
    return "stale" if signed_then else "bad"
