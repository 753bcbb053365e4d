"""A tenant's record checked on an installation: what the versions and policies are that its entries name.

Rule: each version that an entry names is looked at once, by itself: its signature, the one before it, and what the
      record says of it. `aegis versions verify` looks at all of them.
"""

from __future__ import annotations

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.record_reports import RecordReports
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Signatures, Store
from aegis_gateway.application.verifying import Verified, Verifying
from aegis_gateway.application.versions import verify
from aegis_gateway.configuration.load import Configuration
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.entry import time_text
from aegis_gateway.domain.errors import ConfigurationError, VersionForged
from aegis_gateway.domain.record_check import CHECK_WORDS, Kept, content
from aegis_gateway.entrypoints.record_words import line_of, who_of

_APPLIED = "select body from entry where type = 'configuration' and tenant = ? order by sequence"
"""What a tenant's record says of configurations. By the index on them."""

PROVES = (
    "What was checked is numbered without a gap (all of it: up to the last that was written), and each entry has its "
    "one form and place. Of its calls, row, charges, sums and entries say the same. The versions that decided are as "
    "they were signed. So no entry was taken away or put in between unless all that follow were written anew, and of "
    "calls nothing was changed in one place alone."
)
ENTRY_PROVES = (
    "This entry stands under its number, in its one form and place. If it is about a call, the call’s row, charges and "
    "entries say the same, and the sums of its hour are those of the calls. The version that decided is as it was "
    "signed. Of other entries this says nothing; verify a stretch of the record, or all of it, for that."
)
"""What is shown where one entry alone was checked."""
PROVES_NOT = (
    "Who can write to the database could still change an entry that is about something else than a call, or "
    "everything about a call at once: entries aren’t chained or signed one by one yet. A digest that you keep "
    "elsewhere shows it."
)


class VersionsNamed:
    """What is wrong with versions, and whether policies are theirs; each is looked at once."""

    def __init__(self, store: Store, signatures: Signatures, tenant: str) -> None:
        """`tenant` is whose record says what was applied."""
        self._reports = Reports(store.query)
        self._query = store.query
        self._signatures = signatures
        self._tenant = tenant
        self._found: dict[int, ConfigVersion | None] = {}
        self._loaded: dict[int, Configuration | None] = {}
        self._recorded: dict[int, str] | None = None

    def wrong_with(self, number: int) -> str:
        """What is wrong with a version; empty where nothing is."""
        version = self._version(number)
        if version is None:
            return f"configuration {number} is not there, and it decided this"
        try:
            verify(version, self._signatures)
        except VersionForged as fault:
            return f"{fault}"
        before = self._version(number - 1) if number > 1 else None
        if version.previous != (before.bundle_digest if before is not None else ""):
            return f"configuration {number} follows another one than is stored before it"
        said = self._said(number)
        if said is not None and said != version.bundle_digest:
            return f"the record says that configuration {number} was another one"
        return ""

    def are_policies(self, number: int, tenant: str, policies: str) -> bool | None:
        """Whether a version's policies are known by a name; None where that can't be told."""
        if number not in self._loaded:
            self._loaded[number] = self._load(number)
        loaded = self._loaded[number]
        if loaded is None or tenant not in loaded.registries:
            return None
        if bootstrap.compiled_policies(loaded, tenant).version == policies:
            return True
        # What a rule in words becomes in Cedar may be written otherwise by another version of Aegis.
        return None if loaded.rules.get(tenant) else False

    def _load(self, number: int) -> Configuration | None:
        version = self._version(number)
        try:
            return None if version is None else bootstrap.configuration(version.files)
        except ConfigurationError:
            return None

    def _version(self, number: int) -> ConfigVersion | None:
        if number not in self._found:
            self._found[number] = self._reports.version(number)
        return self._found[number]

    def _said(self, number: int) -> str | None:
        if self._recorded is None:
            self._recorded = {}
            for row in self._query(_APPLIED, (self._tenant,)):
                try:
                    said = msgspec.json.decode(row["body"])
                    self._recorded[said["config_version"]] = said.get("bundle_sha256", "")
                except (msgspec.DecodeError, KeyError, TypeError):
                    continue  # told as an entry that is wrong in itself
        return self._recorded.get(number)


def verified(
    store: Store, signatures: Signatures, tenant: str, first: int = 1, last: int | None = None
) -> Verified:
    """Check a stretch of a tenant's record; all that there is where none is named."""
    versions = VersionsNamed(store, signatures, tenant)
    record = RecordReports(store.query)
    return Verifying(record, tenant, versions.wrong_with, versions.are_policies).run(first, last)


def verified_record(found: Verified, took_ms: int) -> dict[str, object]:
    """It for programs."""
    return {
        "tenant": found.tenant,
        "first": found.first,
        "last": found.last,
        "entries": found.entries,
        "calls": found.calls,
        "settlements": found.settlements,
        "versions": found.versions,
        "took_ms": took_ms,
        "is_sound": found.is_sound,
        "checks": [
            {
                "check": check,
                "holds": check not in found.counts,
                "faults": found.counts.get(check, 0),
                "what": words,
            }
            for check, words in CHECK_WORDS.items()
        ],
        "faults": [
            {"check": each.check, "sequence": each.sequence, "fault": each.words} for each in found.faults
        ],
        "proves": PROVES,
        "does_not_prove": PROVES_NOT,
    }


def entry_record(kept: Kept) -> dict[str, object]:
    """One entry for programs: its content, its digest, and what it says in words."""
    said = content(kept.body)
    return {
        "sequence": kept.sequence,
        "at": time_text(kept.at_ns),
        "type": kept.type,
        "call": kept.call,
        "who": who_of(kept.type, said) or None,
        "words": line_of(kept.type, said),
        "sha256": kept.digest,
        "entry": said,
    }
