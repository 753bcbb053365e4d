"""Who may call what, at which price, on which budget: one tenant's registry, as one configuration version has it.

Rule 1: values only; nothing here is looked up, read or cached. A change is a new registry with a higher epoch.
Rule 2: an agent lives on a budget, its own or its team's default; nothing is spent outside every budget.
"""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.adapts import Adapts
from aegis_gateway.domain.approval_rules import NO_ASKS, NO_RULES, ApprovalRules, AskRules
from aegis_gateway.domain.channel import Channel, NotifyRule
from aegis_gateway.domain.currency import Currency
from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.digest import Digest
from aegis_gateway.domain.fiscal import CALENDAR_YEAR, YearStart
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.limit_change import LimitChange
from aegis_gateway.domain.limits import CarryOver
from aegis_gateway.domain.moment import OFFICE, BusinessHours
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.network import Network
from aegis_gateway.domain.price import Kind, ModelPrice, ToolPrice
from aegis_gateway.domain.replication import Replication
from aegis_gateway.domain.threshold import Threshold
from aegis_gateway.domain.window import Period, Window, window_at

Dimension = str
"""What calls are told apart by: one of `DIMENSIONS`, or `tag:NAME`, a tag that the registry has of the agent."""
DIMENSIONS: tuple[Dimension, ...] = (
    "tenant", "team", "project", "agent", "key", "connector", "tool", "model", "environment", "run", "customer",
)  # fmt: skip
ON_THE_FLY: tuple[Dimension, ...] = ("run", "customer")
"""Dimensions whose values only the call tells. Budgets that are split by them have balances made when they are used."""
TAG = "tag:"

Match = tuple[tuple[Dimension, str], ...]
ConnectorKind = Literal["openai", "azure", "anthropic", "gemini", "http", "mcp", "local"]
CONNECTOR_KINDS: tuple[ConnectorKind, ...] = (
    "openai", "azure", "anthropic", "gemini", "http", "mcp", "local",
)  # fmt: skip
TOOL_KINDS: tuple[ConnectorKind, ...] = ("http", "mcp", "local")
"""The kinds whose operations are declared. `local` ones are run by the agents themselves, who ask before."""
OTHER_TOOLS = "?"
"""The operation that stands for all tools of an MCP server which nobody declared, where they have a price."""
ArgumentType = Literal["integer", "number", "string", "boolean"]


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A cost centre: who pays."""

    id: str
    name: str
    cost_centre: str
    owner: str
    default_budget: str | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a team's work that spending is told apart by."""

    id: str
    name: str
    team: str


class Throttle(msgspec.Struct, frozen=True, kw_only=True):
    """So many calls in so many nanoseconds."""

    limit: int
    period_ns: int


EVERY_AGENT: Literal["all"] = "all"
"""Whom an enforcement point may ask for that may ask for all."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """A registered agent. Owner, cost centre and purpose are never empty; it may have a role.

    `asks_for`: it enforces decisions for others, by a key of its own, and these are the agents for whom it may ask:
    some by id, or `EVERY_AGENT`.
    """

    id: str
    owner: str
    team: str
    cost_centre: str
    purpose: str
    environment: str
    budget: str
    project: str | None = None
    external_id: str | None = None
    tags: dict[str, str] = {}
    role: str = ""
    asks_for: tuple[str, ...] | Literal["all"] = ()

    def may_ask_for(self, agent: str) -> bool:
        """Whether it may ask what is decided for an agent; for itself it always may."""
        return agent == self.id or self.asks_for == EVERY_AGENT or agent in self.asks_for


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's API key; `hash` is all that is kept of it. `expires_ns` is set by a rotation's grace time.

    `holds` are what thresholds of budgets, and people, hold it by.
    """

    id: str
    agent: str
    hash: bytes
    hint: str
    issued_ns: int
    expires_ns: int | None = None
    revoked_ns: int | None = None
    throttle: Throttle | None = None
    holds: tuple[Hold, ...] = ()

    def held(self, now_ns: int) -> Hold | None:
        """By what it is held, if it is."""
        return next((hold for hold in self.holds if hold.holds(now_ns)), None)

    @property
    def is_own_credential(self) -> bool:
        """Whether it is the caller's own upstream credential, which is sent on in place of the connector's."""
        return self.id.startswith(CREDENTIAL)

    def is_valid(self, now_ns: int) -> bool:
        """Whether a call may be made with it."""
        return not self.is_over(now_ns) and self.held(now_ns) is None

    def is_over(self, now_ns: int) -> bool:
        """Whether it is revoked, or the time is over that it had beside another; it never comes back from that."""
        return self.revoked_ns is not None or (self.expires_ns is not None and now_ns >= self.expires_ns)


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a request that policies, prices and budgets may see.

    `source` is where it stands: (`body`, `amount`), (`query`, `limit`), (`path`, `id`).
    """

    name: str
    type: ArgumentType
    source: tuple[str, ...]
    required: bool = True
    shown: bool = False


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """A number that a call carries towards budgets that count it (money paid out, rows…).

    `source` begins with `body`, `query`, `path` or `response`. `maximum` bounds what is only known from the
    response, in the quantity's smallest unit.
    """

    quantity: str
    source: tuple[str, ...]
    scale: int
    maximum: int | None = None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a connector: a tool in the policies' sense, named `{connector}.{operation}`.

    `body_schema` is the JSON Schema that its bodies have to fit, as JSON; empty where there is none. At an MCP server
    it is called `tool`.
    """

    id: str
    method: str
    path: str
    price: ToolPrice
    arguments: tuple[Argument, ...] = ()
    counts: tuple[Count, ...] = ()
    body_schema: bytes = b""
    tool: str = ""


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long an upstream may take, in seconds: to be connected to, to begin its answer, between two pieces of it,
    and in all. An answer that isn't a stream has begun when its first 64 KiB are there.
    """

    connect_s: int = 10
    first_byte_s: int = 300
    idle_s: int = 120
    total_s: int = 600


class Connector(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream, or what agents run themselves (`local`), which has no address.

    `credential` is a reference (`env:NAME`, `file:PATH`), never a value. `api_version` is Azure's, which wants one in
    each address. `provider` is whose list prices hold for its models. An MCP server without an address is a program
    that each gateway worker starts by its `command`, with the `variables` (name and reference) in its environment.
    """

    id: str
    kind: ConnectorKind
    base_url: str
    credential: str | None = None
    credential_header: str = "authorization"
    credential_prefix: str = "Bearer "
    region: str = ""
    tags: dict[str, str] = {}
    operations: tuple[Operation, ...] = ()
    deadlines: Deadlines = Deadlines()
    network: Network = "public"
    api_version: str = ""
    provider: str = ""
    command: tuple[str, ...] = ()
    variables: dict[str, str] = {}


class HostedTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the provider runs for a model, and how often one call may use it; its price is among the model's."""

    calls_max: int | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model as callers name it, and how it is reached, priced and bounded.

    `hosted` are the tools of the provider's own that calls of it may turn on.
    """

    id: str
    connector: str
    upstream: str
    price: ModelPrice | None
    default_output_tokens: int = 1024
    min_output_tokens: int = 16
    max_output_tokens: int | None = None
    expected_output_tokens: int = 256
    max_input_tokens: int | None = None
    hosted: dict[Kind, HostedTool] = {}


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """What a budget counts: `scale` smallest units make one of what people write (1e9 nano-dollars a dollar)."""

    id: str
    scale: int
    is_money: bool = False


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on a quantity, per window.

    `limit` is in the quantity's smallest unit, or that of its currency. `match` says whose calls count (all dimensions
    must agree; a budget without one counts the calls of the agents that live on it); `per` splits it into one standing
    for each value of those dimensions. `within` is its parent: a budget whose limit its own never passes by adapting.
    That says nothing of whose calls count on the parent: its own `match` does. `changes` are not configured:
    what is done to the limit meanwhile. `thresholds` say what is done before it is empty, and then.
    """

    id: str
    owner: str
    deputy: str | None
    quantity: str
    limit: int
    period: Period
    zone: str
    hard: bool = True
    match: Match = ()
    per: tuple[Dimension, ...] = ()
    once: Window | None = None
    length_ns: int = 0
    year_starts: YearStart = CALENDAR_YEAR
    instances_max: int | None = None
    thresholds: tuple[Threshold, ...] = ()
    mode: Mode = "enforce"
    currency: Currency | None = None
    carry_over: CarryOver | None = None
    within: str | None = None
    adapts: Adapts | None = None
    changes: tuple[LimitChange, ...] = ()

    @property
    def unit(self) -> str:
        """What its limit is written in, and changes of it: its quantity, or its currency."""
        return self.quantity if self.currency is None else self.currency.code

    def window(self, now_ns: int) -> Window:
        """The window of it that an instant falls into."""
        return window_at(
            self.period,
            ZoneInfo(self.zone),
            now_ns,
            once=self.once,
            length_ns=self.length_ns,
            year_starts=self.year_starts,
        )


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on how often: `limit` calls (or new runs) in `period_ns`, `burst` of them at once.

    Calls wait up to `delay_ns` for their turn; those that would have to wait longer are refused.
    """

    id: str
    limit: int
    period_ns: int
    burst: int
    match: Match = ()
    per: tuple[Dimension, ...] = ()
    delay_ns: int = 0
    of_runs: bool = False
    mode: Mode = "enforce"


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """An end customer whom agents serve; calls may be put down to those that are registered."""

    id: str
    name: str


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """How a whole tenant is in shadow: everything passes and is recorded, and no policy, budget or rate acts.

    `takes_strangers`: callers without a key pass too, with their own upstream credential. `unlisted_models` are the
    connectors that models go to which are not configured.
    """

    takes_strangers: bool = False
    unlisted_models: tuple[str, ...] = ()


CREDENTIAL = "credential_"
"""What ids of keys begin with that are a caller's own upstream credential; the rest is its keyed hash."""

UNREGISTERED = "unregistered"
"""The team of strangers, and what stands before their names: `unregistered/1a2b3c…`."""


def stranger(key: Key) -> Agent:
    """The agent that an unknown caller counts as, by the credential that it brings."""
    return Agent(
        id=key.agent,
        owner=UNREGISTERED,
        team=UNREGISTERED,
        cost_centre=UNREGISTERED,
        purpose=UNREGISTERED,
        environment=UNREGISTERED,
        budget="",
    )


def credential_key(digest: bytes, agent: str = "", issued_ns: int = 0) -> Key:
    """A caller's own credential as a key: a stranger's, or the one of the agent that adopted it."""
    name = digest.hex()
    return Key(
        id=f"{CREDENTIAL}{name}",
        agent=agent or f"{UNREGISTERED}/{name[:12]}",
        hash=digest,
        hint=f"own credential {name[:12]}",
        issued_ns=issued_ns,
    )


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """All of one tenant that deciding a call needs, apart from policies and balances.

    `regions` are those where its data may be. `four_eyes`: what widens in it needs the word of two people.
    `shadow_for_ns` is how long what begins to hold calls back has to be in shadow before. `replication` bounds what
    each owner may have, if anything does. `approvals` says who is asked where a person has to agree, `asks` whom owners
    ask for more.
    """

    tenant: str
    name: str
    zone: str
    teams: dict[str, Team]
    projects: dict[str, Project]
    agents: dict[str, Agent]
    connectors: dict[str, Connector]
    models: dict[str, Model]
    quantities: dict[str, Quantity]
    budgets: dict[str, Budget]
    rates: dict[str, Rate]
    customers: dict[str, Customer] = {}
    business_hours: BusinessHours = OFFICE
    regions: tuple[str, ...] = ()
    proxy: Proxy | None = None
    four_eyes: bool = False
    shadow_for_ns: int = 0
    replication: Replication | None = None
    currencies: dict[str, Currency] = {}
    approvals: ApprovalRules = NO_RULES
    asks: AskRules = NO_ASKS
    channels: dict[str, Channel] = {}
    notify: tuple[NotifyRule, ...] = ()
    digests: dict[str, Digest] = {}
    year_starts: YearStart = CALENDAR_YEAR

    @property
    def keeps_regions(self) -> bool:
        """Whether answers are kept from leading callers out of the tenant's regions."""
        return bool(self.regions) and self.proxy is None

    @property
    def replication_mode(self) -> Mode:
        """How the bounds of owners act; in proxy mode they don't."""
        return self.replication.mode if self.proxy is None and self.replication is not None else "shadow"

    @property
    def takes_strangers(self) -> bool:
        """Whether callers who have no key are the tenant's."""
        return self.proxy is not None and self.proxy.takes_strangers


BUILT_IN_QUANTITIES: dict[str, Quantity] = {
    "usd": Quantity(id="usd", scale=1_000_000_000, is_money=True),
    "tokens": Quantity(id="tokens", scale=1),
    "calls": Quantity(id="calls", scale=1),
}

FREE = UnitPrice(nano_usd=0)
