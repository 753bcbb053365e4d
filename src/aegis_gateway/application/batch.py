"""One transaction of the ledger: what the commands need, read once; what they change, written once.

Rule 1: under the lock a call is decided with the balances that earlier calls of the same batch left.
Rule 2: a call that was judged under another epoch than the locked one is sent back to be judged again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import assert_never

import msgspec

from aegis_gateway.application.books import Books, Windows
from aegis_gateway.application.call_rows import moved_call, new_call
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    Command,
    Dispatch,
    Ended,
    EndRun,
    Expire,
    Failed,
    Keep,
    Kept,
    Known,
    Look,
    Lose,
    Moved,
    Opened,
    OpenRun,
    Release,
    Reply,
    Seen,
    Settle,
    Stale,
    TakenTurn,
    TellOutcome,
    Withdraw,
)
from aegis_gateway.application.held_calls import HeldCalls
from aegis_gateway.application.hours import HoursUsed
from aegis_gateway.application.names import Names
from aegis_gateway.application.open_runs import OpenRuns
from aegis_gateway.application.outcomes import Outcomes
from aegis_gateway.application.ports import (
    CallMove,
    CallRow,
    Changes,
    EntryRow,
    Head,
    LockedTenants,
    ShadowRow,
    StandingRow,
    UsedKey,
)
from aegis_gateway.application.records import (
    decision_record,
    outcome_record,
    run_ended_record,
    run_opened_record,
    settlement_record,
)
from aegis_gateway.application.thresholds import balance_of, look_at, tell
from aegis_gateway.application.usage import UsageSums
from aegis_gateway.domain.admit import (
    Admission,
    StandingKey,
    Standings,
    admit,
    admitted,
    instances_key,
    utilisation,
)
from aegis_gateway.domain.decision import Reason, Shadow, would_deny
from aegis_gateway.domain.entry import ENTRY_VERSION, canonical, time_text
from aegis_gateway.domain.errors import IllegalTransition
from aegis_gateway.domain.ledger import Evidence, Leg, Standing, State, settlement, transition
from aegis_gateway.domain.measure import Measure, measures
from aegis_gateway.domain.quote import Quote
from aegis_gateway.domain.window import Window

CLOCK_FALL_TOLERATED_NS = 5_000_000_000

SHADOWS_MAX = 64
"""How many rules in shadow one call is told of; an entry must fit into a leaf of the transparency log."""

WAITED_AND_NOT_SENT_NS = 10 * 1_000_000_000
"""How long after its wait was over a call may still be sent; then its reservation has run out."""


class Batch:
    """The working set of one transaction: what the commands need, read once; what they change, written once."""

    def __init__(
        self,
        locked: LockedTenants,
        commands: Sequence[Command],
        boot: str,
        windows: Windows,
        *,
        are_new: bool,
    ) -> None:
        """Read what the commands need. `are_new`: take it that admissions' ids are new."""
        self._boot, self._windows = boot, windows
        self._heads = dict(locked.heads)
        self._now = {tenant: max(locked.now_ns, head.last_ns) for tenant, head in self._heads.items()}
        self._time_text = {tenant: time_text(now_ns) for tenant, now_ns in self._now.items()}
        self._fallen = {
            tenant: head.last_ns - locked.now_ns
            for tenant, head in self._heads.items()
            if head.last_ns - locked.now_ns > CLOCK_FALL_TOLERATED_NS
        }
        admits = [
            command for command in commands if isinstance(command, Admit) and command.tenant in self._heads
        ]
        self._claim_windows: dict[str, tuple[Window, ...]] = {
            command.call: tuple(windows.at(claim, self._now[command.tenant]) for claim in command.budgets)
            for command in admits
        }
        known = [
            command.call
            for command in commands
            if not isinstance(command, OpenRun | EndRun | TellOutcome | Look)
            and not (are_new and isinstance(command, Admit))
        ]
        self._calls = locked.calls(known) if known else {}
        standing_keys = (
            {
                (command.tenant, (claim.budget, claim.scope, window.label))
                for command in admits
                for claim, window in zip(command.budgets, self._claim_windows[command.call], strict=True)
            }
            | {
                (row.tenant, (leg.budget, leg.scope, leg.window))
                for row in self._calls.values()
                for leg in row.legs
            }
            | {
                (command.tenant, instances_key(claim, self._now[command.tenant]))
                for command in admits
                for claim in command.budgets
                if claim.instances_max is not None
            }
        )
        standing_keys |= {
            (command.tenant, (claim.budget, claim.scope, windows.at(claim, self._now[command.tenant]).label))
            for command in admits
            for claim in command.watched
        }
        standing_keys |= {balance_of(command) for command in commands if isinstance(command, Look)}
        standings = locked.standings(standing_keys) if standing_keys else {}
        used = self._read_what_is_carried(locked, admits, windows, standings)
        openings = [
            command for command in commands if isinstance(command, OpenRun) and command.tenant in self._heads
        ]
        asking: list[Admit | OpenRun] = [*admits, *openings]
        rate_keys = {
            (command.tenant, (claim.rate, claim.scope)) for command in asking for claim in command.rates
        }
        rate_keys |= {
            (command.tenant, (turn.rate, turn.scope))
            for command in commands
            if isinstance(command, Release)
            for turn in command.turns
        }
        self._books = Books(standings, locked.arrivals(rate_keys) if rate_keys else {}, windows, used)
        self._names = Names(locked, admits, self._calls.values())
        self._runs = OpenRuns(locked, commands, self._now)
        self._outcomes = Outcomes(locked, commands, self._now)
        self._held = HeldCalls(locked, admits, self)
        self._hours = HoursUsed()
        self._usage = UsageSums()
        self._changes = Changes()
        self._changed_moves: dict[str, CallMove] = {}
        self._new_calls: dict[str, CallRow] = {}

    def _read_what_is_carried(
        self,
        locked: LockedTenants,
        admits: Sequence[Admit],
        windows: Windows,
        standings: dict[tuple[str, StandingKey], Standing],
    ) -> Collection[UsedKey]:
        """Read what the windows before those have left that are opened now, where it is carried over: their balances,
        and which of the budgets without one were used before.
        """
        before: dict[tuple[str, StandingKey], UsedKey] = {}
        for command in admits:
            for claim, window in zip(command.budgets, self._claim_windows[command.call], strict=True):
                if claim.carry_over is None:
                    continue
                if (command.tenant, (claim.budget, claim.scope, window.label)) not in standings:
                    label = windows.before(claim, window).label
                    key = (command.tenant, (claim.budget, claim.scope, label))
                    before[key] = (command.tenant, claim.budget, claim.scope)
        if not before:
            return ()
        standings |= locked.standings(before)
        unused = [of for key, of in before.items() if key not in standings]
        return locked.used(unused) if unused else ()

    def decided_since(self, call: str, sequence: int) -> bool:
        """Whether a call's decision stands in the record, at that place or later."""
        row = self._calls.get(call)
        return row is not None and row.sequence >= sequence

    def changes(self) -> Changes:
        """Everything that changed, each row once."""
        changes = self._changes
        changes.heads = [
            Head(
                tenant=head.tenant,
                next_sequence=head.next_sequence,
                epoch=head.epoch,
                last_ns=self._now[head.tenant],
            )
            for head in self._heads.values()
        ]
        changes.calls = list(self._new_calls.values())
        changes.moves = list(self._changed_moves.values())
        changes.standings = [
            StandingRow(
                tenant=tenant,
                budget=key[0],
                scope=key[1],
                window=window or Window(label=key[2], starts_ns=0, ends_ns=0),
                quantity=quantity,
                standing=self._books.standings[tenant, key],
            )
            for (tenant, key), (quantity, window) in self._books.touched.items()
        ]
        changes.arrivals = [
            (tenant, key, self._books.arrivals[tenant, key]) for tenant, key in self._books.taken
        ]
        changes.runs = self._runs.changed
        changes.hours = self._hours.rows()
        changes.usage = self._usage.rows()
        changes.shadow_sums = self._usage.shadow_rows()
        changes.rule_sums = self._usage.rule_rows()
        changes.requests = self._usage.requests()
        self._outcomes.write(changes)
        self._names.write(changes)
        return changes

    def carry_out(self, command: Command) -> Reply:
        """Carry out one command against what the ones before it left."""
        if command.tenant not in self._heads:
            return Failed(
                call=command.call, kind="unknown_call", message=f"there is no tenant `{command.tenant}`"
            )
        match command:
            case Admit():
                reply = self._admit(command)
            case OpenRun():
                return self._open_run(command)
            case EndRun():
                return self._end_run(command)
            case TellOutcome():
                return self._tell_outcome(command)
            case Look():
                reply = self._look(command)
            case _:
                reply = self._move_on(command)
        if self._books.turns:
            tell(self._books, self._changes, self.enter, self._now.__getitem__)
        return reply

    def _look(self, command: Look) -> Reply:
        epoch = self._heads[command.tenant].epoch
        if command.epoch != epoch:
            return Stale(call=command.call, epoch=epoch)
        look_at(self._books, command, self._now[command.tenant])
        return Seen(call=command.call)

    def _move_on(self, command: Dispatch | Settle | Release | Expire | Lose | Withdraw | Keep) -> Reply:
        """Carry out what is asked of a call that was decided before."""
        row = self._calls.get(command.call)
        if row is None or row.tenant != command.tenant:
            return Failed(
                call=command.call, kind="unknown_call", message=f"there is no call `{command.call}`"
            )
        try:
            match command:
                case Dispatch():
                    return self._dispatch(row)
                case Settle():
                    return self._settle(row, command.evidence)
                case Release():
                    return self._release(row, command)
                case Expire():
                    return self._expire(row)
                case Lose():
                    return self._lose(row, command.reason)
                case Withdraw():
                    return self._withdraw(row, command)
                case Keep():
                    self._names.keep(row, command)
                    return Kept(call=row.call)
                case _:
                    assert_never(command)
        except IllegalTransition as fault:
            return Failed(call=command.call, kind="illegal_transition", message=str(fault))

    def _admit(self, command: Admit) -> Reply:
        head = self._heads[command.tenant]
        if command.epoch != head.epoch:
            return Stale(call=command.call, epoch=head.epoch)
        if command.call in self._calls:
            return Failed(
                call=command.call,
                kind="illegal_transition",
                message=f"call `{command.call}` was decided before; each call needs an id of its own",
            )
        now_ns = self._now[command.tenant]
        known = self._names.known(command)
        if known is not None:
            is_same = command.name is not None and command.name.request == known.request
            return Known(call=command.call, first=known.call, is_same=is_same)
        windows = self._claim_windows[command.call]
        standings = self._standings_for(command, windows)
        used = command.utilisation
        if used is not None:
            used = utilisation(command.budgets, standings, now_ns)
        found = self._measures(command, standings)
        if used != command.utilisation or {*found} != {*command.measures}:
            return Stale(call=command.call, epoch=head.epoch, utilisation=used, measures=found)
        run = command.run
        over = self._runs.refusal(command.tenant, run) if run is not None else None
        is_shadow = over is not None and run is not None and run.only_notes(over)
        if command.verdict.permits and command.tenant in self._fallen:
            admission = Admission(effect="deny", reasons=(_clock_fell_back(self._fallen[command.tenant]),))
        elif command.verdict.permits and over is not None and not is_shadow:
            admission = Admission(effect="deny", reasons=(over,))
        else:
            admission = admitted(
                command.verdict, command.quote, command.rates, command.budgets, standings, now_ns
            )
        approval = None
        if admission.effect == "require_approval" and command.quote is not None:
            fitting = admit(command.quote, command.rates, command.budgets, standings, now_ns)
            admission, approval = self._held.decide(command, admission, fitting, standings)
        elif admission.effect == "allow":
            admission, approval = self._held.named(command, admission)
        allowed = admission.effect == "allow"
        if admission.exhausted is not None:
            self._books.exhaust(command.tenant, admission.exhausted, command.budgets, now_ns)
        if allowed:
            self._names.take(command, now_ns)
            self._books.take(command.tenant, admission, command.budgets, windows)
            if run is not None:
                self._runs.call(command.tenant, run)
            reasons = admission.reasons or command.verdict.reasons
            admission = msgspec.structs.replace(admission, reasons=reasons)
        reserve_for_ns = command.reserve_for_ns
        if reserve_for_ns is None and admission.wait_ns:
            reserve_for_ns = admission.wait_ns + WAITED_AND_NOT_SENT_NS
        state: State = "refused"
        if allowed:
            state = "dispatched" if reserve_for_ns is None else "reserved"
        row = new_call(
            command,
            admission,
            state,
            boot=self._boot,
            now_ns=now_ns,
            reserve_for_ns=reserve_for_ns,
            sequence=self.next_sequence(command.tenant),
        )
        self._new_calls[row.call] = self._calls[row.call] = row
        self._usage.decide(row, command, None if allowed else admission.reasons[0])
        self._usage.note_rules(row, admission.reasons)
        shadow = (*command.verdict.shadow, *admission.shadow)
        if over is not None and is_shadow:
            shadow += (would_deny(over),)
        if shadow and not allowed:
            shadow = tuple(each for each in shadow if each.would in ("allow", "error"))  # refused anyway
        self._note_shadow(row, shadow[:SHADOWS_MAX])
        self.enter(
            row.tenant,
            row.call,
            "decision",
            decision_record(command, admission, shadow[:SHADOWS_MAX], approval),
        )
        return Admitted(
            call=row.call,
            effect=admission.effect,
            reasons=admission.reasons,
            sequence=row.sequence,
            state=state,
            output_tokens=admission.output_tokens,
            maximum=admission.maximum,
            balances=self._balances(row.tenant, row.legs),
            wait_ns=admission.wait_ns,
            approval=approval,
            turns=_taken_turns(admission) if state == "reserved" else (),
        )

    def _measures(self, command: Admit, standings: Standings) -> tuple[Measure, ...]:
        """What of the budgets of a call holds for it, as it was asked for and as it is to be sent."""
        now_ns = self._now[command.tenant]
        found = measures(command.budgets, standings, now_ns)
        if command.watched:
            windows = tuple(self._windows.at(claim, now_ns) for claim in command.watched)
            asked = self._books.standings_for(command.tenant, (), command.watched, windows, now_ns)
            found += measures(command.watched, asked, now_ns)
        return found

    def _open_run(self, command: OpenRun) -> Reply:
        tenant, claim = command.tenant, command.claim
        head, now_ns = self._heads[tenant], self._now[tenant]
        if command.epoch != head.epoch:
            return Stale(call=command.call, epoch=head.epoch)
        known = self._runs.known(tenant, claim.number)
        if known is not None:
            is_same = (known.agent, known.root, known.above) == (claim.agent, claim.root, claim.above)
            return Known(call=command.call, first=known.run, is_same=is_same and known.ended_ns is None)
        reasons, shadow = command.reasons, command.shadow
        admission = Admission(effect="deny", reasons=reasons)
        if not reasons:
            standings = self._books.standings_for(tenant, command.rates, (), (), now_ns)
            admission = admit(Quote(expected={}, maximum={}), command.rates, (), standings, now_ns)
            over = self._runs.refusal_to_open(tenant, claim)
            if tenant in self._fallen:
                over = _clock_fell_back(self._fallen[tenant])
            if over is not None and claim.only_notes(over):
                shadow += (would_deny(over),)
            elif over is not None:
                admission = Admission(effect="deny", reasons=(over,))
        if admission.effect == "allow":
            self._books.take(tenant, admission, (), ())
            self._runs.call(tenant, claim)
            self._usage.open_run(command, now_ns)
        self.enter(tenant, None, "run", run_opened_record(command, admission, (*shadow, *admission.shadow)))
        return Opened(call=command.call, effect=admission.effect, reasons=admission.reasons)

    def _end_run(self, command: EndRun) -> Reply:
        ended = self._runs.end(command.tenant, command.claim)
        if ended:
            self.enter(command.tenant, None, "run", run_ended_record(command, len(ended) - 1))
        return Ended(call=command.call, below=max(0, len(ended) - 1))

    def _tell_outcome(self, command: TellOutcome) -> Reply:
        reply, before = self._outcomes.tell(command)
        if not isinstance(reply, Failed) and reply.state != "same":
            self.enter(command.tenant, None, "outcome", outcome_record(command, before))
        return reply

    def _standings_for(self, command: Admit, windows: tuple[Window, ...]) -> Standings:
        now_ns = self._now[command.tenant]
        return self._books.standings_for(command.tenant, command.rates, command.budgets, windows, now_ns)

    def _note_shadow(self, row: CallRow, shadow: tuple[Shadow, ...]) -> None:
        self._changes.shadows += [
            ShadowRow(
                tenant=row.tenant, decided_ns=row.decided_ns, rule=each.rule, call=row.call, would=each.would
            )
            for each in shadow
        ]
        self._usage.note_shadow(row, shadow)

    def _dispatch(self, row: CallRow) -> Reply:
        if self._has_expired(row):
            return self._let_go(row, "expire", "its reservation ran out before it was sent")
        return self._move(row, transition(row.state, "dispatch"), "dispatch", {})

    def _settle(self, row: CallRow, evidence: Evidence) -> Reply:
        if row.state == "settled" and row.cost_nano_usd == evidence.cost_nano_usd:
            # The same settlement again (its first answer was lost): the same answer, no second charge.
            return self._moved(row)
        state = transition(row.state, "settle")
        if evidence.source == "not_sent":
            # Nothing was used of anything, whatever was reserved of it.
            self._names.free(row)
            evidence = msgspec.structs.replace(evidence, actual={leg.quantity: 0 for leg in row.legs})
        outcome = settlement(row.legs, row.maximum_nano_usd, evidence)
        amounts = self._books.bearable(row.tenant, row.legs, outcome.amounts)
        if amounts != outcome.amounts:
            outcome = msgspec.structs.replace(outcome, amounts=amounts)
        self._books.settle(
            row.tenant, row.legs, outcome.amounts, row.decided_ns, now_ns=self._now[row.tenant]
        )
        self._hours.add(row.tenant, row.legs, outcome.amounts, row.decided_ns)
        self._usage.settle(row, evidence, outcome, self._now[row.tenant])
        self._outcomes.settle(row, outcome.cost_nano_usd)
        self._note_shadow(row, evidence.shadow)
        if evidence.lines:
            self._changes.charges.append((row.tenant, row.call, evidence.lines))
        return self._move(
            row,
            state,
            "settlement",
            settlement_record(row.legs, evidence, outcome),
            cost_nano_usd=outcome.cost_nano_usd,
            overrun=outcome.overrun,
        )

    def _let_go(self, row: CallRow, event: str, reason: str) -> Reply:
        state = transition(row.state, "release" if event == "release" else "expire")
        self._names.free(row)
        self._books.release(row.tenant, row.legs, self._now[row.tenant])
        return self._move(row, state, event, {"reason": reason}, cost_nano_usd=0)

    def _release(self, row: CallRow, command: Release) -> Reply:
        reply = self._let_go(row, "release", command.reason)
        turns = {(turn.rate, turn.scope): (turn.begins_ns, turn.ends_ns) for turn in command.turns}
        self._books.give_back(row.tenant, turns, self._now[row.tenant])
        return reply

    def _expire(self, row: CallRow) -> Reply:
        if row.state == "reserved" and not self._has_expired(row):
            return self._moved(row)
        return self._let_go(row, "expire", "its reservation ran out before it was sent")

    def _lose(self, row: CallRow, reason: str) -> Reply:
        return self._move(row, transition(row.state, "lose"), "doubt", {"reason": reason})

    def _withdraw(self, row: CallRow, command: Withdraw) -> Reply:
        if row.sequence < command.not_before or row.state not in ("dispatched", "reserved"):
            return self._moved(row)
        if row.state == "reserved":
            return self._let_go(row, "release", command.reason)
        return self._settle(row, Evidence(source="not_sent", note=command.reason))

    def _has_expired(self, row: CallRow) -> bool:
        return row.expires_ns is not None and self._now[row.tenant] >= row.expires_ns

    def _move(
        self,
        row: CallRow,
        state: State,
        entry_type: str,
        record: dict[str, object],
        *,
        cost_nano_usd: int | None = None,
        overrun: bool = False,
    ) -> Moved:
        now_ns = self._now[row.tenant]
        settled_ns = now_ns if cost_nano_usd is not None else None
        move = CallMove(
            call=row.call,
            tenant=row.tenant,
            state=state,
            cost_nano_usd=cost_nano_usd,
            overrun=overrun,
            settled_ns=settled_ns,
        )
        self._changed_moves[row.call] = move
        sequence = self.enter(row.tenant, row.call, entry_type, record)
        self._calls[row.call] = moved = moved_call(row, move)
        return self._moved(moved, sequence)

    def _moved(self, row: CallRow, sequence: int | None = None) -> Moved:
        return Moved(
            call=row.call,
            state=row.state,
            sequence=sequence if sequence is not None else row.sequence,
            cost_nano_usd=row.cost_nano_usd,
            overrun=row.overrun,
            balances=self._balances(row.tenant, row.legs),
            again=sequence is None,
        )

    def _balances(self, tenant: str, legs: tuple[Leg, ...]) -> tuple[Standing, ...]:
        return tuple(
            standing
            if standing.buckets is None
            else Standing(pending=standing.pending, posted=standing.posted, notes=standing.notes)
            for standing in (self._books.standing(tenant, leg) for leg in legs)
        )

    def now_ns(self, tenant: str) -> int:
        """The clock of a tenant: read under the lock, and never behind what was told before."""
        return self._now[tenant]

    def next_sequence(self, tenant: str) -> int:
        """The place of a tenant's next entry."""
        return self._heads[tenant].next_sequence

    def add(self, changes: Changes) -> None:
        """Write notices and approvals with the rest."""
        self._changes.notices += changes.notices
        self._changes.approvals += changes.approvals

    def enter(self, tenant: str, call: str | None, entry_type: str, record: dict[str, object]) -> int:
        """Add an entry at the tenant's next place; returns the place."""
        head = self._heads[tenant]
        now_ns = self._now[tenant]
        body = canonical(
            {
                "v": ENTRY_VERSION,
                "type": entry_type,
                "tenant": tenant,
                "seq": head.next_sequence,
                "time": self._time_text[tenant],
                **({} if call is None else {"call": call}),
                **record,
            }
        )
        self._changes.entries.append(
            EntryRow(
                tenant=tenant,
                sequence=head.next_sequence,
                call=call,
                type=entry_type,
                at_ns=now_ns,
                body=body,
            )
        )
        self._heads[tenant] = Head(
            tenant=head.tenant,
            next_sequence=head.next_sequence + 1,
            epoch=head.epoch,
            last_ns=head.last_ns,
        )
        return head.next_sequence


def _taken_turns(admission: Admission) -> tuple[TakenTurn, ...]:
    return tuple(
        TakenTurn(rate=rate, scope=scope, begins_ns=begins_ns, ends_ns=ends_ns)
        for (rate, scope), (begins_ns, ends_ns) in admission.turns.items()
    )


def _clock_fell_back(by_ns: int) -> Reason:
    return Reason(
        code="clock_fell_back",
        message=f"the clock fell back by {by_ns / 1_000_000_000:.1f} s; calls are refused until it has caught up",
    )
