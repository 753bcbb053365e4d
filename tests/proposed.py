"""A gateway whose tenant `acme` has four eyes, and a proposal in it that waits for the second person."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from aegis_gateway import bootstrap
from aegis_gateway.application.operators import Caller
from aegis_gateway.domain.people import Grant
from aegis_gateway.domain.proposal import Proposal
from aegis_gateway.entrypoints.cli.configuration import put_in_force
from aegis_gateway.entrypoints.cli.session import Session
from aegis_gateway.entrypoints.cli.versions import rollback_plan
from tests.browsers import Staff
from tests.gateways import PEPPER, TENANT, Files, Gateway
from tests.policed import files_of

LIMITS = (("7.00", "79.00"), ("6.00", "77.00"), ("5.00", "77.00"))
"""What acme may spend by `day` and zeta by `zb`, by version: going back to 2 changes acme alone, to 1 both."""


def files_with(limit: str, of_zeta: str) -> Files:
    """The files of one version."""
    files = files_of("http://127.0.0.1:9", limit=limit)
    text = files["aegis.yaml"].replace("  acme:\n", "  acme:\n    changes: {four_eyes: true}\n", 1)
    return {**files, "aegis.yaml": text.replace("limit: 77.00", f"limit: {of_zeta}")}


@contextlib.contextmanager
def with_four_eyes() -> Iterator[tuple[Gateway, Staff]]:
    """Three versions, each lower than the one before. Fin may propose in acme, ben and bea approve, au looks on; ana is
    an admin everywhere, zoe has no role.
    """
    with Gateway(files_with(*LIMITS[0])) as gateway:
        for limits in LIMITS[1:]:
            gateway.apply(files_with(*limits))
        staff = Staff(gateway)
        staff.add("fin", Grant(role="finops", tenant=TENANT))
        for person in ("ben", "bea"):
            staff.add(person, Grant(role="approver", tenant=TENANT))
        staff.add("au", Grant(role="auditor", tenant=TENANT))
        staff.add("zoe")
        yield gateway, staff


def propose(gateway: Gateway, staff: Staff, who: str, version: int, *, is_emergency: bool = False) -> int:
    """Somebody wants to go back to a version; the number of the proposal, or of the emergency that it was."""
    caller = Caller(local_name="test", token=staff.tokens[who])
    pepper = gateway.directory / "pepper"
    pepper.write_text(PEPPER)
    settings = msgspec.structs.replace(gateway.settings, pepper=f"file:{pepper}")
    with contextlib.closing(bootstrap.store(settings)) as store:
        session = Session(settings, store, caller)
        target = session.reports.version(version)
        assert target is not None
        done = put_in_force(
            session, rollback_plan(session, target), "more", version, is_emergency=is_emergency
        )
        assert is_emergency != isinstance(done, Proposal)
        return session.reports.proposals(1, only_waiting=True)[0].number
