"""A call's way in: identify, quote, judge, admit — and its way out: settle. Every door is built on these.

Rule 1: nothing is forwarded before `decide` has returned an `allow`; by then the decision is on disk.
Rule 2: whatever a door learns about the cost ends in exactly one of `settle` and `lose`; where that could not be
        written at once it is written as soon as the ledger takes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Generic, Protocol

import msgspec

from aegis_gateway.application.asked import asked_record
from aegis_gateway.application.call_ids import CallIds
from aegis_gateway.application.claims import claims_of
from aegis_gateway.application.commands import (
    Admit,
    Admitted,
    ArgumentsRecord,
    Attribution,
    CallName,
    Command,
    Dispatch,
    Keep,
    Known,
    Lose,
    Moved,
    Release,
    Reply,
    Settle,
    Stale,
)
from aegis_gateway.application.directory import Directory, KnownKey, TenantView
from aegis_gateway.application.judgement import (
    Circumstances,
    D,
    D_co,
    Describe,
    Described,
    Judgement,
    judgement_of,
)
from aegis_gateway.application.ports import Clock, NameKey
from aegis_gateway.application.runs import Runs
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Shadow
from aegis_gateway.domain.errors import CallError, CallRepeated, KeyFormatError, LedgerUnavailable
from aegis_gateway.domain.keys import OUR_KEYS, check_key, key_hash
from aegis_gateway.domain.ledger import Evidence, Standing
from aegis_gateway.domain.quote import USD
from aegis_gateway.domain.rate import RateClaim
from aegis_gateway.domain.redaction import Counts, Redaction
from aegis_gateway.domain.registry import (
    Agent,
    Key,
    credential_key,
    stranger,
)

_JUDGED_AGAIN_MAX = 8

WAITING_MAX = 1_024
"""How many calls of one worker may wait for a rate limit's next turn."""

UTILISATIONS_REMEMBERED_MAX = 65_536

CATCH_UP_INTERVAL_S = 1.0
CATCH_UP_BATCH = 256

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255


NEW_RUN = "run_new"
"""The run that a call is considered as being of that would open one."""


class AsyncLedger(Protocol):
    """The ledger, asked without blocking."""

    async def ask(self, command: Command) -> Reply:
        """Have a command carried out; the answer is on disk when this returns.

        Raises:
            LedgerUnavailable: it was not done, or it is not known whether it was.
        """


class NotIdentified(CallError):
    """The caller could not be identified; nothing was recorded, there is no tenant to record it for."""


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says of a call beside the request itself, as its door found it; nothing of it is trusted yet.

    `run` and `parent` are ids that Aegis gave before, `customer` whom the call serves. `retry` counts the attempts
    that a client's library made before this one, and `idempotency_key` names the call across attempts. `address` is
    the method, path and query that a named call was asked with. `patience_ns` is the longest that the call may wait for
    a rate's next turn, where its door can't wait for as long as rates are configured to delay.
    """

    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    retry: int = 0
    idempotency_key: str | None = None
    address: str = ""
    patience_ns: int | None = None


NO_CONTEXT = CallContext()


class AnswerRedaction(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be redacted in a call's answer, under the tenant's `key`; what redactions in shadow are watched."""

    redaction: Redaction = Redaction()
    watched: tuple[Shadow, ...] = ()
    key: bytes = b""

    def __bool__(self) -> bool:
        """Whether the answer has to be looked into."""
        return bool(self.redaction or self.watched)


class Decided(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """A decision that is on disk, with what the door needs to carry it out and to settle it.

    `name` is what the upstream may know of the caller's name for the call. `own_credential`: the caller brought the
    upstream's credential itself. `answer` is what is to be redacted in the answer; once that was done, `redacted` is
    what was, and `shadow` what redactions in shadow would have.
    """

    call: str
    tenant: str
    described: D_co
    admitted: Admitted
    policy_version: str
    budgets: tuple[BudgetClaim, ...]
    run: str
    name: str | None = None
    downgraded_from: str | None = None
    own_credential: bool = False
    answer: AnswerRedaction = AnswerRedaction()
    redacted: Counts = {}
    shadow: tuple[Shadow, ...] = ()

    @property
    def allows(self) -> bool:
        """Whether the call may be forwarded."""
        return self.admitted.effect == "allow"


class Considered(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """A call that was judged, and what it would count against; nothing of it is recorded or held."""

    view: TenantView
    key: Key
    agent: Agent
    circumstances: Circumstances
    judgement: Judgement[D_co]
    rates: tuple[RateClaim, ...]
    budgets: tuple[BudgetClaim, ...]


class Calls:
    """The use cases of the hot path, over a directory and a ledger."""

    def __init__(
        self,
        directory: Directory,
        ledger: AsyncLedger,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        pepper: bytes,
    ) -> None:
        """`pepper` is the installation's secret that keys and arguments are hashed under."""
        self._directory = directory
        self._ledger = ledger
        self._clock = clock
        self._random_bytes = random_bytes
        self._pepper = pepper
        self._seen_key = random_bytes(32)
        self._runs = Runs(pepper, random_bytes)
        self._ids = CallIds(pepper, random_bytes)
        self._utilisations: dict[tuple[str, str], int] = {}
        self._waiting = 0
        self._late: list[Settle | Lose] = []
        self._catching_up: asyncio.Task[None] | None = None

    @property
    def directory(self) -> Directory:
        """What is in force, as this process has it."""
        return self._directory

    async def identify(self, key: str | None) -> KnownKey:
        """Tell who calls by an API key.

        Raises:
            NotIdentified: no key, a malformed one, one nobody issued, or one that is no longer valid.
        """
        if not key:
            raise NotIdentified(
                "no API key was given; send `Authorization: Bearer aegis_live_…`, issued by `aegis key issue AGENT`",
                status=401,
            )
        # A key seen before is found by a cheap keyed hash; the expensive one is of the stored form.
        seen = hashlib.blake2b(key.encode(), key=self._seen_key, digest_size=16).digest()
        known = self._directory.copy.seen.get(seen)
        if known is None:
            known = await self._identify_unseen(key)
            if known.key.hash in self._directory.copy.keys:
                self._directory.copy.seen[seen] = known
        return known

    async def caller(self, key: str | None) -> KnownKey:
        """Who calls, and what the caller's tenant has configured, as of now.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        await self.identify(key)
        await self._directory.refresh_if_changed()
        known = await self.identify(key)
        self._valid_agent(known)
        return known

    async def view(self, key: str | None) -> TenantView:
        """What a caller's tenant has configured, as of now.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        return (await self.caller(key)).view

    async def _identify_unseen(self, key: str) -> KnownKey:
        try:
            check_key(key)
        except KeyFormatError as fault:
            known = self._with_own_credential(key)
            if known is None:
                raise NotIdentified(str(fault), status=401) from fault
            return known
        digest = key_hash(key, self._pepper)
        known = self._directory.find(digest)
        if known is None:
            await self._directory.refresh_if_changed()
            known = self._directory.find(digest)
        if known is None:
            raise NotIdentified(
                "this API key was never issued here; ask for one: `aegis key issue AGENT`", status=401
            )
        return known

    def _with_own_credential(self, credential: str) -> KnownKey | None:
        """Who brings an upstream's credential: the agent that adopted it, or a stranger where strangers are taken."""
        if credential.startswith(OUR_KEYS):
            return None  # a key of ours that is mistyped is nobody's credential
        digest = key_hash(credential, self._pepper)
        known = self._directory.find(digest)
        view = self._directory.copy.of_strangers
        if known is None and view is not None:
            key = credential_key(digest)
            known = KnownKey(key=key, agent=stranger(key), view=view)
        return known

    async def decide(
        self,
        key: str | None,
        describe: Describe[D],
        context: CallContext = NO_CONTEXT,
    ) -> Decided[D]:
        """Identify, quote, judge and admit a call; what is returned is on disk.

        `describe` is asked again when the registry changed in between: prices, limits and policies are those of
        the epoch under which the ledger admits.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood.
            CallRepeated: its name is that of a call before; nothing was decided.
            LedgerUnavailable: the decision could not be made durable.
        """
        call, run = "", ""
        utilisation: int | None = None
        await self._directory.keep_current(self._clock.now_ns())
        for _ in range(_JUDGED_AGAIN_MAX):
            considered = await self._considered(key, describe, context, utilisation, run)
            if considered is None:
                continue
            view, judgement, run = considered.view, considered.judgement, considered.circumstances.run
            tenant, agent = view.registry.tenant, considered.agent
            call = call or self._ids.mint(tenant, considered.circumstances.depth, self._clock.now_ns())
            command = self._admission(call, considered, context)
            reply = await self._ledger.ask(command)
            if isinstance(reply, Admitted):
                if reply.wait_ns:
                    await self._wait(command, reply)
                return Decided(
                    call=call,
                    tenant=tenant,
                    described=judgement.described,
                    admitted=reply,
                    policy_version=command.policy_version,
                    budgets=command.budgets,
                    run=run,
                    name=command.name.name if command.name is not None else None,
                    downgraded_from=judgement.downgraded_from,
                    answer=AnswerRedaction(
                        redaction=judgement.verdict.redactions.response,
                        watched=judgement.watched,
                        key=view.redaction_key,
                    ),
                    own_credential=considered.key.is_own_credential,
                )
            if isinstance(reply, Known):
                raise CallRepeated(reply.first, is_same=reply.is_same, described=judgement.described)
            if isinstance(reply, Stale) and reply.utilisation is not None:
                utilisation = reply.utilisation
                if len(self._utilisations) >= UTILISATIONS_REMEMBERED_MAX:
                    self._utilisations.clear()
                self._utilisations[tenant, agent.id] = utilisation
            elif isinstance(reply, Stale):
                await self._directory.refresh(tenant, reply.epoch)
        raise LedgerUnavailable("the configuration keeps changing; try again in a moment")

    async def consider(
        self,
        key: str | None,
        describe: Describe[D],
        context: CallContext = NO_CONTEXT,
        utilisation: int = 0,
    ) -> Considered[D]:
        """Judge a call that nobody makes, as far as `decide` would before it asks the ledger. It opens no run.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood.
        """
        await self._directory.keep_current(self._clock.now_ns())
        for _ in range(_JUDGED_AGAIN_MAX):
            run = NEW_RUN if context.run is None else ""
            considered = await self._considered(key, describe, context, utilisation, run)
            if considered is not None:
                return considered
        raise LedgerUnavailable("the configuration keeps changing; try again in a moment")

    async def _considered(
        self,
        key: str | None,
        describe: Describe[D],
        context: CallContext,
        utilisation: int | None,
        run: str = "",
    ) -> Considered[D] | None:
        """Identify, quote and judge a call by the copy of the moment; None where there is a newer one, to try again by.

        `run` is what was minted for it before.

        Raises:
            NotIdentified: the caller is unknown.
            CallError: the call cannot be understood.
        """
        known = await self.identify(key)
        view, copy = known.view, self._directory.copy
        try:
            agent = self._valid_agent(known)
            tenant = view.registry.tenant
            depth = self._ids.depth_below(context.parent, tenant)
            _check_customer(context.customer, view)
            circumstances = Circumstances(
                now_ns=self._clock.now_ns(),
                run=run or self._run(context, view, agent, known.key),
                parent=context.parent,
                depth=depth,
                customer=context.customer,
                utilisation=self._utilisations.get((tenant, agent.id), 0)
                if utilisation is None
                else utilisation,
            )
            return considered_as(
                view,
                agent,
                known.key,
                describe,
                circumstances,
                opens_run=context.run is None,
            )
        except CallError:
            # What is wrong by this copy may be right by now, and no ledger will say so: look before saying no.
            await self._directory.refresh_if_changed()
            if self._directory.copy is copy:
                raise
            return None

    async def settle(self, decided: Decided[Described], evidence: Evidence) -> Moved:
        """Replace a call's reservation by what it really cost.

        Raises:
            LedgerUnavailable: it is not on disk yet; until it is, the call stays at its maximum.
        """
        return await self.settle_call(decided.tenant, decided.call, evidence)

    async def settle_call(self, tenant: str, call: str, evidence: Evidence) -> Moved:
        """The same, of a call that was decided earlier.

        Raises:
            LedgerUnavailable: it is not on disk yet; until it is, the call stays at its maximum.
            IllegalTransition: it was settled at another cost before, or was never allowed.
        """
        return await self._moved(Settle(call=call, tenant=tenant, evidence=evidence))

    async def lose(self, decided: Decided[Described], reason: str) -> Moved:
        """Put a call in doubt that was sent and whose cost nobody knows; it stays at its maximum.

        Raises:
            LedgerUnavailable: it is not on disk yet; the call stays at its maximum all the same.
        """
        return await self._moved(Lose(call=decided.call, tenant=decided.tenant, reason=reason))

    async def keep(self, tenant: str, call: str, answer: bytes | None, *, may_repeat: bool) -> None:
        """Keep what was answered to a named call, encrypted; nothing is kept of it where `answer` is None.

        `may_repeat`: the answer said to try again, so if nothing was charged the name is free again.

        Raises:
            LedgerUnavailable: it is not on disk. Whoever repeats the call is told that its answer is not kept.
        """
        await self._ledger.ask(Keep(call=call, tenant=tenant, answer=answer, may_repeat=may_repeat))

    async def name_key(self, key: str | None, name: str) -> NameKey:
        """The full name of a caller's name for a call.

        Raises:
            NotIdentified: the caller is unknown.
        """
        known = await self.identify(key)
        agent = known.key.agent
        return (known.view.registry.tenant, agent, _stored_name(known.view, agent, name))

    async def _moved(self, command: Settle | Lose) -> Moved:
        try:
            reply = await self._ledger.ask(command)
        except LedgerUnavailable:
            self._late.append(command)
            if self._catching_up is None:
                self._catching_up = asyncio.create_task(self._catch_up())
            raise
        if not isinstance(reply, Moved):
            raise LedgerUnavailable("the ledger gave an answer that is none")
        return reply

    async def _catch_up(self) -> None:
        """Ask again, until the ledger has taken what became of each call, or knows it already."""
        try:
            while self._late:
                await asyncio.sleep(CATCH_UP_INTERVAL_S)
                batch, self._late = self._late[:CATCH_UP_BATCH], self._late[CATCH_UP_BATCH:]
                asked = [self._ledger.ask(command) for command in batch]
                replies = await asyncio.gather(*asked, return_exceptions=True)
                self._late += [
                    command
                    for command, reply in zip(batch, replies, strict=True)
                    if isinstance(reply, LedgerUnavailable)
                ]
        finally:
            self._catching_up = None

    def _run(self, context: CallContext, view: TenantView, agent: Agent, key: Key) -> str:
        """The run that a call is of: the one it names, or a new one.

        Raises:
            CallError: it names another's, or none that there is.
        """
        bound = (view.registry.tenant, agent.id, key.id)
        if context.run is None:
            return self._runs.mint(*bound)
        self._runs.check(context.run, *bound)
        return context.run

    async def _wait(self, command: Admit, admitted: Admitted) -> None:
        """Wait for a reserved call's turn, and win its dispatch.

        Raises:
            LedgerUnavailable: too many wait already, or its reservation ran out; it is not sent.
        """
        if self._waiting >= WAITING_MAX:
            release = Release(
                call=command.call, tenant=command.tenant, reason="too many calls wait for their turn"
            )
            await self._ledger.ask(release)
            raise LedgerUnavailable("too many calls wait for their turn; try again in a moment")
        self._waiting += 1
        try:
            await asyncio.sleep(admitted.wait_ns / 1_000_000_000)
        finally:
            self._waiting -= 1
        reply = await self._ledger.ask(Dispatch(call=command.call, tenant=command.tenant))
        if not isinstance(reply, Moved) or reply.state != "dispatched":
            raise LedgerUnavailable(
                "the call waited for its turn longer than it could be reserved; try again"
            )

    def _valid_agent(self, known: KnownKey) -> Agent:
        key = known.key
        if key.revoked_ns is not None:
            raise NotIdentified(
                f"API key `{key.hint}` was revoked; ask its agent's owner for another", status=401
            )
        if not key.is_valid(self._clock.now_ns()):
            raise NotIdentified(f"API key `{key.hint}` was replaced and its grace time is over", status=401)
        if known.agent is None:
            raise NotIdentified(
                f"agent `{key.agent}` of API key `{key.hint}` is not registered any more; "
                "register it with owner, cost centre and purpose: `aegis agent add`",
                status=403,
            )
        return known.agent

    def _admission(self, call: str, considered: Considered[Described], context: CallContext) -> Admit:
        view, agent, circumstances = considered.view, considered.agent, considered.circumstances
        judgement, registry = considered.judgement, considered.view.registry
        described = judgement.described
        return Admit(
            call=call,
            tenant=registry.tenant,
            epoch=view.epoch,
            attribution=Attribution(
                agent=agent.id,
                team=agent.team,
                project=agent.project,
                cost_centre=agent.cost_centre,
                owner=agent.owner,
                purpose=agent.purpose,
                environment=agent.environment,
                key=considered.key.id,
                connector=described.connector,
                tool=described.tool,
                model=described.model,
                region=described.region,
                run=circumstances.run,
                parent=context.parent,
                depth=circumstances.depth,
                retry=context.retry,
                customer=context.customer,
                downgraded_from=judgement.downgraded_from,
                saved_nano_usd=judgement.saved_nano_usd,
            ),
            verdict=judgement.verdict,
            arguments=self._arguments_record(view, described),
            policy_version=view.policies.version,
            config_version=view.config_version,
            beside_version=view.beside_version,
            quote=judgement.quote,
            redacted=described.redacted,
            rates=_delayed_at_most(considered.rates, context.patience_ns),
            budgets=considered.budgets,
            name=_call_name(context, view, agent.id, described),
            utilisation=circumstances.utilisation if judgement.verdict.saw_utilisation else None,
            asked=asked_record(
                judgement.asked,
                judgement.quote,
                is_downgraded=judgement.downgraded_from is not None,
                is_proxied=registry.proxy is not None,
                opens_run=context.run is None,
                judged_ns=circumstances.now_ns,
            ),
        )

    def _arguments_record(self, view: TenantView, described: Described) -> ArgumentsRecord:
        salt = self._random_bytes(16)
        return ArgumentsRecord(
            salt=salt,
            digest=hashlib.sha256(salt + described.canonical).hexdigest(),
            hmac=hmac.digest(view.arguments_key, described.canonical, "sha256").hex(),
            summary=described.summary,
        )


def considered_as(
    view: TenantView,
    agent: Agent,
    key: Key,
    describe: Describe[D],
    circumstances: Circumstances,
    *,
    opens_run: bool,
) -> Considered[D]:
    """Judge a call, and find what it would count against.

    Raises:
        CallError: the call cannot be understood.
    """
    judgement = judgement_of(view, agent, describe, circumstances)
    described = judgement.described
    rates, budgets = claims_of(
        view,
        agent,
        key,
        connector=described.connector,
        tool=described.tool,
        model=described.model,
        run=circumstances.run,
        opens_run=opens_run,
        customer=circumstances.customer,
        throttles=judgement.verdict.throttles,
    )
    return Considered(
        view=view,
        key=key,
        agent=agent,
        circumstances=circumstances,
        judgement=judgement,
        rates=rates,
        budgets=budgets,
    )


def _delayed_at_most(rates: tuple[RateClaim, ...], patience_ns: int | None) -> tuple[RateClaim, ...]:
    """Rates' claims on a call that can wait for so long at most."""
    if patience_ns is None:
        return rates
    return tuple(
        rate if rate.delay_ns <= patience_ns else msgspec.structs.replace(rate, delay_ns=patience_ns)
        for rate in rates
    )


def remaining_nano_usd(budgets: tuple[BudgetClaim, ...], balances: tuple[Standing, ...]) -> int | None:
    """The least that is left on any budget of money that a call counts against; None where there is none."""
    enforced = [budget for budget in budgets if budget.mode == "enforce"]  # whose balances come first
    left = [
        balance.available(budget.limit)
        for budget, balance in zip(enforced, balances, strict=False)
        if budget.quantity == USD
    ]
    return min(left) if left else None


def _check_customer(customer: str | None, view: TenantView) -> None:
    """Make sure that a call may be put down to whom its caller says that it serves.

    Raises:
        CallError: the customer is not registered.
    """
    if customer is not None and customer not in view.registry.customers:
        raise CallError(
            f"customer `{customer[:64]}` is not registered; add it under `customers`, or leave `Aegis-Customer` out",
            field="aegis-customer",
        )


def _call_name(context: CallContext, view: TenantView, agent: str, described: Described) -> CallName | None:
    """The caller's name for the call, with a keyed digest of what is asked for; that of another call differs.

    Raises:
        CallError: it is no name.
    """
    name = context.idempotency_key
    if name is None:
        return None
    if len(name) > IDEMPOTENCY_KEY_CHARACTERS_MAX or not (name.isascii() and name.isprintable()):
        raise CallError(
            f"an idempotency key has at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} printable ASCII characters",
            field="idempotency-key",
        )
    asked = f"{context.address}\n{described.connector}\n{described.tool}\n".encode() + described.canonical
    return CallName(
        name=_stored_name(view, agent, name), request=hmac.digest(view.arguments_key, asked, "sha256")
    )


def _stored_name(view: TenantView, agent: str, name: str) -> str:
    """What is stored of a caller's name for a call, and all that an upstream learns of it: a keyed digest.

    Agents share the upstream's account. As they named their calls themselves, one could ask for another's answer there.
    """
    return hmac.digest(view.arguments_key, f"name\n{agent}\n{name}".encode(), "sha256").hex()
