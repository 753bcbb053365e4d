"""The page of a proposal: what it would change, and the answer of a second person.

Rule: looking changes nothing; an answer is a form of the page that shows what it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.responses import Response

from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError, NotPermitted, VersionForged
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.entrypoints.cli.configuration import Plan
from aegis_gateway.entrypoints.people.policies.comparison import Comparison
from aegis_gateway.entrypoints.people.policies.proposals_desk import ProposalsDesk
from aegis_gateway.entrypoints.people.policies.versions import AppliedVersions
from aegis_gateway.entrypoints.people.policies.versions_pages import NOTE_CHARACTERS_MAX, number_of
from aegis_gateway.entrypoints.people.reader import reader_of
from aegis_gateway.entrypoints.people.visits import Visit, redirect
from aegis_gateway.entrypoints.people.words import sentence


class ProposalsPages:
    """What is answered to visits of these pages."""

    def __init__(self, settings: Settings, versions: AppliedVersions) -> None:
        """`settings` are the installation's."""
        self._settings = settings
        self._versions = versions

    def show_one(self, visit: Visit) -> Response:
        """One proposal, what it would change, and the form to answer it where the reader may."""
        with self._desk(visit) as desk:
            proposal = desk.find(number_of(visit.at["proposal"]))
            return _none(visit) if proposal is None else _one(visit, desk, proposal)

    def answer_one(self, visit: Visit) -> Response:
        """Take an answer. Where it doesn't count, the page says why."""
        with self._desk(visit) as desk:
            proposal = desk.find(number_of(visit.at["proposal"]))
            if proposal is None:
                return _none(visit)
            note = " ".join(visit.field("note").split())[:NOTE_CHARACTERS_MAX]
            try:
                why = desk.why_not_answer(proposal)
                if why:
                    raise NotPermitted(why)
                if not note:
                    raise ConfigurationError("say why; it is recorded")
                done = _answered(desk, proposal, visit.field("answer"), note)
            except (ConfigurationError, NotPermitted, VersionForged) as fault:
                status = 403 if isinstance(fault, NotPermitted) else 409
                now = desk.find(proposal.number) or proposal
                return _one(visit, desk, now, status=status, error=f"your answer was not taken: {fault}")
        place = f"versions/{done.version}" if isinstance(done, ConfigVersion) else f"proposals/{done.number}"
        return redirect(f"/policies/{place}")

    @contextmanager
    def _desk(self, visit: Visit) -> Iterator[ProposalsDesk]:
        with visit.office.store() as store:
            yield ProposalsDesk(store, self._settings, self._versions, reader_of(visit))


def _answered(desk: ProposalsDesk, proposal: Proposal, answer: str, note: str) -> ConfigVersion | Proposal:
    acts = {"approve": desk.approve, "refuse": desk.refuse, "review": desk.review}
    if answer not in acts:
        raise ConfigurationError("choose an answer")
    return acts[answer](proposal, note)


def _one(
    visit: Visit, desk: ProposalsDesk, proposal: Proposal, *, status: int = 200, error: str = ""
) -> Response:
    comparison: Comparison | None = None
    plan: Plan | None = None
    fault = why_not_approve = ""
    try:
        comparison = desk.compared(proposal)
    except (ConfigurationError, VersionForged) as problem:
        fault = sentence(f"{problem}")
    why_not_answer = desk.why_not_answer(proposal)
    if proposal.state == "open":
        why_not_approve = desk.why_not_approve(proposal, comparison)
        if not why_not_approve:
            try:
                plan = desk.plan(proposal)
            except (ConfigurationError, VersionForged, NotPermitted) as problem:
                why_not_approve = f"{problem}"
    return visit.page(
        "policies/proposal.html",
        status=status,
        proposal=proposal,
        comparison=comparison,
        fault=fault,
        sees_all=all(map(desk.may_read, proposal.tenants)),
        ended=plan.ended if plan is not None else (),
        why_not_answer=why_not_answer,
        why_not_approve=why_not_approve,
        current=desk.current,
        error=sentence(error) if error else "",
        note=visit.field("note"),
        note_max=NOTE_CHARACTERS_MAX,
    )


def _none(visit: Visit) -> Response:
    return visit.failure(
        404,
        "There is no such proposal",
        "The address may have been cut, or it is about tenants that you may not see.",
    )
