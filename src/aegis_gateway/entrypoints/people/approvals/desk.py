"""What is read of requests and what belongs to them, and how they are answered, for one reader.

Rule 1: a reader sees the requests of tenants that they may read, and no trace of others.
Rule 2: who may answer is decided where the answer is taken (`application/approvals.py`); what is told before that is a
        forecast of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.attendance import read_attendance
from aegis_gateway.adapters.reports import BudgetStanding, CallFilter, CallReport, Reports
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.claims import claims_of
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.ports import Store
from aegis_gateway.domain.approval import AnswerKind, Approval
from aegis_gateway.domain.people import may
from aegis_gateway.domain.registry import Agent, Key
from aegis_gateway.entrypoints.people.approvals.brief import (
    Background,
    Brief,
    brief_of,
    state_now,
)
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.reader import Reader

LISTED_MAX = 200
WAITING_MAX = 1_000
"""How many that wait are looked at in a tenant; an agent may have only so many of them."""
_CALLS_DAYS = 7
_CALLS_MAX = 200
_DAY_NS = 86_400 * 1_000_000_000
_NO_KEY = Key(id="", agent="", hash=b"", hint="", issued_ns=0)


class ApprovalsDesk:
    """The requests that one reader may see, on a store."""

    def __init__(self, office: Office, store: Store, reader: Reader) -> None:
        """Look up nothing yet."""
        self._office = office
        self._store = store
        self._reader = reader
        self._reports = Reports(store.query)
        self._approvals = ApprovalReports(store.rows)
        self._tenants: Mapping[str, TenantView] = office.tenants()
        self._now_ns = store.clock_ns()
        self._attendance = read_attendance(store, self._now_ns)

    @property
    def readable(self) -> list[str]:
        """The tenants that the reader may see."""
        return sorted(tenant for tenant in self._tenants if may(self._reader.person, "read", tenant))

    def waiting(self, tenant: str | None = None) -> list[Approval]:
        """Requests that wait, the most urgent first."""
        found = [
            approval
            for each in self._of(tenant)
            for approval in self._approvals.approvals(each, WAITING_MAX, "waiting")
            if state_now(approval, self._now_ns) == "waiting"
        ]
        return sorted(found, key=lambda approval: (approval.deadline_ns, approval.id))

    def decided(self, tenant: str | None = None, limit: int = LISTED_MAX) -> list[Approval]:
        """What became of requests, the newest first."""
        found = [
            approval
            for each in self._of(tenant)
            for approval in self._approvals.approvals(each, limit)
            if state_now(approval, self._now_ns) != "waiting"
        ]
        return sorted(found, key=lambda approval: (-approval.created_ns, approval.id))[:limit]

    def find(self, approval: str) -> Approval | None:
        """A request by its id; None where there is none that the reader may see."""
        tenant = self._approvals.tenant(approval)
        return self._approvals.approval(tenant, approval) if tenant in self.readable and tenant else None

    def short(self, approval: Approval, group: Iterable[Approval] = ()) -> Brief:
        """A request as it stands in a list."""
        background = Background(group=tuple(group), many_tenants=len(self.readable) > 1)
        return self._brief(approval, background)

    def full(self, approval: Approval) -> Brief:
        """A request with all that is known about it."""
        view = self._tenants[approval.tenant]
        agent = view.registry.agents.get(approval.requester)
        group = [
            each
            for each in self._approvals.together_with(approval)
            if state_now(each, self._now_ns) == "waiting"
        ]
        background = Background(
            agent=agent,
            before=self._approvals.before(approval),
            calls=self._calls(approval) if approval.kind == "call" else (),
            calls_days=_CALLS_DAYS,
            standings=self._standings(approval, view, agent),
            quantities=view.registry.quantities,
            group=tuple(group),
            many_tenants=len(self.readable) > 1,
        )
        return self._brief(approval, background)

    def answer(self, approval: Approval, kind: AnswerKind, reason: str) -> Approval:
        """Answer a request in the reader's name.

        Raises:
            NotPermitted: the answer doesn't count.
        """
        outcomes = bootstrap.outcomes_of(self._office.registries, self._store, approval.tenant, approval.id)
        approvals = Approvals(self._store, self._office.pepper, self._reader.caller, outcomes)
        return approvals.answer(approval.tenant, approval.id, kind, reason)

    def _of(self, tenant: str | None) -> list[str]:
        return [each for each in self.readable if tenant in (None, each)]

    def _brief(self, approval: Approval, background: Background) -> Brief:
        background = msgspec.structs.replace(background, attendance=self._attendance)
        return brief_of(approval, background, self._reader.person, self._reader.behind, self._now_ns)

    def _calls(self, approval: Approval) -> tuple[CallReport, ...]:
        wanted = CallFilter(agent=approval.requester, since_ns=approval.created_ns - _CALLS_DAYS * _DAY_NS)
        return tuple(
            call
            for call in self._reports.calls(approval.tenant, wanted, _CALLS_MAX)
            if approval.about == (f"{call.tool}:{call.model}" if call.model else call.tool)
            and call.decided_ns < approval.created_ns
        )

    def _standings(
        self, approval: Approval, view: TenantView, agent: Agent | None
    ) -> tuple[BudgetStanding, ...]:
        """The balances that the call would count on, as far as they are known before it is made."""
        registry = view.registry
        if approval.kind != "call":
            about = registry.budgets.get(approval.about)
            wanted = {(about.id, "")} if about is not None else set()
        elif agent is None:
            wanted = set()
        else:
            connector, tool, model = (approval.facts.get(name) for name in ("connector", "tool", "model"))
            alone = msgspec.structs.replace(
                view, claims={}
            )  # what is remembered is of calls, and not for this thread
            _, claims = claims_of(
                alone,
                agent,
                _NO_KEY,
                connector=str(connector or ""),
                tool=str(tool or ""),
                model=str(model) if model else None,
                run="",
                opens_run=False,
                customer=None,
            )
            wanted = {(claim.budget, claim.scope) for claim in claims if claim.mode == "enforce"}
        budgets = [registry.budgets[name] for name in sorted({name for name, _ in wanted})]
        return tuple(
            standing
            for standing in self._reports.standings(approval.tenant, budgets, self._now_ns)
            if (standing.budget.id, standing.scope) in wanted
        )


def groups_of(approvals: Iterable[Approval]) -> list[list[Approval]]:
    """Requests in the order in which they come, those that are told together as one."""
    groups: dict[str, list[Approval]] = {}
    for approval in approvals:
        groups.setdefault(approval.group or approval.id, []).append(approval)
    return list(groups.values())
