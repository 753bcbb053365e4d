"""The pages of rules in shadow: what they would have done, and one of them with what enforcing it would change.

Rule: looking changes nothing, whatever the address says; enforcing is a form of the page that shows what would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from starlette.responses import Response

from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.domain.shadow_rules import how_to_drop, how_to_enforce
from aegis_gateway.entrypoints.enforcing import Enforcement
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.shadow.desk import LOOKED_BACK_DAYS, ShadowDesk
from aegis_gateway.entrypoints.people.shadow.export import SHADOW_COLUMNS, shadow_rows
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence


class ShadowPages:
    """What is answered to visits of these pages."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are the installation's."""
        self._settings = settings

    def show_tenants(self, visit: Visit) -> Response:
        """Go to the only tenant, or choose one."""
        readable = visit.readable
        if not readable:
            return visit.without_tenant()
        if len(readable) == 1:
            return redirect(f"/shadow/{readable[0]}")
        return visit.page("shadow/tenants.html", tenants=readable)

    def show_all(self, visit: Visit) -> Response:
        """A tenant's rules in shadow."""
        with self._desk(visit) as desk:
            tenant = visit.at["tenant"]
            if tenant not in desk.readable:
                return _none(visit)
            figures = desk.figures(tenant)
            return visit.page(
                "shadow/all.html",
                figures=figures,
                days=LOOKED_BACK_DAYS,
                tenants=desk.readable,
                drop={rule: how_to_drop(rule, kind) for rule, kind in figures.rules.items()},
                proposed=visit.query.get("proposed", ""),
                version=visit.query.get("version", ""),
            )

    def export_all(self, visit: Visit) -> Response:
        """The same as a file."""
        with self._desk(visit) as desk:
            tenant = visit.at["tenant"]
            if tenant not in desk.readable:
                return _none(visit)
            name = f"{tenant}-{LOOKED_BACK_DAYS}d-rules-in-shadow"
            return table_file(visit, name, SHADOW_COLUMNS, shadow_rows(desk.figures(tenant)))

    def show_one(self, visit: Visit) -> Response:
        """One rule, with what enforcing it would change."""
        with self._desk(visit) as desk:
            return self._one(visit, desk)

    def enforce_one(self, visit: Visit) -> Response:
        """Enforce it, or propose that. Where it can't be done, the page says why."""
        with self._desk(visit) as desk:
            tenant, rule = visit.at["tenant"], visit.at["rule"]
            if tenant not in desk.readable or rule not in desk.figures(tenant).rules:
                return _none(visit)
            try:
                asked = desk.enforcement(tenant, rule)
                done = desk.enforce(asked, int(visit.field("based_on") or 0))
            except (ConfigurationError, NotPermitted, ValueError) as fault:
                status = 403 if isinstance(fault, NotPermitted) else 409
                return self._one(visit, desk, status=status, error=sentence(f"nothing was changed: {fault}"))
        said = {"proposed": done.number} if isinstance(done, Proposal) else {"version": done.version}
        return redirect(f"/shadow/{tenant}?{urlencode(said)}")

    def _one(self, visit: Visit, desk: ShadowDesk, *, status: int = 200, error: str = "") -> Response:
        tenant, rule = visit.at["tenant"], visit.at["rule"]
        figures = desk.figures(tenant) if tenant in desk.readable else None
        if figures is None or rule not in figures.rules:
            return _none(visit)
        found: Enforcement | None = None
        why = ""
        try:
            found = desk.enforcement(tenant, rule)
        except ConfigurationError as fault:
            why = sentence(f"{fault}")
        kind = figures.rules[rule]
        return visit.page(
            "shadow/one.html",
            status=status,
            tenant=tenant,
            rule=rule,
            kind=kind,
            findings=[each for each in figures.findings if each.rule == rule],
            days=LOOKED_BACK_DAYS,
            enforcement=found,
            why=why,
            may_apply=desk.may_apply(tenant),
            enforce=how_to_enforce(rule, kind),
            drop=how_to_drop(rule, kind),
            error=error,
        )

    @contextmanager
    def _desk(self, visit: Visit) -> Iterator[ShadowDesk]:
        with visit.office.store() as store:
            yield ShadowDesk(visit.office, self._settings, store, reader_of(visit))


def _none(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such rule in shadow",
        "It may be enforced or gone by now, or of a tenant that you may not see.",
    )
