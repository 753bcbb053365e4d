"""The page of settings, and signing out elsewhere.

Rule: it shows what is in force, without secrets; nothing but one's own sessions and views is changed here.
"""

from __future__ import annotations

import os

from starlette.responses import Response

from aegis_gateway.adapters.attendance import read_attendance
from aegis_gateway.adapters.delivery_reports import DeliveryReports
from aegis_gateway.adapters.saved_view_rows import SavedViewReports
from aegis_gateway.adapters.sessions import StoredSessions
from aegis_gateway.application.sessions import secret_digest
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.people import PERMISSION_WORDS, PERMISSIONS
from aegis_gateway.domain.saved_view import NAME_CHARACTERS_MAX
from aegis_gateway.entrypoints.people.settings.facts import (
    channel_lines,
    gateway_facts,
    grants_in,
    tenant_facts,
)
from aegis_gateway.entrypoints.people.signing_in import signed_out
from aegis_gateway.entrypoints.people.visits import Visit, redirect


class SettingsPages:
    """What is answered to visits of these pages."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are the installation's."""
        self._settings = settings

    def show(self, visit: Visit) -> Response:
        """Oneself, one's sessions and views, and how what one may see is set up."""
        readable, views, person = visit.readable, visit.office.tenants(), visit.person
        tenant = visit.tenant
        if tenant is None and readable:
            return visit.no_tenant()
        digest = secret_digest("session", visit.secret, visit.office.pepper)
        with visit.office.store() as store:
            now_ns, saved, told = store.clock_ns(), SavedViewReports(store.rows), DeliveryReports(store.rows)
            return visit.page(
                "settings/page.html",
                tenants=readable,
                tenant=tenant,
                roles=[(each, grants_in(person, each)) for each in readable],
                permissions=[
                    words
                    for permission, words in PERMISSION_WORDS.items()
                    if tenant
                    and {each.role for each in grants_in(person, tenant)} & {*PERMISSIONS[permission]}
                ],
                sessions=[
                    (each, hint, each.hash == digest)
                    for each, hint in StoredSessions(store.query).open_of(person.id, now_ns)
                ],
                absence=read_attendance(store, now_ns).away.get(person.id),
                own=saved.of_person(person.id),
                shared=saved.shared(person.id, readable),
                name_max=NAME_CHARACTERS_MAX,
                facts=tenant_facts(views[tenant]) if tenant else [],
                channels=channel_lines(views[tenant].registry, told) if tenant else [],
                gateway=gateway_facts(self._settings, os.environ),
                ended=visit.query.get("ended", "")[:6],
            )

    def end_sessions(self, visit: Visit) -> Response:
        """Sign out everywhere else, or everywhere."""
        is_everywhere = visit.field("which") == "all"
        with visit.office.store() as store:
            count = visit.office.sessions(store).end_all(visit.secret, and_this=is_everywhere)
        return signed_out(visit) if is_everywhere else redirect(f"/settings?ended={count}#sessions")
