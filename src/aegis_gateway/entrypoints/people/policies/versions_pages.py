"""The pages of versions: all that were applied, with what waits for a second person, and one with what it changed.

Rule: looking changes nothing; going back is a form of the page that shows what it would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from starlette.responses import Response

from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted, VersionForged
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.entrypoints.people.columns import Column, Row
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.policies.comparison import Comparison
from aegis_gateway.entrypoints.people.policies.versions import AppliedVersions
from aegis_gateway.entrypoints.people.policies.versions_desk import (
    CALLS_COUNTED_MAX,
    LISTED_MAX,
    Listed,
    VersionsDesk,
)
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence

_NUMBER_MAX = 2**31 - 1
NOTE_CHARACTERS_MAX = 1_000
_NOT_EVERYWHERE = (
    "you may not go back to an earlier configuration in each tenant that it would change; that needs the role admin "
    "or finops there"
)
_COLUMNS = [
    Column("version", "count"),
    Column("applied", "time"),
    Column("applied_by"),
    Column("approved_by"),
    Column("state"),
    Column("how"),
    Column("note"),
    Column("files_sha256"),
    Column("bundle_sha256"),
    Column("signed_by"),
    Column("intact", "flag"),
    Column("problem"),
    Column("calls", "count"),
    Column("refused", "count"),
    Column("spent_usd", "usd"),
]


class VersionsPages:
    """What is answered to visits of these pages."""

    def __init__(self, settings: Settings, versions: AppliedVersions) -> None:
        """`settings` are the installation's."""
        self._settings = settings
        self._versions = versions

    def show_all(self, visit: Visit) -> Response:
        """All versions, the newest first, and the proposals that wait."""
        tenant = visit.tenant
        if tenant is None:
            return visit.without_tenant()
        until = number_of(visit.query.get("until", "")) or _NUMBER_MAX
        with self._desk(visit) as desk:
            found = desk.listed(tenant, until)
            return living(
                visit,
                "policies/versions.html",
                tenant=tenant,
                tenants=visit.readable,
                versions=found[:LISTED_MAX],
                until=until if until < _NUMBER_MAX else None,
                following=found[LISTED_MAX].version.version if len(found) > LISTED_MAX else None,
                proposals=desk.proposals(),
                current=desk.current,
                may_read=desk.may_read,
                counted_max=CALLS_COUNTED_MAX,
            )

    def export_table(self, visit: Visit) -> Response:
        """The same as a file."""
        tenant = visit.tenant
        if tenant is None:
            return visit.without_tenant()
        with self._desk(visit) as desk:
            found = desk.listed(tenant, number_of(visit.query.get("until", "")) or _NUMBER_MAX)
        return table_file(visit, "versions", _COLUMNS, _rows(found))

    def show_one(self, visit: Visit) -> Response:
        """One version, and what it changed."""
        with self._desk(visit) as desk:
            return self._one(visit, desk)

    def roll_back(self, visit: Visit) -> Response:
        """Go back to a version, or propose it. Where it can't be done, the page says why."""
        with self._desk(visit) as desk:
            tenant = visit.tenant
            listed = desk.one(tenant, number_of(visit.at["version"])) if tenant is not None else None
            if listed is None:
                return _none(visit)
            note = " ".join(visit.field("note").split())[:NOTE_CHARACTERS_MAX]
            try:
                if not note:
                    raise ConfigurationError("say why; it is recorded")
                based_on = number_of(visit.field("based_on"))
                done = desk.roll_back(listed.version, based_on, note)
            except (ConfigurationError, NotPermitted, VersionForged) as fault:
                status = 403 if isinstance(fault, NotPermitted) else 409
                # Whom it would be about names tenants, which the reader may not see.
                why = (
                    f"{fault}" if status == 409 or visit.office.sees_shared(visit.person) else _NOT_EVERYWHERE
                )
                return self._one(visit, desk, status=status, error=sentence(f"nothing was changed: {why}"))
        if isinstance(done, Proposal):
            return redirect(f"/policies/proposals/{done.number}")
        return redirect(f"/policies/versions/{done.version}")

    def _one(self, visit: Visit, desk: VersionsDesk, *, status: int = 200, error: str = "") -> Response:
        number, tenant = number_of(visit.at["version"]), visit.tenant
        listed = desk.one(tenant, number) if tenant is not None and number else None
        if listed is None or tenant is None:
            return _none(visit)
        version = listed.version
        before = version.canary.beside if version.canary is not None else version.version - 1
        asked = visit.query.get("against", "")
        against = number_of(asked) if asked else before
        comparison: Comparison | None = None
        fault = why = ""
        try:
            comparison = desk.compared(version, against)
        except (ConfigurationError, VersionForged) as problem:
            fault = sentence(f"{problem}")
        plan = None
        may_roll_back = desk.may_roll_back()
        if listed.state != "in force" and may_roll_back:
            try:
                plan = desk.plan(version)
            except (ConfigurationError, VersionForged, NotPermitted) as problem:
                why = sentence(f"{problem}")
        return visit.page(
            "policies/version.html",
            status=status,
            tenant=tenant,
            listed=listed,
            calls=calls_address(tenant, listed),
            version=version,
            against=against,
            comparison=comparison,
            fault=fault,
            plan=plan,
            seen=desk.seen(plan) if plan is not None else [],
            why=why,
            may_roll_back=may_roll_back,
            current=desk.current,
            in_force=desk.in_force,
            error=error,
            note=visit.field("note"),
        )

    @contextmanager
    def _desk(self, visit: Visit) -> Iterator[VersionsDesk]:
        with visit.office.store() as store:
            yield VersionsDesk(store, self._settings, self._versions, reader_of(visit))


def calls_address(tenant: str, listed: Listed) -> str:
    """Where the calls stand that a version decided, from the last of them on."""
    pairs = {"tenant": tenant, "version": listed.version.version, "since": "ever"}
    if listed.until_ns is not None and listed.version.canary is None:
        pairs["behind"] = f"{listed.until_ns}-{10**17}"
    return "/calls?" + urlencode(pairs)


def _rows(found: list[Listed]) -> Iterator[Row]:
    for each in found[:LISTED_MAX]:
        version, side = each.version, each.side
        yield [
            version.version,
            version.applied_ns,
            version.applied_by,
            version.approved_by or None,
            each.state,
            each.how,
            version.note,
            version.digest,
            version.bundle_digest,
            each.key,
            not each.wrong,
            each.wrong,
            side.calls if side is not None else None,
            side.refused if side is not None else None,
            side.cost_nano_usd if side is not None else None,
        ]


def number_of(text: str) -> int:
    """A version's number; 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _none(visit: Visit) -> Response:
    if not visit.readable:
        return visit.without_tenant()
    return visit.failure(404, "There is no such version", "The address may have been cut when it was copied.")
