"""Replication: how many agents an owner may have, how many of their runs may be open, how deep agents call agents.

Rule 1: a run counts as open until it is ended, or nothing of it was called for as long as is configured.
Rule 2: a run that was delegated counts for the owner of the agent that its tree began with, who spends on it too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from aegis_gateway.domain.decision import Mode, Reason
from aegis_gateway.domain.duration import duration_text

IDLE_NS = 15 * 60 * 1_000_000_000
"""After how long without a call a run counts no more, where the configuration doesn't say."""
RUN_LIFETIME_NS = 30 * 86_400 * 1_000_000_000
"""How long a run that was opened as such may go on, with all that is delegated in it."""
REPLICATION = "replication"
"""What the bounds of a tenant's owners are called, all together."""
OF_REPLICATION = f"{REPLICATION}:"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The most that an owner may have; nothing bounds what is None."""

    depth_max: int | None = None
    agents_max: int | None = None
    runs_max: int | None = None


NO_BOUNDS = Bounds()


class Replication(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's bounds for each owner, and other ones for some."""

    bounds: Bounds = NO_BOUNDS
    owners: dict[str, Bounds] = {}
    idle_ns: int = IDLE_NS
    mode: Mode = "enforce"

    def of(self, owner: str) -> Bounds:
        """An owner's bounds: their own, and where they have none those of all."""
        own = self.owners.get(owner)
        if own is None:
            return self.bounds
        every = self.bounds
        return Bounds(
            depth_max=every.depth_max if own.depth_max is None else own.depth_max,
            agents_max=every.agents_max if own.agents_max is None else own.agents_max,
            runs_max=every.runs_max if own.runs_max is None else own.runs_max,
        )


class RunClaim(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A call's run, as the ledger has to look at it.

    It counts for `owner`, who may have `runs_max` open, if anything bounds them. One that `is_kept` was opened as such:
    it must be there and not be ended. `root` is the number of the run that its tree began with, if that is another.
    """

    number: str
    run: str
    agent: str
    owner: str
    idle_ns: int = IDLE_NS
    runs_max: int | None = None
    mode: Mode = "enforce"
    is_kept: bool = False
    root: str = ""
    above: str = ""
    opened_ns: int = 0

    def only_notes(self, over: Reason) -> bool:
        """Whether what is over a bound is only noted: how many runs are open, in shadow. One that ended stays so."""
        return over.code == "too_many_runs" and self.mode == "shadow"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the ledger keeps it. Calls keep it open until `open_until_ns`; at `forget_ns` it may be forgotten.

    `above` is the number of the run that it was delegated in.
    """

    tenant: str
    number: str
    run: str
    agent: str
    owner: str
    root: str
    above: str
    is_kept: bool
    opened_ns: int
    open_until_ns: int
    forget_ns: int
    ended_ns: int | None = None

    def is_open(self, now_ns: int) -> bool:
        """Whether it counts."""
        return self.ended_ns is None and now_ns < self.open_until_ns


def called(claim: RunClaim, tenant: str, before: Run | None, now_ns: int) -> Run:
    """A run after a call of it."""
    open_until_ns = now_ns + claim.idle_ns
    opened_ns = before.opened_ns if before is not None else claim.opened_ns or now_ns
    return Run(
        tenant=tenant,
        number=claim.number,
        run=claim.run,
        agent=claim.agent,
        owner=claim.owner,
        root=claim.root,
        above=claim.above,
        is_kept=claim.is_kept,
        opened_ns=opened_ns,
        open_until_ns=open_until_ns,
        forget_ns=opened_ns + RUN_LIFETIME_NS if claim.is_kept else open_until_ns,
    )


def ended(run: Run, now_ns: int) -> Run:
    """A run that is ended. It is remembered for as long as anybody could name it again."""
    forget_ns = max(run.forget_ns, now_ns + RUN_LIFETIME_NS)
    return msgspec.structs.replace(run, ended_ns=now_ns, forget_ns=forget_ns)


def too_deep(replication: Replication | None, owner: str, depth: int) -> Reason | None:
    """Why a call is too deep for its owner, if it is."""
    most = None if replication is None else replication.of(owner).depth_max
    if most is None or depth <= most:
        return None
    return Reason(
        code="too_deep",
        subject=f"{OF_REPLICATION}depth",
        message=f"the call would be {depth} calls deep, and owner `{owner}` may have them {most} deep; is an agent "
        "calling itself?",
    )


def too_many_runs(claim: RunClaim) -> Reason:
    """Why a run isn't opened, where its owner has as many as they may."""
    return Reason(
        code="too_many_runs",
        subject=f"{OF_REPLICATION}runs",
        message=f"owner `{claim.owner}` has {claim.runs_max} runs open, which is the most; go on with one of them "
        "(`Aegis-Run-Id`), or end one (`DELETE /v1/runs/{id}`); one that nothing is called in counts for "
        f"{duration_text(claim.idle_ns)}",
    )


def run_refusal(claim: RunClaim, run: Run | None, others_open: int, now_ns: int) -> Reason | None:
    """Why nothing may be called in a run, or it may not be opened: it is ended, or its owner has as many as they may.

    `run` is what is kept of it, `others_open` how many others count for its owner.
    """
    if run.ended_ns is not None if run is not None else claim.is_kept:
        return run_ended(claim.run)
    if claim.runs_max is None or (run is not None and run.is_open(now_ns)):
        return None
    return too_many_runs(claim) if others_open >= claim.runs_max else None


def run_ended(run: str) -> Reason:
    """Why nothing is called in a run any more."""
    return Reason(
        code="run_ended",
        subject=run,
        message=f"run `{run}` is ended; open another (`POST /v1/runs`), or leave `Aegis-Run-Id` out",
    )


def too_many_agents(replication: Replication | None, owners: Iterable[str]) -> tuple[str, ...]:
    """What is wrong with how many agents owners have; `owners` are those of all agents of a tenant."""
    if replication is None:
        return ()
    return tuple(
        f"owner `{owner}` would have {count} {'agent' if count == 1 else 'agents'}, and {most} is the most "
        "(`max_agents_per_owner` under `replication`); give some to another owner, or take some out"
        for owner, count in sorted(Counter(owners).items())
        if (most := replication.of(owner).agents_max) is not None and count > most
    )
