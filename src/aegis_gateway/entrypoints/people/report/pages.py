"""The report of a month as a page to print, its tables as files, and having it sent to a channel.

Rule: the address says which tenant and month; looking changes nothing, sending is a form in the reader's own name.
"""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.responses import Response

from aegis_gateway.application.ports import Store
from aegis_gateway.application.report_sending import ReportSending
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted
from aegis_gateway.domain.people import may
from aegis_gateway.domain.report import BY, Report
from aegis_gateway.domain.report_message import report_message
from aegis_gateway.domain.report_words import compared, figure_text, signed_percent, value_text
from aegis_gateway.entrypoints.months import Month, month_of, months_back
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.report.tables import TABLES
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence
from aegis_gateway.entrypoints.reporting import report_of
from aegis_gateway.entrypoints.rollout import Rollouts

MONTHS_OFFERED = 13
_TREND_SIGNS = {"up": "▲", "down": "▼", "same": "=", "new": "•", "": ""}
_TREND_WORDS = {"up": "up", "down": "down", "same": "as before", "new": "none before", "": ""}


class ReportPages:
    """What is answered to visits of this page."""

    def __init__(self, settings: Settings, rollouts: Rollouts) -> None:
        """`rollouts` tells how far tenants are, for the decisions that are wanted."""
        self._settings = settings
        self._rollouts = rollouts

    def show(self, visit: Visit) -> Response:
        """The report."""
        with visit.office.store() as store:
            return self._page(visit, store)

    def send(self, visit: Visit) -> Response:
        """Have it sent to a channel. Where that can't be, the page says why."""
        tenant, name = visit.field("tenant"), visit.field("channel")
        if tenant not in visit.readable:
            return visit.no_tenant()
        registry = visit.office.tenants()[tenant].registry
        with visit.office.store() as store:
            try:
                month = month_of(visit.field("month"), registry.zone, store.clock_ns())
                channel = registry.channels.get(name)
                if channel is None:
                    raise ConfigurationError("there is no such channel any more; choose another one")
                message = report_message(self._report(visit, store, tenant, month), self._settings.pages_url)
                sending = ReportSending(store, visit.office.pepper, reader_of(visit).caller)
                sent = sending.send(tenant, month.label, channel, message)
            except (ConfigurationError, NotPermitted) as fault:
                status = 403 if isinstance(fault, NotPermitted) else 400
                words = sentence(f"nothing was sent: {fault}")
                return visit.failure(status, "The report was not sent", words)
        said = {"tenant": tenant, "month": month.label, "sent": len(sent), "to": channel.id}
        return redirect(f"/report?{urlencode(said)}")

    def export(self, visit: Visit) -> Response:
        """One of its tables as a file."""
        tenant, kind = visit.tenant, visit.at["table"]
        if tenant is None:
            return visit.no_tenant()
        made = TABLES.get(kind)
        if made is None:
            return visit.failure(
                404, "There is no such table", "The address may have been cut when it was copied."
            )
        with visit.office.store() as store:
            try:
                registry = visit.office.tenants()[tenant].registry
                month = month_of(visit.query.get("month", ""), registry.zone, store.clock_ns())
            except ConfigurationError as fault:
                return visit.failure(404, "There is no such month", sentence(f"{fault}"))
            report = self._report(visit, store, tenant, month)
        columns, rows = made(report)
        return table_file(visit, f"{tenant}-{month.label}-{kind}", columns, rows)

    def _report(self, visit: Visit, store: Store, tenant: str, month: Month) -> Report:
        view = visit.office.tenants()[tenant]
        rollout = self._rollouts(store, view)
        return report_of(store, view.registry, view.policies.rules.values(), rollout, month)

    def _page(self, visit: Visit, store: Store) -> Response:
        tenant = visit.tenant
        if tenant is None:
            return visit.without_tenant()
        registry = visit.office.tenants()[tenant].registry
        now_ns = store.clock_ns()
        try:
            month = month_of(visit.query.get("month", ""), registry.zone, now_ns)
        except ConfigurationError as fault:
            return visit.failure(404, "There is no such month", sentence(f"{fault}"))
        return visit.page(
            "report/page.html",
            report=self._report(visit, store, tenant, month),
            registry=registry,
            tenants=visit.readable,
            months=months_back(registry.zone, now_ns, MONTHS_OFFERED),
            channels=sorted(registry.channels) if may(visit.person, "notifications", tenant) else [],
            sent=visit.query.get("sent", "")[:8],
            sent_to=visit.query.get("to", "")[:64],
            by=BY,
            compared=compared,
            figure_text=figure_text,
            signed_percent=signed_percent,
            value_text=value_text,
            trend_signs=_TREND_SIGNS,
            trend_words=_TREND_WORDS,
        )
