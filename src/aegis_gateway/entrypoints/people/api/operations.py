"""The operations of the control API. Each acts in the name of the person whose token comes with it.

Rule: a tenant that its person may not read is told as one that isn't there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from aegis_gateway.adapters.budget_use import BudgetUse
from aegis_gateway.adapters.holds import WordsAsked
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.adapting import proposal_seen
from aegis_gateway.application.amending import InForce
from aegis_gateway.application.operators import Caller
from aegis_gateway.domain.adaptation_turn import turn_now
from aegis_gateway.domain.errors import CallError, NotPermitted
from aegis_gateway.domain.moment import ns_of
from aegis_gateway.entrypoints.cli.adaptation import adaptation_record
from aegis_gateway.entrypoints.cli.budget import standing_record
from aegis_gateway.entrypoints.people.api import forms
from aegis_gateway.entrypoints.people.approvals.brief import state_now
from aegis_gateway.entrypoints.people.approvals.desk import LISTED_MAX, ApprovalsDesk
from aegis_gateway.entrypoints.people.asking import more_asked_for
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.reader import Reader
from aegis_gateway.entrypoints.people.words import iso

_bearer = HTTPBearer(auto_error=False, description="A person's token (`aegis people token issue`).")


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever calls, and what they work on."""

    office: Office
    reader: Reader

    def tenant(self, given: str | None) -> str:
        """The tenant that is meant: the one that is named, or the only one that the person may read."""
        readable = self.office.readable(self.reader.person)
        if given is None and len(readable) == 1:
            return readable[0]
        if given not in readable:
            said = (
                "name one with `tenant`"
                if given is None
                else f"there is no tenant `{given[:64]}` that you may read"
            )
            raise CallError(
                f"{said}: {', '.join(readable) or 'you may read none'}", field="tenant", status=404
            )
        return given

    def tenant_of_owner(self, given: str | None) -> str:
        """The same for one who may own something in a tenant that they may not read."""
        readable = self.office.readable(self.reader.person)
        known = sorted(self.office.tenants())
        if given is not None and given not in readable and given in known:
            return given
        if given is None and not readable and len(known) == 1:
            return known[0]
        return self.tenant(given)


def _asker(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Asker:
    office: Office = request.app.state.office
    if credentials is None:
        raise CallError(
            "a person's token is needed, as `Authorization: Bearer aegis_person_…`; "
            "an admin issues it: `aegis people token issue PERSON`",
            status=401,
        )
    found = office.token_holder(credentials.credentials)
    if any("\0" in f"{each}" for each in (*request.path_params.values(), *request.query_params.values())):
        # No text of a store has one, and PostgreSQL refuses to be asked for it.
        raise CallError("leave the NUL out; nothing here is named with one", status=422)
    if found is None:
        raise CallError("the token is not known here, or is not valid any more", status=401)
    person, token = found
    caller = Caller(token=credentials.credentials, via="api")
    return Asker(office=office, reader=Reader(person=person, behind=token.behind, caller=caller))


Asks = Annotated[Asker, Depends(_asker)]
Tenant = Annotated[
    str | None, Query(description="The tenant; may be left out where you may read one alone.", max_length=64)
]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": forms.Problem, "description": "No valid token of a person."},
    404: {"model": forms.Problem, "description": "There is none that you may read."},
    503: {"model": forms.Problem, "description": "The store can't be read, or didn't take it; try again."},
}

router = APIRouter(prefix="/api/v1", responses=PROBLEMS)


@router.get("/approvals", tags=["Approvals"], response_model=forms.ApprovalList, summary="List requests")
def list_approvals(
    asks: Asks,
    tenant: Tenant = None,
    state: Annotated[
        Literal["waiting", "decided"],
        Query(description="Those that wait, or those of which something became."),
    ] = "waiting",
    limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50,
) -> dict[str, Any]:
    """List requests for a person's word, in all tenants that you may read or in one."""
    if tenant is not None:
        asks.tenant(tenant)
    with asks.office.store() as store:
        desk = ApprovalsDesk(asks.office, store, asks.reader)
        found = desk.waiting(tenant) if state == "waiting" else desk.decided(tenant)
    now_ns = asks.office.now_ns()
    return {"approvals": [forms.short(each, state_now(each, now_ns)) for each in found[:limit]]}


Approval = Annotated[str, Path(description="The request's id, `apr_…`.", max_length=64)]


@router.get(
    "/approvals/{approval}", tags=["Approvals"], response_model=forms.ApprovalFull, summary="Show one request"
)
def show_approval(asks: Asks, approval: Approval) -> dict[str, Any]:
    """Show one request with all that is known about it."""
    with asks.office.store() as store:
        desk = ApprovalsDesk(asks.office, store, asks.reader)
        found = desk.find(approval)
        if found is None:
            raise _no_such(approval)
        return forms.full(desk.full(found))


@router.post(
    "/approvals/{approval}/answer",
    tags=["Approvals"],
    response_model=forms.ApprovalFull,
    summary="Answer a request",
    responses={
        409: {"model": forms.Problem, "description": "The answer doesn't count; the detail says why."},
        422: {"model": forms.Problem, "description": "The answer can't be understood, or has no reason."},
    },
)
def answer_approval(asks: Asks, approval: Approval, answer: forms.AnswerRequest) -> dict[str, Any]:
    """Grant or refuse, in your name. The same answer again changes nothing; a refusal needs a reason."""
    reason = answer.reason.strip()
    if answer.answer == "refuse" and not reason:
        raise CallError("a refusal needs a reason: the agent is told it", field="reason", status=422)
    with asks.office.store() as store:
        desk = ApprovalsDesk(asks.office, store, asks.reader)
        found = desk.find(approval)
        if found is None:
            raise _no_such(approval)
        try:
            desk.answer(found, answer.answer, reason)
        except NotPermitted as fault:
            raise CallError(f"{fault}", status=409) from None
        return forms.full(desk.full(desk.find(approval) or found))


@router.get("/budgets", tags=["Budgets"], response_model=forms.BudgetList, summary="List budgets")
def list_budgets(
    asks: Asks,
    tenant: Tenant = None,
    budget: Annotated[str | None, Query(description="One budget.", max_length=128)] = None,
) -> dict[str, Any]:
    """List what a tenant's budgets bear in their current windows: limit, spent, reserved, left."""
    return _balances(asks, tenant, budget)


@router.get("/budgets/{budget}", tags=["Budgets"], response_model=forms.BudgetList, summary="Show one budget")
def show_budget(
    asks: Asks,
    budget: Annotated[str, Path(description="The budget's id.", max_length=128)],
    tenant: Tenant = None,
) -> dict[str, Any]:
    """Show one budget: its balances, and of each how its thresholds stand and which one is passed next."""
    return _balances(asks, tenant, budget)


def _balances(asks: Asker, tenant: str | None, budget: str | None) -> dict[str, Any]:
    """The balances of all budgets of a tenant, or of one."""
    name = asks.tenant(tenant)
    registry = asks.office.tenants()[name].registry
    if budget is not None and budget not in registry.budgets:
        raise CallError(f"there is no budget `{budget[:64]}` in `{name}`", field="budget", status=404)
    wanted = [
        each
        for each in sorted(registry.budgets.values(), key=lambda each: each.id)
        if budget in (None, each.id)
    ]
    with asks.office.store() as store:
        now_ns = store.clock_ns()
        standings = Reports(store.query).standings(name, wanted, now_ns)
        word_on = WordsAsked(store.query, name)
        records = [
            standing_record(each, registry.quantities[each.budget.quantity], now_ns, word_on)
            for each in standings
        ]
    return {"tenant": name, "at": iso(now_ns), "budgets": records}


@router.get(
    "/budgets/{budget}/adaptation",
    tags=["Budgets"],
    response_model=forms.Adaptation,
    summary="Show what a limit that follows use should be",
)
def show_adaptation(
    asks: Asks,
    budget: Annotated[str, Path(description="The budget's id.", max_length=128)],
    tenant: Tenant = None,
) -> dict[str, Any]:
    """Show what the limit of a budget with `adapts` should be in the present turn, why, and what was used before."""
    name = asks.tenant(tenant)
    view = asks.office.tenants()[name]
    found = view.registry.budgets.get(budget)
    if found is None or found.adapts is None:
        said = (
            f"there is no budget `{budget[:64]}`"
            if found is None
            else f"the limit of `{budget}` doesn't follow use"
        )
        raise CallError(f"{said} in `{name}`", field="budget", status=404)
    newest = view.beside_version or view.config_version
    in_force = InForce(registry=view.registry, version=view.config_version, newest=newest)
    with asks.office.store() as store:
        used, now_ns = BudgetUse(store.query), store.clock_ns()
        use = used.use(name, found, now_ns)
        proposed = proposal_seen(in_force, used, budget, use, now_ns)
    record = adaptation_record(proposed, use.windows, turn_now(found, now_ns), view.registry)
    return {"tenant": name, "at": iso(now_ns), **record}


@router.post(
    "/budgets/{budget}/asks",
    tags=["Budgets"],
    response_model=forms.ApprovalFull,
    summary="Ask for more",
    responses={
        403: {"model": forms.Problem, "description": "You may not; the detail says who may."},
        409: {
            "model": forms.Problem,
            "description": "It can't be had, or nobody could agree; the detail says why.",
        },
        422: {"model": forms.Problem, "description": "The wish can't be understood, or has no reason."},
    },
)
def ask_for_more(
    asks: Asks,
    budget: Annotated[str, Path(description="The budget's id.", max_length=128)],
    wish: forms.AskRequest,
    tenant: Tenant = None,
) -> dict[str, Any]:
    """Ask another person for more of a budget, in your name. Whoever owns an agent whose calls count on it may too."""
    name = asks.tenant_of_owner(tenant)
    if (wish.until is None) != wish.lasting:
        raise CallError("say either `until` when, or that it is `lasting`", field="until", status=422)
    ends_ns = None if wish.until is None else ns_of(wish.until)
    if wish.until is not None and ends_ns is None:
        raise CallError("`until` is too far away; write a time before 2262", field="until", status=422)
    with asks.office.store() as store:
        asked = more_asked_for(
            asks.office, store, asks.reader, name, budget, wish.amount, ends_ns, wish.reason
        )
        return forms.full(ApprovalsDesk(asks.office, store, asks.reader).full(asked))


def _no_such(approval: str) -> CallError:
    return CallError(f"there is no approval `{approval}` that you may read", status=404)
