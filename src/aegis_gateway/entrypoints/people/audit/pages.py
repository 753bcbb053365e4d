"""The pages of the record: looking for entries, one of them with its proof, and whether a stretch of it is whole.

Rule 1: whoever may read a tenant may read its record, and no other's; it has no secret, and arguments only as the
        summary that was redacted when it was written.
Rule 2: a page costs the same however long the record is; what takes longer is done by command.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import quote

from starlette.responses import Response

from aegis_gateway import bootstrap
from aegis_gateway.adapters.record_reports import RecordReports
from aegis_gateway.application.verifying import Verified
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.record_check import CHECK_WORDS, ENTRY_CHECK_WORDS, Kept, content
from aegis_gateway.entrypoints.people.audit.view import (
    ABOUT_WORDS,
    SEQUENCE_MAX,
    AuditView,
    view_of,
)
from aegis_gateway.entrypoints.people.columns import Column, Row
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.since import since_choices
from aegis_gateway.entrypoints.people.tables import FILE_ROWS_MAX, table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.record_words import KIND_WORDS, line_of, links_of, who_of
from aegis_gateway.entrypoints.verification import ENTRY_PROVES, PROVES, PROVES_NOT, verified

LISTED_MAX = 50
VERIFIED_MAX = 2_000
"""So many entries are checked by a page: it has the interpreter meanwhile, which calls need."""

_COLUMNS = [
    Column("sequence", "count"),
    Column("at", "time"),
    Column("type"),
    Column("who"),
    Column("words"),
    Column("call"),
    Column("sha256"),
    Column("entry"),
]


class AuditPages:
    """What is answered to visits of these pages."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are the installation's."""
        self._settings = settings

    def show_all(self, visit: Visit) -> Response:
        """Entries, the newest first."""
        view = _view(visit)
        if view is None:
            return visit.without_tenant()
        number = _number(visit.query.get("n", ""))
        if number:
            return redirect(f"/audit/{quote(view.tenant, safe='')}/{number}")
        with visit.office.store() as store:
            record = RecordReports(store.query)
            below = SEQUENCE_MAX if view.below is None else view.below
            found = record.search(view.tenant, view.wanted(store.clock_ns()), below, LISTED_MAX)
            newest = record.newest(view.tenant)
        return living(
            visit,
            "audit/all.html",
            view=view,
            tenants=visit.readable,
            agents=sorted(visit.office.tenants()[view.tenant].registry.agents),
            listed=list(_listed(found.entries)),
            following=None if found.is_done else view.address(below=found.looked_to),
            looked_to=found.looked_to,
            is_full=len(found.entries) == LISTED_MAX,
            newest=newest,
            kind_words=KIND_WORDS,
            about_words=ABOUT_WORDS,
            since_words=since_choices(view.since),
            exported_max=FILE_ROWS_MAX,
        )

    def export_table(self, visit: Visit) -> Response:
        """The same as a file."""
        view = _view(visit)
        if view is None:
            return visit.without_tenant()
        return table_file(visit, f"{view.tenant}-record", _COLUMNS, _rows(_all(visit, view)))

    def export_lines(self, visit: Visit) -> Response:
        """The same as JSON lines: the entries' own bytes, a line each."""
        view = _view(visit)
        if view is None:
            return visit.without_tenant()
        body = b"".join(each.body + b"\n" for each in _all(visit, view))
        headers = {"content-disposition": f'attachment; filename="{view.tenant}-record.jsonl"'}
        return Response(body, media_type="application/jsonl", headers=headers)

    def show_one(self, visit: Visit) -> Response:
        """One entry, with all that can be checked of it now."""
        tenant, number = visit.at["tenant"], _number(visit.at["sequence"])
        if tenant not in visit.readable or not number:
            return _no_entry(visit)
        with visit.office.store() as store:
            record = RecordReports(store.query)
            kept = record.entry(tenant, number)
            newest = record.newest(tenant)
            if kept is None and number > newest:
                return _no_entry(visit)
            checked = verified(store, bootstrap.signatures(self._settings), tenant, number, number)
            neighbours = {
                each: record.entry(tenant, each) is not None
                for each in (number - 1, number + 1)
                if 1 <= each <= newest
            }
        said = None if kept is None else content(kept.body)
        return visit.page(
            "audit/one.html",
            tenant=tenant,
            number=number,
            newest=newest,
            kept=kept,
            words="" if kept is None else line_of(kept.type, said),
            who="" if kept is None else who_of(kept.type, said),
            kind=KIND_WORDS.get(kept.type, kept.type) if kept is not None else "",
            links=[] if kept is None else links_of(tenant, kept.call, said),
            pretty="" if said is None else json.dumps(said, indent=2, ensure_ascii=False),
            exact="" if kept is None else kept.body.decode("utf-8", "replace"),
            neighbours=neighbours,
            checks=_checks(checked, kept),
            faults=checked.faults,
            proves=ENTRY_PROVES,
            proves_not=PROVES_NOT,
        )

    def show_verified(self, visit: Visit) -> Response:
        """Check a stretch of the record: the last entries, or those that are named."""
        tenant = visit.tenant
        if tenant is None:
            return visit.without_tenant()
        with visit.office.store() as store:
            newest = RecordReports(store.query).newest(tenant)
            last = min(_number(visit.query.get("to", "")) or newest, newest)
            first = _number(visit.query.get("from", "")) or max(1, last - VERIFIED_MAX + 1)
            is_cut = last - first >= VERIFIED_MAX
            until = min(last, first + VERIFIED_MAX - 1)
            begun = time.monotonic_ns()
            found = verified(store, bootstrap.signatures(self._settings), tenant, first, until)
            took_ns = time.monotonic_ns() - begun
        return visit.page(
            "audit/verified.html",
            tenant=tenant,
            tenants=visit.readable,
            found=found,
            took_ms=took_ns // 1_000_000,
            newest=newest,
            first=first,
            last=until,
            wanted_last=last,
            is_cut=is_cut,
            verified_max=VERIFIED_MAX,
            check_words=CHECK_WORDS,
            proves=PROVES,
            proves_not=PROVES_NOT,
        )


def _listed(entries: tuple[Kept, ...]) -> Iterator[tuple[Kept, str, str, str]]:
    for kept in entries:
        said = content(kept.body)
        yield (
            kept,
            KIND_WORDS.get(kept.type, kept.type),
            line_of(kept.type, said),
            who_of(kept.type, said),
        )


def _all(visit: Visit, view: AuditView) -> list[Kept]:
    with visit.office.store() as store:
        wanted = view.wanted(store.clock_ns())
        below = SEQUENCE_MAX if view.below is None else view.below
        return list(RecordReports(store.query).search(view.tenant, wanted, below, FILE_ROWS_MAX).entries)


def _rows(entries: list[Kept]) -> Iterator[Row]:
    for kept, _, words, who in _listed(tuple(entries)):
        body = kept.body.decode("utf-8", "replace")
        yield [kept.sequence, kept.at_ns, kept.type, who, words, kept.call, kept.digest, body]


def _checks(found: Verified, kept: Kept | None) -> list[tuple[str, str, str]]:
    """Each check of one entry: whether it holds (`holds`, `fails`, `none`: it is about nothing here), and in words."""
    is_of_call = kept is not None and kept.call is not None
    said = content(kept.body) if kept is not None else None
    about = {
        "call": is_of_call,
        "charges": kept is not None and kept.type == "settlement",
        "version": found.versions > 0,
        "policies": kept is not None and kept.type == "decision" and bool((said or {}).get("policy_version")),
    }
    told: list[tuple[str, str, str]] = []
    for check, words in ENTRY_CHECK_WORDS.items():
        state = "fails" if check in found.counts else "holds" if about.get(check, True) else "none"
        told.append((check, state, words))
    return told


def _number(text: str) -> int:
    """An entry's number; 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _view(visit: Visit) -> AuditView | None:
    """What is asked for; None where it is of no tenant that the reader may see."""
    tenant = visit.tenant
    return None if tenant is None else view_of(visit.query, tenant)


def _no_entry(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such entry",
        "The record hasn’t come to that number, or it is of a tenant that you may not see.",
    )
