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
from typing import Generic, Protocol, TypeAlias, TypeVar

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
from aegis_gateway.application.ports import Clock, NameKey
from aegis_gateway.application.runs import Runs
from aegis_gateway.domain.admit import BudgetClaim
from aegis_gateway.domain.decision import Reason, Shadow, Verdict, refusal
from aegis_gateway.domain.errors import CallError, CallRepeated, KeyFormatError, LedgerUnavailable
from aegis_gateway.domain.judge import PolicyRequest, judge, least
from aegis_gateway.domain.keys import OUR_KEYS, check_key, key_hash
from aegis_gateway.domain.ledger import Evidence, Standing
from aegis_gateway.domain.moment import moment
from aegis_gateway.domain.money import usd_rounded_up, usd_text
from aegis_gateway.domain.quote import USD, ModelShape, Quote, capped, capped_cost
from aegis_gateway.domain.redaction import NO_REDACTIONS, Counts, Redaction, Redactions, all_of, told
from aegis_gateway.domain.registry import (
    Agent,
    Connector,
    ConnectorKind,
    Key,
    Registry,
    credential_key,
    stranger,
)

D_co = TypeVar("D_co", bound="Described", covariant=True)
D = TypeVar("D", bound="Described")

_JUDGED_AGAIN_MAX = 8

WAITING_MAX = 1_024
"""How many calls of one worker may wait for a rate limit's next turn."""

UTILISATIONS_REMEMBERED_MAX = 65_536

CATCH_UP_INTERVAL_S = 1.0
CATCH_UP_BATCH = 256

IDEMPOTENCY_KEY_CHARACTERS_MAX = 255

POLICY_DECIMALS = 4
"""Cedar's decimals have four places: costs are rounded up to them for policies to compare."""


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
    the method, path and query that a named call was asked with.
    """

    run: str | None = None
    parent: str | None = None
    customer: str | None = None
    retry: int = 0
    idempotency_key: str | None = None
    address: str = ""


NO_CONTEXT = CallContext()


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """A call as its door understood it, before anything is decided.

    `arguments` are the typed values that policies see; `canonical` the canonical bytes the record's digest is
    of; `summary` what the record shows. `quote` may be the reason why there is none. `also` are further tools that
    the call would use on the way (a web search that the provider makes): each is judged like the call itself.
    `stays_in_regions`: its tenant says where its data may be. A call of a model has the `shape` that it is priced
    by, and the `kinds` of connectors whose models could be called instead. `redacted` is what was taken out of it.
    """

    connector: str
    tool: str
    also: tuple[str, ...] = ()
    quote: Quote | Reason
    arguments: dict[str, object]
    canonical: bytes
    summary: dict[str, object]
    model: str | None = None
    region: str = ""
    stays_in_regions: bool = False
    shape: ModelShape | None = None
    kinds: tuple[ConnectorKind, ...] = ()
    redacted: Counts = {}


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


Describe: TypeAlias = Callable[[TenantView, str | None, Redactions], D]
"""How a door describes a call under a registry: as it was asked, or as one of another model; whole, or without what is
to be redacted. Its quote is the reason if that can't be done.
"""


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What of a call's circumstances policies see: when, in which run, for which call and customer, and how much of its
    budgets is used, as the last threshold that one of them has passed, in percent.
    """

    now_ns: int
    run: str = ""
    parent: str | None = None
    depth: int = 0
    customer: str | None = None
    utilisation: int = 0


class Judgement(msgspec.Struct, Generic[D_co], frozen=True, kw_only=True):
    """A call as it is to be sent, what the policies say of it, and its quote, where it has one.

    `downgraded_from` is the model that was asked for, where it is another one's call now; `asked` is the call as it was
    asked for.
    """

    asked: D_co
    described: D_co
    verdict: Verdict
    quote: Quote | None = None
    downgraded_from: str | None = None
    saved_nano_usd: int = 0
    watched: tuple[Shadow, ...] = ()


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

    async def view(self, key: str | None) -> TenantView:
        """What a caller's tenant has configured, as of now.

        Raises:
            NotIdentified: the caller is unknown, or not allowed in any more.
        """
        await self.identify(key)
        await self._directory.refresh_if_changed()
        known = await self.identify(key)
        self._valid_agent(known)
        return known.view

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
            known = await self.identify(key)
            view, copy = known.view, self._directory.copy
            try:
                agent = self._valid_agent(known)
                tenant = view.registry.tenant
                depth = self._ids.depth_below(context.parent, tenant)
                _check_customer(context.customer, view)
                call = call or self._ids.mint(tenant, depth, self._clock.now_ns())
                run = run or self._run(context, view, agent, known.key)
                circumstances = Circumstances(
                    now_ns=self._clock.now_ns(),
                    run=run,
                    parent=context.parent,
                    depth=depth,
                    customer=context.customer,
                    utilisation=self._utilisations.get((tenant, agent.id), 0)
                    if utilisation is None
                    else utilisation,
                )
                judgement = judgement_of(view, agent, describe, circumstances)
            except CallError:
                # What is wrong by this copy may be right by now, and no ledger will say so: look before saying no.
                await self._directory.refresh_if_changed()
                if self._directory.copy is copy:
                    raise
                continue
            command = self._admission(call, known.key, agent, view, judgement, context, circumstances)
            reply = await self._ledger.ask(command)
            if isinstance(reply, Admitted):
                if reply.wait_ns:
                    await self._wait(command, reply)
                return Decided(
                    call=call,
                    tenant=view.registry.tenant,
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
                    own_credential=known.key.is_own_credential,
                )
            if isinstance(reply, Known):
                raise CallRepeated(reply.first, is_same=reply.is_same)
            if isinstance(reply, Stale) and reply.utilisation is not None:
                utilisation = reply.utilisation
                if len(self._utilisations) >= UTILISATIONS_REMEMBERED_MAX:
                    self._utilisations.clear()
                self._utilisations[tenant, agent.id] = utilisation
            elif isinstance(reply, Stale):
                await self._directory.refresh(view.registry.tenant, reply.epoch)
        raise LedgerUnavailable("the configuration keeps changing; try again in a moment")

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

    def _admission(
        self,
        call: str,
        key: Key,
        agent: Agent,
        view: TenantView,
        judgement: Judgement[Described],
        context: CallContext,
        circumstances: Circumstances,
    ) -> Admit:
        registry, described = view.registry, judgement.described
        rates, budgets = claims_of(
            view,
            agent,
            key,
            connector=described.connector,
            tool=described.tool,
            model=described.model,
            run=circumstances.run,
            opens_run=context.run is None,
            customer=context.customer,
            throttles=judgement.verdict.throttles,
        )
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
                key=key.id,
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
            rates=rates,
            budgets=budgets,
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


def connector_of(view: TenantView, described: Described) -> Connector:
    """The connector a call goes to."""
    return view.registry.connectors[described.connector]


def judgement_of(
    view: TenantView, agent: Agent, describe: Describe[D], circumstances: Circumstances
) -> Judgement[D]:
    """Describe a call, judge it, and make of it what policies ask: lowered, another model's, without what they redact.

    Raises:
        CallError: the call cannot be understood.
    """
    lowered = _lowered_judgement(view, agent, describe, circumstances)
    return _in_shadow_redacted(view, describe, _redacted(view, describe, lowered))


def _lowered_judgement(
    view: TenantView, agent: Agent, describe: Describe[D], circumstances: Circumstances
) -> Judgement[D]:
    """A call as it is to be sent, but for what is to be redacted. One that becomes another model's is judged again."""
    described = describe(view, None, NO_REDACTIONS)
    if isinstance(described.quote, Reason):
        return Judgement(asked=described, described=described, verdict=refusal(described.quote))
    first, quote = judged(agent, described, described.quote, view, circumstances)
    model = first.model
    if model is None or model == described.model:
        return Judgement(asked=described, described=described, verdict=first, quote=quote)
    lower = describe(view, model, NO_REDACTIONS)
    if lower.model != model or isinstance(lower.quote, Reason):
        why = lower.quote.message if isinstance(lower.quote, Reason) else f"`{described.tool}` is of no model"
        words = f"a policy has model `{model}` called instead, and that can't be: {why}"
        refused = _unfulfilled(described, words, first.redactions)
        return Judgement(asked=described, described=described, verdict=refused, quote=quote)
    second, lower_quote = judged(agent, lower, lower.quote, view, circumstances)
    if second.model not in (None, model):
        words = f"policies ask for `{model}`, and then for `{second.model}` instead"
        refused = _unfulfilled(described, words, first.redactions)
        return Judgement(asked=described, described=described, verdict=refused, quote=quote)
    if second.permits:
        asked = tuple(reason for reason in first.reasons if reason.code == "downgraded")
        shadow = {(each.rule, each.would): each for each in (*first.shadow, *second.shadow)}
        second = msgspec.structs.replace(
            second,
            reasons=tuple(dict.fromkeys((*second.reasons, *asked))),
            shadow=tuple(shadow.values()),
            undecided=tuple(dict.fromkeys((*first.undecided, *second.undecided))),
        )
    return Judgement(
        asked=described,
        described=lower,
        verdict=msgspec.structs.replace(second, redactions=all_of((first.redactions, second.redactions))),
        quote=lower_quote,
        downgraded_from=described.model,
        saved_nano_usd=quote.expected.get(USD, 0) - lower_quote.expected.get(USD, 0),
    )


def _redacted(view: TenantView, describe: Describe[D], judgement: Judgement[D]) -> Judgement[D]:
    """The call without what policies redact, quoted again. A refused one is redacted too: its record shows of it."""
    verdict, whole = judgement.verdict, judgement.described
    if not verdict.redactions:
        return judgement
    sent = describe(view, _model_instead(judgement), verdict.redactions)
    if isinstance(sent.quote, Reason):
        if verdict.permits:
            verdict = _unfulfilled(whole, sent.quote.message)
        shown = msgspec.structs.replace(whole, summary={})
        return msgspec.structs.replace(judgement, described=shown, verdict=verdict)
    new_quote = sent.quote
    # What tells a call from others is what was asked.
    sent = msgspec.structs.replace(sent, canonical=whole.canonical)
    if not verdict.permits:
        return msgspec.structs.replace(judgement, described=sent)
    quote = _lowered(sent, new_quote, verdict.output_tokens_max, verdict.cost_max_nano_usd)
    if isinstance(quote, str):
        return msgspec.structs.replace(judgement, described=sent, verdict=_unfulfilled(sent, quote))
    if sent.redacted:
        what = f"redacted in the arguments: {told(sent.redacted)}"
        reason = Reason(code="redacted", subject="arguments", message=what)
        verdict = msgspec.structs.replace(verdict, reasons=(*verdict.reasons, reason))
    return msgspec.structs.replace(judgement, described=sent, verdict=verdict, quote=quote)


def _in_shadow_redacted(view: TenantView, describe: Describe[D], judgement: Judgement[D]) -> Judgement[D]:
    """What redactions in shadow would have found, each alone. What they would find in the response is seen later."""
    verdict = judgement.verdict
    if not any(each.would == "redact" for each in verdict.shadow):
        return judgement
    kept: list[Shadow] = []
    watched: list[Shadow] = []
    for each in verdict.shadow:
        if each.would != "redact":
            kept.append(each)
            continue
        alone = describe(view, _model_instead(judgement), each.redactions)
        if isinstance(alone.quote, Reason):
            kept.append(Shadow(rule=each.rule, would="deny", message=alone.quote.message))
        elif alone.redacted:
            kept.append(Shadow(rule=each.rule, would="redact", message=told(alone.redacted)))
        elif each.redactions.response:
            watched.append(each)
    verdict = msgspec.structs.replace(verdict, shadow=tuple(kept))
    return msgspec.structs.replace(judgement, verdict=verdict, watched=tuple(watched))


def _model_instead(judgement: Judgement[Described]) -> str | None:
    return judgement.described.model if judgement.downgraded_from is not None else None


def _unfulfilled(described: Described, message: str, redactions: Redactions = NO_REDACTIONS) -> Verdict:
    refused = refusal(Reason(code="obligation_unfulfilled", subject=described.tool, message=message))
    return msgspec.structs.replace(refused, redactions=redactions) if redactions else refused


def judged(
    agent: Agent,
    described: Described,
    quote: Quote,
    view: TenantView,
    circumstances: Circumstances,
) -> tuple[Verdict, Quote]:
    """What the policies say of a call, and the quote of it as it is to be sent: lowered, if they cap it.

    What cannot be lowered as they ask is refused.
    """
    context = policy_context(agent, described.arguments, quote, view.registry, circumstances)
    verdict = _judged(agent, described, context, view)
    lower = _lowered(described, quote, verdict.output_tokens_max, verdict.cost_max_nano_usd)
    if isinstance(lower, str):
        return _unfulfilled(described, lower, verdict.redactions), quote
    if verdict.shadow:
        shadow = tuple(
            each for each in verdict.shadow if each.would != "cap" or _lowers(described, lower, each)
        )
        verdict = msgspec.structs.replace(verdict, shadow=shadow)
    return verdict, lower


def _lowered(
    described: Described, quote: Quote, tokens: int | None, cost_nano_usd: int | None
) -> Quote | str:
    """The quote of a call that is lowered to a policy's caps, or why it can't be."""
    if tokens is not None:
        shorter = capped(quote, tokens)
        if shorter is None:
            return f"a policy caps the answer's tokens, and `{described.tool}` has no limit to lower"
        quote = shorter
    if cost_nano_usd is not None:
        cheaper = capped_cost(quote, cost_nano_usd)
        if cheaper is None:
            most = usd_text(quote.maximum[USD]) if USD in quote.maximum else "more than anything bounds"
            cap = usd_text(cost_nano_usd)
            return (
                f"a policy caps the cost at {cap}, and the call may cost {most} and can't be lowered so far"
            )
        quote = cheaper
    return quote


def _lowers(described: Described, quote: Quote, cap: Shadow) -> bool:
    """Whether a cap in shadow would have changed a call: lowered it, or refused it for want of a way to."""
    return _lowered(described, quote, cap.output_tokens_max, cap.cost_max_nano_usd) != quote


def _judged(agent: Agent, described: Described, context: dict[str, object], view: TenantView) -> Verdict:
    """What the policies say of a call, and then of each tool that it would use on the way: all must be permitted."""
    policies, proxied = view.policies, view.registry.proxy is not None
    if not described.also:
        return judge(_policy_request(agent, described, described.tool, context), policies, proxied=proxied)
    tools = (described.tool, *described.also)
    reasons: tuple[Reason, ...] = ()
    shadow: dict[tuple[str, str], Shadow] = {}
    permitted: list[Verdict] = []
    models: set[str] = set()
    redactions = NO_REDACTIONS
    for tool in tools:
        verdict = judge(_policy_request(agent, described, tool, context), policies, proxied=proxied)
        # Another permit helps only if nothing is left that may want one, anything else only if nothing denies.
        redactions = all_of((redactions, verdict.redactions))
        found = {(each.rule, each.would): each for each in verdict.shadow}
        shadow |= {key: each for key, each in found.items() if each.would != "allow" or tool == tools[-1]}
        if not verdict.permits:
            left = tuple(each for each in shadow.values() if each.would in ("allow", "error"))
            return Verdict(
                effect=verdict.effect,
                reasons=verdict.reasons,
                shadow=left,
                undecided=verdict.undecided,
                redactions=redactions,
            )
        reasons += verdict.reasons
        permitted.append(verdict)
        if verdict.model is not None:
            models.add(verdict.model)
    if len(models) > 1:
        asked = " and ".join(f"`{model}`" for model in sorted(models))
        return _unfulfilled(
            described, f"policies ask for {asked} instead; only one can be called", redactions
        )
    return Verdict(
        effect="allow",
        reasons=reasons,
        shadow=tuple(shadow.values()),
        output_tokens_max=least(each.output_tokens_max for each in permitted),
        cost_max_nano_usd=least(each.cost_max_nano_usd for each in permitted),
        model=next(iter(models), None),
        throttles=tuple(dict.fromkeys(throttle for each in permitted for throttle in each.throttles)),
        asks=tuple(dict.fromkeys(reason for each in permitted for reason in each.asks)),
        saw_utilisation=any(each.saw_utilisation for each in permitted),
        undecided=tuple(dict.fromkeys(each for verdict in permitted for each in verdict.undecided)),
        redactions=redactions,
    )


def policy_context(
    agent: Agent,
    arguments: dict[str, object],
    quote: Quote,
    registry: Registry,
    circumstances: Circumstances,
) -> dict[str, object]:
    """All that policies may look at of a call, beside who calls what."""
    cost: dict[str, object] = {"expected_usd": usd_rounded_up(quote.expected.get(USD, 0), POLICY_DECIMALS)}
    if USD in quote.maximum:
        cost["maximum_usd"] = usd_rounded_up(quote.maximum[USD], POLICY_DECIMALS)
    context: dict[str, object] = {
        "args": arguments,
        "environment": agent.environment,
        "cost": cost,
        "time": moment(registry.zone, circumstances.now_ns, registry.business_hours),
        "run": circumstances.run,
        "depth": circumstances.depth,
        "budget": {"utilisation": circumstances.utilisation},
    }
    if circumstances.parent is not None:
        context["parent"] = circumstances.parent
    if circumstances.customer is not None:
        context["customer"] = circumstances.customer
    return context


def _policy_request(
    agent: Agent, described: Described, action: str, context: dict[str, object]
) -> PolicyRequest:
    return PolicyRequest(
        agent=agent.id,
        action=action,
        resource_type="Model" if described.model is not None else "Connector",
        resource=described.model if described.model is not None else described.connector,
        context=context,
    )
