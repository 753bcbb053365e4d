"""Faults. A refusal is a value (`decision.Refusal`); an exception is a fault.

AegisError
├── MoneyError            a number that cannot be money
├── ConfigurationError    the operator's files are wrong: file, line, what to write instead
├── VersionForged         a stored configuration is not as somebody with the key signed it
├── NotPermitted          whoever asks may not do this: the role that is missing, or the second person
│   └── NotActing         they are nobody here, or suspended
├── KeyFormatError        an API key that no Aegis issued
├── CallError             the caller's request cannot be understood, with the path of the fault
│   └── CallerLeft        the caller left before its call was sent
├── CallRepeated          the caller named a call as it named one before
├── NotRedactable         something has to be redacted and can't be
├── LedgerError
│   ├── UnknownCall       no such call in the ledger
│   ├── IllegalTransition the call is in a state from which this is not possible
│   └── LedgerUnavailable nothing can be made durable now, so nothing may be forwarded
├── UpstreamFault         an upstream did not answer; says whether it can have got the request
└── StoreError            the database is not one this version can use
    ├── StoreNotMade      nobody has made it yet
    └── DiskFailed        it is not known what of it is on disk; only a new start can find out
"""

from __future__ import annotations

import msgspec


class AegisError(Exception):
    """The root of all faults that Aegis raises itself. `is_counted`: it is, where refused requests are counted."""

    is_counted = False


class MoneyError(AegisError, ValueError):
    """A number that cannot be money."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake in the operator's files: where it is, and what to write instead."""

    file: str
    line: int | None = None
    message: str

    def __str__(self) -> str:
        """As editors and compilers write it: `aegis.yaml:41: …`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


class ConfigurationError(AegisError):
    """The operator's files are wrong; the message carries file, line and what to write instead.

    `problems` are all mistakes that one reading found; the message has one on each line.
    """

    def __init__(self, message: str = "", *, problems: tuple[Problem, ...] = ()) -> None:
        """Keep the problems; the message is theirs unless there is another."""
        super().__init__(message or "\n".join(str(problem) for problem in problems))
        self.problems = problems


class VersionForged(AegisError):
    """A stored configuration is not as somebody with the key signed it; nothing is decided by it."""


class NotPermitted(AegisError):
    """Whoever asks may not do this; the message says what is missing and how to get it."""


class NotActing(NotPermitted):
    """It is known who asks, and they are not registered here, or suspended."""


class KeyFormatError(AegisError):
    """An API key that no Aegis issued: wrong shape or wrong checksum."""


class CallError(AegisError):
    """The caller's request cannot be understood.

    `field` is the path of the fault in the request (`messages[2].content`), or None where the whole body is
    at fault. `is_identified`: it is known who calls, or nobody has asked that.
    """

    is_identified = True

    def __init__(self, message: str, *, field: str | None = None, status: int = 400) -> None:
        """Keep the message for the caller, the path of the fault and the HTTP status that says it."""
        super().__init__(message)
        self.field = field
        self.status = status


class CallerLeft(CallError):
    """The caller left before its call was sent, so it is not; nobody is there who would be told."""

    is_counted = True


class CallRepeated(AegisError):
    """The caller gave a call the name (idempotency key) of one before, `first`; `is_same`: and the same request.

    `described` is the call as it was judged this time, without what is to be redacted.
    """

    def __init__(self, first: str, *, is_same: bool, described: object = None) -> None:
        """Keep the call that had the name first."""
        super().__init__(f"call `{first}` was made under this idempotency key before")
        self.first = first
        self.is_same = is_same
        self.described = described


class NotRedactable(AegisError):
    """Something has to be redacted and can't be without breaking what it stands in, or can't be read at all."""


class LedgerError(AegisError):
    """The ledger could not do what it was asked."""


class UnknownCall(LedgerError):
    """No such call in the ledger."""


class IllegalTransition(LedgerError):
    """The call is in a state from which this is not possible."""


class LedgerUnavailable(LedgerError):
    """Nothing can be made durable now, so nothing may be forwarded."""


class UpstreamFault(AegisError):
    """An upstream did not answer, or not to the end.

    `sent` is false only where it is certain that no byte of the request reached it.
    """

    def __init__(self, message: str, *, sent: bool, timed_out: bool = False) -> None:
        """Keep the words for the caller, and what is known about the request's fate."""
        super().__init__(message)
        self.sent = sent
        self.timed_out = timed_out


class StoreError(AegisError):
    """The database is not one that this version can use."""


class DiskFailed(StoreError):
    """The disk failed to make something durable. What is on it now is not known to this process any more, and a second
    try could be told of success without it: the process has to end, and the next one reads what is there.
    """


class StoreNotMade(StoreError):
    """There is no database yet, or nothing in it; whoever opens it for writing makes it."""
