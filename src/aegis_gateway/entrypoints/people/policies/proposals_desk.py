"""Proposals as one reader sees them: what each would change, and the reader's answer.

Rule 1: an answer takes the way of `aegis proposals`, in the reader's name: who may, and whether they are certainly
        another person than the author, is asked in the transaction. What is told before that is a forecast of it.
Rule 2: nobody approves here what they aren't shown all of.
"""

from __future__ import annotations

from aegis_gateway import bootstrap
from aegis_gateway.adapters.reports import Reports
from aegis_gateway.application.ports import Store
from aegis_gateway.application.proposals import why_not_two
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.people import may
from aegis_gateway.domain.proposal import WAITING, Proposal
from aegis_gateway.entrypoints.cli.configuration import Plan
from aegis_gateway.entrypoints.cli.proposals import approve_proposal, proposal_plan
from aegis_gateway.entrypoints.people.policies.comparison import Comparison, compared
from aegis_gateway.entrypoints.people.policies.versions import AppliedVersions
from aegis_gateway.entrypoints.people.policies.versions_desk import VersionsDesk
from aegis_gateway.entrypoints.people.reader import Reader


class ProposalsDesk:
    """The proposals, on a store, for one reader."""

    def __init__(self, store: Store, settings: Settings, versions: AppliedVersions, reader: Reader) -> None:
        """Look up nothing yet."""
        self._reports = Reports(store.query)
        self._reader = reader
        self._versions = VersionsDesk(store, settings, versions, reader)
        self._session = self._versions.session

    def find(self, number: int) -> Proposal | None:
        """One, answered or not; None where there is none that the reader may see."""
        found = self._reports.proposal(number)
        return found if found is not None and any(map(self.may_read, found.tenants)) else None

    def may_read(self, tenant: str) -> bool:
        """Whether the reader may see a tenant."""
        return self._versions.may_read(tenant)

    @property
    def current(self) -> int:
        """The number of the version that decides, or is tried; 0 where there is none."""
        return self._versions.current

    def compared(self, proposal: Proposal) -> Comparison:
        """What it would change in the version that it is based on.

        Raises:
            ConfigurationError: the files can't be understood any more.
            VersionForged: that version is not as it was signed.
        """
        old = self._versions.loaded(proposal.based_on) if proposal.based_on else None
        return compared(
            old[1] if old is not None else None,
            bootstrap.configuration(proposal.files),
            old[0].files if old is not None else {},
            proposal.files,
            self.may_read,
        )

    def plan(self, proposal: Proposal) -> Plan:
        """What approving it would change in what is in force now.

        Raises:
            ConfigurationError: its files can't be in force any more.
            VersionForged: what is in force is not as it was signed.
        """
        return proposal_plan(self._session, proposal)

    def why_not_answer(self, proposal: Proposal) -> str:
        """Why the reader's word on it wouldn't count, as it looks; empty if it would."""
        if proposal.state not in WAITING:
            return f"proposal {proposal.number} is {proposal.state} already"
        if not all(may(self._reader.person, "approve", tenant) for tenant in proposal.tenants):
            # Which tenants these are isn't said: the reader may not see them all.
            return "that needs the role admin or approver in each tenant in which it widens something"
        return why_not_two(proposal, self._reader.person.id, self._reader.behind)

    def why_not_approve(self, proposal: Proposal, comparison: Comparison | None) -> str:
        """Why it can't be approved here, though the reader may answer it; empty if it can be."""
        if proposal.state != "open":
            return f"proposal {proposal.number} is {proposal.state}"
        if proposal.based_on != self.current:
            return f"version {self.current} is in force by now, so it has to be proposed anew"
        if comparison is None:
            return "what it would change can't be shown"
        if comparison.is_partial:
            return "you may not see all that it would change; it wants somebody who may see all of it"
        return self._session.signatures.why_not_sign

    def approve(self, proposal: Proposal, note: str) -> ConfigVersion | Proposal:
        """Put it in force.

        Raises:
            NotPermitted: the reader may not, or it was answered already.
            ConfigurationError: it can't be approved here, or not as things are; the message says why.
            VersionForged: what is in force is not as it was signed.
        """
        why = self.why_not_approve(proposal, self.compared(proposal))
        if why:
            raise ConfigurationError(why)
        return approve_proposal(self._session, proposal, self.plan(proposal), note)

    def refuse(self, proposal: Proposal, reason: str) -> Proposal:
        """Say no to it.

        Raises:
            NotPermitted: the reader may not, or it was answered already.
        """
        return self._session.proposals().refuse(proposal.number, reason)

    def review(self, proposal: Proposal, note: str) -> Proposal:
        """Say that the reader has looked at what was done in an emergency.

        Raises:
            NotPermitted: the reader may not, or it was answered already.
        """
        return self._session.proposals().review(proposal.number, note)
