"""The pages of policies: which rules are in force and what they did, and one of them in full.

Rule: looking changes nothing; a rule of a tenant that the reader may not see is told as one that isn't there.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from aegis_gateway.application.ports import Store
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.errors import ConfigurationError, VersionForged
from aegis_gateway.entrypoints.people.columns import Column, Row
from aegis_gateway.entrypoints.people.living import living
from aegis_gateway.entrypoints.people.overview.periods import RANGE_WORDS
from aegis_gateway.entrypoints.people.policies.desk import (
    DID_WORDS,
    REFUSED,
    PoliciesDesk,
    Rule,
    calls_address,
    settings_of,
)
from aegis_gateway.entrypoints.people.policies.versions import LOOKED_BACK, AppliedVersions
from aegis_gateway.entrypoints.people.policies.view import (
    EFFECT_WORDS,
    MODE_WORDS,
    PoliciesView,
    view_of,
)
from aegis_gateway.entrypoints.people.tables import table_file
from aegis_gateway.entrypoints.people.visits import Visit

_COLUMNS = [
    Column("rule"),
    Column("effect"),
    Column("mode"),
    Column("who"),
    Column("what"),
    Column("when"),
    Column("message"),
    Column("file"),
    Column("line", "count"),
    Column("since_version", "count"),
    Column("did"),
    Column("calls", "count"),
    Column("expected_usd", "usd"),
    Column("spent_usd", "usd"),
]


class PoliciesPages:
    """What is answered to visits of these pages."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are the installation's."""
        self.versions = AppliedVersions(settings)

    def show_all(self, visit: Visit) -> Response:
        """A tenant's rules, with what they did in a period."""
        view = _view(visit)
        if view is None:
            return visit.without_tenant()
        fault = ""
        rules: list[Rule] = []
        with visit.office.store() as store:
            desk = self._desk(visit, store, view.tenant)
            period = desk.period(view)
            try:
                rules = desk.rules(view)
                version = desk.in_force()
            except (VersionForged, ConfigurationError) as error:
                fault, version = f"{error}", None
        return living(
            visit,
            "policies/all.html",
            view=view,
            tenants=visit.readable,
            rules=rules,
            version=version,
            period=period,
            fault=fault,
            calls_address=calls_address,
            ranges=list(RANGE_WORDS.items()),
            effect_words=EFFECT_WORDS,
            mode_words=MODE_WORDS,
        )

    def export_table(self, visit: Visit) -> Response:
        """The same as a file: a row for each thing that a rule did."""
        view = _view(visit)
        if view is None:
            return visit.without_tenant()
        with visit.office.store() as store:
            rules = self._desk(visit, store, view.tenant).rules(view)
        return table_file(visit, f"{view.tenant}-policies-{view.range}", _COLUMNS, _rows(rules))

    def show_one(self, visit: Visit) -> Response:
        """One rule: its text, what it did, whose calls it decided, how it came to be what it is."""
        tenant, name = visit.at["tenant"], visit.at["rule"]
        if tenant not in visit.readable:
            return _no_rule(visit)
        view = view_of(visit.query, tenant)
        with visit.office.store() as store:
            desk = self._desk(visit, store, tenant)
            period = desk.period(view)
            rule = next(iter(desk.rules(view, only=name)), None)
            history = desk.history(name)
            if rule is None and not history:
                return _no_rule(visit)
            counts = desk.over_time(name, period)
            agents = desk.agents(name, period)
            source = desk.source(name)
        acts = sorted({did for each in counts for did in each})
        return living(
            visit,
            "policies/one.html",
            view=view,
            tenant=tenant,
            name=name,
            rule=rule,
            settings=settings_of(rule.policy) if rule is not None and rule.policy is not None else [],
            source=source,
            period=period,
            counts=[pair for pair in zip(period.stretches, counts, strict=True) if pair[1]],
            columns=_columns_of(counts),
            acts=acts,
            did_words=DID_WORDS,
            refused=REFUSED,
            agents=agents,
            history=history,
            looked_back=LOOKED_BACK,
            calls_address=calls_address(tenant, name, view.range),
            ranges=list(RANGE_WORDS.items()),
            effect_words=EFFECT_WORDS,
            mode_words=MODE_WORDS,
        )

    def _desk(self, visit: Visit, store: Store, tenant: str) -> PoliciesDesk:
        zone = visit.office.tenants()[tenant].registry.zone
        sees_shared = visit.office.sees_shared(visit.person)
        return PoliciesDesk(store, self.versions, tenant, zone, sees_shared=sees_shared)


def _columns_of(counts: list[dict[str, int]]) -> list[tuple[int, int, int]]:
    """Where each column of the chart begins, how wide and how high it is, in thousandths."""
    totals = [sum(each.values()) for each in counts]
    most = max(totals, default=0)
    width = 1_000 // max(1, len(totals))
    return [
        (place * width, max(1, width - 2), -(-total * 1_000 // most) if most else 0)
        for place, total in enumerate(totals)
    ]


def _rows(rules: list[Rule]) -> Iterator[Row]:
    for rule in rules:
        origin, since = rule.origin, rule.since
        known: list[str | int | None] = [rule.id, rule.effect, rule.mode]
        if origin is None:
            known += [None, rule.about, None, None, None, None]
        else:
            known += [origin.who, origin.what, origin.when, origin.message, origin.file, origin.line]
        known.append(since.version if since is not None else None)
        if not rule.did:
            yield [*known, None, 0, None, None]
        for each in rule.did:
            yield [
                *known,
                each.did,
                each.calls,
                each.expected,
                each.cost if each.did == "permitted" else None,
            ]


def _view(visit: Visit) -> PoliciesView | None:
    """What is asked for; None where it is of no tenant that the reader may see."""
    tenant = visit.tenant
    return None if tenant is None else view_of(visit.query, tenant)


def _no_rule(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such rule",
        "No version that is kept has it, or the address was cut, or it is of a tenant that you may not see.",
    )
