"""Ports: what the use cases need from the world, and nothing about how it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

import msgspec

from aegis_gateway.application.delivery_ports import DeliveryChange
from aegis_gateway.application.saved_view_ports import SavedViewChange
from aegis_gateway.domain.adaptation_turn import Lately
from aegis_gateway.domain.admit import RateKey, StandingKey
from aegis_gateway.domain.approval import Approval, ApprovalAnswer
from aegis_gateway.domain.budget_change import BudgetChange, StoredLimitChange
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.incident import Incident
from aegis_gateway.domain.ledger import Leg, Standing, State
from aegis_gateway.domain.network import Network
from aegis_gateway.domain.notice import Notice
from aegis_gateway.domain.outcome import Outcome, OutcomeKey, OutcomeSum
from aegis_gateway.domain.pace import PaceRow
from aegis_gateway.domain.people import Person, Token
from aegis_gateway.domain.price import ChargeLine
from aegis_gateway.domain.proposal import Answer, Proposal
from aegis_gateway.domain.rate import Turns
from aegis_gateway.domain.registry import Agent, Deadlines, Key
from aegis_gateway.domain.replication import Run, RunClaim
from aegis_gateway.domain.rollout_facts import Dashboard
from aegis_gateway.domain.session import Session, SignedIn, SignInLink
from aegis_gateway.domain.usage import SPANS, RuleKey, RuleSum, ShadowKey, ShadowSum, Span, UsageKey, UsageSum
from aegis_gateway.domain.window import Window


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's one locked row: next sequence number, epoch of its configuration and keys, last clock."""

    tenant: str
    next_sequence: int
    epoch: int
    last_ns: int


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One call as the ledger keeps it. Amounts in nano-USD; `legs` are never changed after admission; `traceparent` is
    its place in a trace, if it has one.
    """

    call: str
    tenant: str
    state: State
    effect: str
    reason_code: str
    reason: str
    agent: str
    team: str
    project: str | None
    cost_centre: str
    environment: str
    connector: str
    tool: str
    model: str | None
    key: str
    run: str | None
    parent: str | None
    policy_version: str
    config_version: int
    expected_nano_usd: int | None
    maximum_nano_usd: int | None
    cost_nano_usd: int | None
    overrun: bool
    legs: tuple[Leg, ...]
    salt: bytes
    boot: str
    decided_ns: int
    expires_ns: int | None
    settled_ns: int | None
    sequence: int
    customer: str | None = None
    name: str | None = None
    rule: str | None = None
    traceparent: str | None = None
    request: int | None = None


class CallMove(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a call's state."""

    call: str
    tenant: str
    state: State
    cost_nano_usd: int | None = None
    overrun: bool = False
    settled_ns: int | None = None


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a tenant's record: its place, what it is about, its canonical bytes."""

    tenant: str
    sequence: int
    call: str | None
    type: str
    at_ns: int
    body: bytes


class StandingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One balance with its window's bounds, which count only when the row is made."""

    tenant: str
    budget: str
    scope: str
    window: Window
    quantity: str
    standing: Standing


class HourRow(msgspec.Struct, frozen=True, kw_only=True):
    """What settlements of one batch add to a budget's use in one hour (UTC, counted since 1970), by admission."""

    tenant: str
    budget: str
    scope: str
    hour: int
    amount: int


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch adds to the sums of some calls, of the hour or day that begins at `start_ns`."""

    tenant: str
    span: Span
    start_ns: int
    key: UsageKey
    sums: UsageSum


class ShadowSumRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch adds to the sums of what rules in shadow would have done."""

    tenant: str
    span: Span
    start_ns: int
    key: ShadowKey
    sums: ShadowSum


class RuleSumRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch adds to the sums of what rules did."""

    tenant: str
    span: Span
    start_ns: int
    key: RuleKey
    sums: RuleSum


class OutcomeSumRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch adds to the sums of what was reported, or takes off them where a report replaces another."""

    tenant: str
    span: Span
    start_ns: int
    key: OutcomeKey
    sums: OutcomeSum


def outcome_sum_rows(sums: Mapping[tuple[str, int, OutcomeKey], OutcomeSum]) -> list[OutcomeSumRow]:
    """Sums of hours, each for every span that it lies in."""
    return [
        OutcomeSumRow(tenant=tenant, span=span, start_ns=hour_ns - hour_ns % length_ns, key=key, sums=each)
        for (tenant, hour_ns, key), each in sums.items()
        for span, length_ns in SPANS.items()
    ]


class LateCost(msgspec.Struct, frozen=True, kw_only=True):
    """What was settled in a tree of runs (`run` is its first one's number), for its outcome, if there is one."""

    tenant: str
    run: str
    cost: int


class FirstCall(msgspec.Struct, frozen=True, kw_only=True):
    """The call that a run began with: whom it was put down to, whether it was let through, and when."""

    agent: str
    team: str
    project: str | None
    cost_centre: str
    environment: str
    effect: str
    decided_ns: int


class TreeSoFar(msgspec.Struct, frozen=True, kw_only=True):
    """The first call of a run, if there is any, and what is settled in the tree that it began, in nano-USD."""

    first: FirstCall | None = None
    cost: int = 0


class SettledRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was settled, whose answer could be used again; the store counts it, if it had been settled before.

    `key` and `decided_ns` say where its call counts, `cost` what it came to, in nano-USD.
    """

    tenant: str
    request: int
    settled_ns: int
    decided_ns: int
    key: UsageKey
    cost: int


UsedKey = tuple[str, str, str]
"""Tenant, budget, scope: a budget's balances, whatever their window."""

NameKey = tuple[str, str, str]
"""Tenant, agent, and what is stored of the agent's name for a call, its idempotency key: a keyed digest."""


class NamedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that its caller named. `request` tells its request from another one; `answer` is encrypted.

    It is closed when it is known what is kept of the answer: nothing, where `answer` is None. The ledger, which needs
    no answers, reads it without. At `expires_ns` the answer is forgotten; the name stays the call's.
    """

    key: NameKey
    call: str
    request: bytes
    expires_ns: int
    is_closed: bool = False
    answer: bytes | None = None


class ShadowRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule in shadow would have changed about one call."""

    tenant: str
    decided_ns: int
    rule: str
    call: str
    would: str


class Changes(msgspec.Struct, kw_only=True):
    """All that one batch changes, to be written in one transaction."""

    heads: list[Head] = []
    calls: list[CallRow] = []
    moves: list[CallMove] = []
    charges: list[tuple[str, str, tuple[ChargeLine, ...]]] = []
    entries: list[EntryRow] = []
    standings: list[StandingRow] = []
    arrivals: list[tuple[str, RateKey, Turns]] = []
    names: list[NamedCall] = []
    freed_names: list[NameKey] = []
    shadows: list[ShadowRow] = []
    runs: list[Run] = []
    notices: list[Notice] = []
    approvals: list[Approval] = []
    incidents: list[Incident] = []
    hours: list[HourRow] = []
    usage: list[UsageRow] = []
    shadow_sums: list[ShadowSumRow] = []
    rule_sums: list[RuleSumRow] = []
    outcomes: list[Outcome] = []
    outcome_sums: list[OutcomeSumRow] = []
    late_costs: list[LateCost] = []
    requests: list[SettledRequest] = []


class LockedTenants(Protocol):
    """A transaction that holds the head rows of some tenants. Under it everything of theirs may be read."""

    @property
    def heads(self) -> Mapping[str, Head]:
        """The locked heads, by tenant; a tenant that does not exist is absent."""

    @property
    def now_ns(self) -> int:
        """The clock, read after the lock was won, in nanoseconds since 1970."""

    def calls(self, ids: Collection[str]) -> dict[str, CallRow]:
        """Calls by id; unknown ones are absent."""

    def standings(self, keys: Collection[tuple[str, StandingKey]]) -> dict[tuple[str, StandingKey], Standing]:
        """Balances by tenant and key; those that were never opened are absent."""

    def used(self, keys: Collection[UsedKey]) -> set[UsedKey]:
        """Those of some budgets (by tenant, id and scope) that have a balance in any window."""

    def arrivals(self, keys: Collection[tuple[str, RateKey]]) -> dict[tuple[str, RateKey], Turns]:
        """Which turns of rates are free, by tenant and key; those never used are absent."""

    def named_calls(self, keys: Collection[NameKey]) -> dict[NameKey, NamedCall]:
        """Calls by their callers' names for them; unknown ones are absent."""

    def runs(self, numbers: Collection[tuple[str, str]]) -> dict[tuple[str, str], Run]:
        """Runs by tenant and number; those that are not kept, or were forgotten, are absent."""

    def open_runs(self, tenant: str, owner: str, now_ns: int, limit: int) -> list[str]:
        """The numbers of runs that count for an owner, at most so many."""

    def runs_below(self, tenant: str, numbers: Collection[str]) -> list[Run]:
        """The runs that were delegated in some, and are not ended; not those that were delegated in these."""

    def outcomes(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Outcome]:
        """What was reported of runs, by tenant and number; those that nobody reported on are absent."""

    def tree_so_far(self, tenant: str, number: str) -> TreeSoFar:
        """The first call of a run, and what is settled in it and in what was delegated in its tree."""

    def latest_approvals(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Approval]:
        """The newest request for a person's word by tenant and fingerprint, with its answers; none is absent."""

    def open_approvals(self, tenant: str, requester: str, limit: int) -> list[Approval]:
        """An agent's or person's requests that wait for a word, the oldest first, at most so many."""

    def last_approval(self, tenant: str, requester: str, about: str) -> Approval | None:
        """The newest request of somebody about something, whatever became of it."""

    def write(self, changes: Changes) -> None:
        """Write everything; it is durable when the transaction's block is left without an exception."""


class LedgerStore(Protocol):
    """The database as the ledger needs it."""

    @property
    def boot(self) -> str:
        """The name of this opening of the store; calls admitted through it carry it."""

    def lock(self, tenants: Iterable[str]) -> AbstractContextManager[LockedTenants]:
        """Lock the tenants' heads in order and commit at the end of the block, durably, or roll back.

        Raises:
            LedgerUnavailable: the transaction could not be made durable, or it is not known whether it was.
        """

    def expired(self, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of reserved calls whose time has passed."""

    def orphans(self, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of dispatched calls whose ledger process is gone."""

    def forget_old_answers(self, limit: int) -> None:
        """Delete kept answers whose time has passed; the names stay their calls'."""

    def forget_old_runs(self, limit: int) -> None:
        """Delete runs that count no more, and that nobody can name any more or that a call would open anew."""

    def forget_old_requests(self, limit: int) -> None:
        """Delete requests that were settled so long ago that their answers would not be used again."""


class TenantState(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one tenant beside configuration and ledger: its epoch, imported agents, keys, and what was
    done to limits and still matters.
    """

    tenant: str
    epoch: int
    agents: tuple[Agent, ...] = ()
    keys: tuple[Key, ...] = ()
    limit_changes: tuple[StoredLimitChange, ...] = ()


class StoredState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that deciding needs and that changes rarely, as of one instant.

    `config` is in force, for all but the agents of a `canary`, if there is one.
    """

    config: ConfigVersion | None
    tenants: dict[str, TenantState]
    canary: ConfigVersion | None = None


class GatewayRow(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway process of one opening of the store, what it runs, and when it was last heard of."""

    boot: str
    process: str
    version: int
    canary: int | None
    digest: str
    warning: str
    started_ns: int
    seen_ns: int


class RegistryChange(LockedTenants, DeliveryChange, SavedViewChange, Protocol):
    """A transaction that changes the registry of the tenants it holds."""

    def create_tenant(self, tenant: str) -> None:
        """Make a tenant's head row, and hold it."""

    def save_config(self, config: ConfigVersion) -> None:
        """Make a configuration the newest."""

    def agents(self, tenant: str) -> dict[str, Agent]:
        """The imported agents of a tenant, by id."""

    def save_agent(self, tenant: str, agent: Agent) -> None:
        """Write an imported agent, new or changed."""

    def keys(self, tenant: str) -> dict[str, Key]:
        """The keys of a tenant, by id."""

    def save_key(self, tenant: str, key: Key) -> None:
        """Write a key, new or changed."""

    def latest_config(self) -> ConfigVersion | None:
        """The newest configuration, if one was ever applied."""

    def configs_in_force(self) -> tuple[ConfigVersion | None, ConfigVersion | None]:
        """The configuration in force, and the canary beside it; None where there is none."""

    def hold_people(self) -> None:
        """Let nobody else change people until this transaction ends."""

    def people(self) -> dict[str, Person]:
        """Everybody who has an account, by id."""

    def save_person(self, person: Person) -> None:
        """Write a person, new or changed."""

    def tokens(self) -> dict[str, Token]:
        """Everybody's tokens, by id."""

    def save_token(self, token: Token) -> None:
        """Write a token, or that it is revoked; nothing else of one changes."""

    def signed_in(self, digest: bytes) -> SignedIn | None:
        """A session with its person and token, by what is kept of its secret."""

    def open_sessions(self, person: str, now_ns: int) -> list[Session]:
        """A person's sessions that have not ended, the newest first."""

    def save_session(self, session: Session) -> None:
        """Write a session, or that it has ended; nothing else of one changes."""

    def sign_in_link(self, digest: bytes) -> SignInLink | None:
        """A link by what is kept of its secret."""

    def save_sign_in_link(self, link: SignInLink) -> None:
        """Write a link, or that it was used; nothing else of one changes."""

    def forget_sessions(self, before_ns: int) -> None:
        """Delete sessions and links whose time was over before an instant."""

    def next_proposal(self) -> int:
        """The number of the next change that wants a second person."""

    def waiting_proposals(self) -> list[Proposal]:
        """Those that nobody answered, the newest first, without their files."""

    def proposal(self, number: int) -> Proposal | None:
        """One of them, with its files and what was answered."""

    def save_proposal(self, proposal: Proposal) -> None:
        """Write a new one; it is never changed."""

    def save_answer(self, number: int, answer: Answer) -> None:
        """Write the one answer to it."""

    def next_budget_change(self, tenant: str) -> int:
        """The number of the next change of a limit in a tenant."""

    def limit_changes(self, tenant: str) -> list[StoredLimitChange]:
        """What of a tenant's changes of limits still matters."""

    def budget_changes_with(self, tenant: str, number: int) -> list[BudgetChange]:
        """A change and those that were made in one act with it; none where there is none of that number."""

    def budget_change_undoing(self, tenant: str, number: int) -> BudgetChange | None:
        """The change that took back another one, if there is one."""

    def last_configured(self, tenant: str, budget: str) -> int:
        """The number of the last change by which a version configured a budget's limit anew; 0 if none did."""

    def limit_lately(self, tenant: str, budget: str, since_ns: int) -> Lately:
        """What was done to a budget's limit for good: the last of it, and all since an instant."""

    def incident(self, tenant: str, incident: str) -> Incident | None:
        """One of a tenant's incidents."""

    def close_incident(self, tenant: str, incident: str, at_ns: int) -> None:
        """Write that one is closed, since an instant; one that is closed stays as it is."""

    def save_budget_changes(self, changes: Collection[BudgetChange]) -> None:
        """Write new ones; they are never changed."""

    def approval(self, tenant: str, approval: str) -> Approval | None:
        """One request, with its answers."""

    def grouped_approvals(self, tenant: str, group: str) -> list[Approval]:
        """The requests that wait for a word and are told under one notice, the oldest first."""

    def save_approval_answer(self, tenant: str, approval: str, answer: ApprovalAnswer) -> None:
        """Write one person's answer to a request; nobody has a second."""

    def save_gateways(self, boot: str, gateways: Iterable[GatewayRow]) -> None:
        """Write the gateway processes of one opening of the store in place of those that were written of it before."""

    def save_pace(self, boot: str, rows: Collection[PaceRow]) -> None:
        """Write what one opening's workers counted in the last seconds. What is older than pages tell of goes."""

    def note_seen(self, name: Dashboard, at_ns: int) -> None:
        """Write down that somebody looked from outside, and what with."""

    def save_head(self, head: Head) -> None:
        """Set a tenant's head. A raised epoch sends every call judged before back to be judged again."""


class NamedCallFound(msgspec.Struct, frozen=True, kw_only=True):
    """A named call as somebody finds it who uses the name again, with its state and when it was settled."""

    named: NamedCall
    state: State
    settled_ns: int | None


class NamedCalls(Protocol):
    """Named calls, read from outside the ledger. May block."""

    def find(self, key: NameKey) -> NamedCallFound | None:
        """What is known of a name."""


class Balances(msgspec.Struct, frozen=True, kw_only=True):
    """What stands of some balances and rates in one instant, with the tenant's epoch and last clock; what was never
    used is absent. `run` is what is kept of the run that was asked about, `others_open` how many others count for its
    owner.
    """

    epoch: int
    last_ns: int
    standings: dict[StandingKey, Standing]
    arrivals: dict[RateKey, Turns]
    run: Run | None = None
    others_open: int = 0
    used: frozenset[tuple[str, str]] = frozenset()


class BalanceReader(Protocol):
    """Balances, read from outside the ledger. May block."""

    def read(
        self,
        tenant: str,
        standings: Collection[StandingKey],
        arrivals: Collection[RateKey],
        run: RunClaim | None,
        now_ns: int,
        used: Collection[tuple[str, str]] = (),
    ) -> Balances:
        """What there is of them, and of a run; and which of some budgets (by id and scope) have any balance."""


class Sealer(Protocol):
    """Encrypts what is kept of answers, for one tenant each."""

    def seal(self, tenant: str, data: bytes, about: bytes) -> bytes:
        """Encrypt; what it is about is bound to it."""

    def open(self, tenant: str, sealed: bytes, about: bytes) -> bytes:
        """Decrypt.

        Raises:
            StoreError: it is not what was sealed, or about something else.
        """


class RegistryStore(Protocol):
    """The database as registry and configuration need it."""

    def state(self) -> StoredState:
        """Everything that deciding needs, as of one instant."""

    def epochs(self) -> dict[str, int]:
        """All tenants' epochs: what has changed is told by comparing."""

    def change(self, tenants: Iterable[str]) -> AbstractContextManager[RegistryChange]:
        """Lock the tenants' heads and commit at the end of the block, durably, or roll back."""


class Store(LedgerStore, RegistryStore, Protocol):
    """A database that does all of it."""

    def keep_ledger(self) -> None:
        """Become a process that keeps the ledger.

        Raises:
            StoreError: the database bears one such process, and another is there.
        """

    def due_approvals(self, now_ns: int, limit: int) -> list[tuple[str, str]]:
        """Tenant and id of requests of which something becomes by itself: their time, or somebody's, is over."""

    def checkpoint(self) -> None:
        """Housekeeping between batches, where the database wants any."""

    def durability(self) -> dict[str, str]:
        """What the database says of whether commits are on disk and guards in place: by name, `ok` or what is wrong."""

    def clock_ns(self) -> int:
        """The clock that decisions are dated by, in nanoseconds since 1970."""

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Read rows as dictionaries; `?` stands for a value."""

    def rows(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Read many rows, as they are; `?` stands for a value."""

    def close(self) -> None:
        """Close the database."""


class Signatures(Protocol):
    """What signs configurations, and tells who did."""

    @property
    def public_key(self) -> str:
        """The public key of what is signed here; hexadecimal."""

    @property
    def trusted(self) -> tuple[str, ...]:
        """All public keys whose signatures count; hexadecimal."""

    @property
    def why_not_sign(self) -> str:
        """Why nothing can be signed here; empty if it can be."""

    def sign(self, data: bytes) -> bytes:
        """Sign.

        Raises:
            ConfigurationError: there is no private key.
        """

    def is_signature(self, public_key: str, data: bytes, signature: bytes) -> bool:
        """Whether it is this trusted key's signature of the data."""


class Secrets(Protocol):
    """References to secrets, resolved at the last moment."""

    def resolve(self, reference: str) -> str:
        """The value behind `env:NAME` or `file:PATH`.

        Raises:
            ConfigurationError: there is none; the message names the reference, never a value.
        """


class UpstreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to an upstream, complete with its credential. Never logged, never recorded.

    `secret` is the credential alone: an answer that repeats it is passed on without it.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes
    deadlines: Deadlines
    network: Network
    secret: str | None = None


class UpstreamAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream's whole answer; header names in lower case. `doubt`: why it doesn't tell what the call came to."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    doubt: str = ""


class UpstreamStream(Protocol):
    """An upstream's answer in pieces: status and headers at once, the body as it arrives."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers, names in lower case."""

    async def next_piece(self) -> bytes | None:
        """The next piece of the body; None at its end.

        Raises:
            UpstreamFault: it broke off.
        """

    async def rest(self) -> UpstreamAnswer:
        """The answer as a whole, for one that turned out not to be a stream.

        Raises:
            UpstreamFault: it broke off, or is longer than may be held.
        """


class Upstream(Protocol):
    """The way to the upstreams."""

    async def fetch(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Send a request and wait for its whole answer.

        Raises:
            UpstreamFault: there was no answer, or it broke off.
        """

    def stream(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamStream]:
        """Send a request and read its answer in pieces; it is closed at the end of the block.

        Raises:
            UpstreamFault: there was no answer.
        """


class Clock(Protocol):
    """Wall time, passed in so that tests can turn it."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
