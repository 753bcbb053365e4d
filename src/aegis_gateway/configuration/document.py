"""The shape of `aegis.yaml`: what may stand where, and what it says when it is left out.

Each model is one kind of entry. Sections are checked entry by entry (`load.py`), so that one reading finds
all mistakes; what belongs together inside an entry is checked when it is compiled (`compile.py`).
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from aegis_gateway.configuration import http_values, references, threshold_values, values
from aegis_gateway.configuration.json_schema import schema_text
from aegis_gateway.configuration.words import unfit
from aegis_gateway.domain.adapts import AdaptsBy, AdaptsEvery
from aegis_gateway.domain.decision import Mode
from aegis_gateway.domain.fiscal import CALENDAR_YEAR, Pattern, Which, YearStart
from aegis_gateway.domain.moment import OFFICE
from aegis_gateway.domain.network import NETWORKS, Network
from aegis_gateway.domain.registry import (
    CONNECTOR_KINDS,
    ArgumentType,
    ConnectorKind,
    Dimension,
)
from aegis_gateway.domain.replication import IDLE_NS
from aegis_gateway.domain.threshold import ThresholdAct
from aegis_gateway.domain.window import PERIODS, Period

_TOKENS_MAX = 100_000_000

Text = Annotated[str, PlainValidator(values.text)]
Identifier = Annotated[str, PlainValidator(values.identifier)]
ArgumentName = Annotated[str, PlainValidator(values.argument_name)]
Flag = Annotated[bool, PlainValidator(values.flag)]
Amount = Annotated[Decimal, PlainValidator(values.number)]
PositiveAmount = Annotated[Decimal, PlainValidator(values.positive_number)]
Count = Annotated[int, PlainValidator(values.whole(1, values.COUNT_MAX))]
Tokens = Annotated[int, PlainValidator(values.whole(1, _TOKENS_MAX))]
Seconds = Annotated[int, PlainValidator(values.whole(1, 3600))]
Timezone = Annotated[str, PlainValidator(values.timezone)]
AnyField = Annotated[http_values.FieldPath, PlainValidator(http_values.field_path(*http_values.ALL_ROOTS))]
RequestField = Annotated[
    http_values.FieldPath, PlainValidator(http_values.field_path(*http_values.REQUEST_ROOTS))
]
Dimensions = Annotated[tuple[Dimension, ...], PlainValidator(references.dimensions)]
Tags = Annotated[dict[Text, Text], BeforeValidator(lambda value: {} if value is None else value)]

LimitMode = Annotated[Mode, PlainValidator(values.choice("enforce", "shadow"))]

TeamId = Annotated[str, PlainValidator(references.reference("team"))]
ProjectId = Annotated[str, PlainValidator(references.reference("project"))]
AgentId = Annotated[str, PlainValidator(references.reference("agent"))]
ConnectorId = Annotated[str, PlainValidator(references.reference("connector"))]
ModelId = Annotated[str, PlainValidator(references.reference("model"))]
BudgetId = Annotated[str, PlainValidator(references.reference("budget"))]
QuantityId = Annotated[str, PlainValidator(references.reference("quantity"))]
CustomerId = Annotated[str, PlainValidator(references.reference("customer"))]
ToolId = Annotated[str, PlainValidator(references.reference("tool"))]
Environment = Annotated[str, PlainValidator(references.reference("environment"))]
CurrencyCode = Annotated[str, PlainValidator(values.currency_code)]
CurrencyId = Annotated[str, PlainValidator(references.reference("currency"))]
CountedId = Annotated[str, PlainValidator(references.counted_quantity)]


class Entry(BaseModel):
    """Anything in the file: no other settings than those named here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QuantityEntry(Entry):
    """What budgets may count: money (`unit: usd`), or numbers with so many decimals."""

    unit: Annotated[str, PlainValidator(values.choice("usd"))] | None = None
    decimals: Annotated[int, PlainValidator(values.whole(0, 9))] | None = None


class TeamEntry(Entry):
    """A cost centre."""

    name: Text | None = None
    cost_centre: Text = Field(description="who pays for the team", examples=["CC-1001"])
    owner: Text = Field(description="who answers for the team", examples=["ana@northbank.example"])
    default_budget: BudgetId | None = None


class ProjectEntry(Entry):
    """A piece of a team's work."""

    name: Text | None = None
    team: TeamId = Field(description="the team whose work it is", examples=["lending"])


class AgentEntry(Entry):
    """An agent. `team` stands before what falls back on the team's."""

    owner: Text = Field(description="who answers for the agent", examples=["ana@northbank.example"])
    team: TeamId = Field(description="the team that it works for", examples=["lending"])
    project: ProjectId | None = None
    cost_centre: Annotated[str, PlainValidator(references.own_cost_centre)] = Field(
        default=None, validate_default=True
    )
    purpose: Text = Field(description="what the agent is for", examples=["answers mortgage questions"])
    role: Text | None = None
    environment: Identifier = Field(description="where it runs", examples=["production"])
    budget: Annotated[str, PlainValidator(references.home_budget)] = Field(
        default=None, validate_default=True
    )
    external_id: Text | None = None
    tags: Tags = {}
    asks_for: Annotated[tuple[str, ...] | Literal["all"], PlainValidator(references.asked_for)] = ()


class ArgumentEntry(Entry):
    """A value of a request that policies may see."""

    type: (
        Annotated[ArgumentType, PlainValidator(values.choice("integer", "number", "string", "boolean"))]
        | None
    ) = None
    source: RequestField = Field(
        alias="from", description="where it stands in the request", examples=["body.amount"]
    )
    required: Flag = True
    shown: Flag = False


class ToolPriceEntry(Entry):
    """What one operation costs: the sum of its parts."""

    per_call: Amount | None = None
    per_unit: Amount | None = None
    unit: Text | None = None
    units: AnyField | None = None
    max_units: Count | None = None
    amount: AnyField | None = None
    max_amount: Amount | None = None


class CountEntry(Entry):
    """A number that an operation carries towards a quantity; a path alone is short for its `from`."""

    source: AnyField = Field(alias="from", description="where it stands", examples=["body.amount"])
    max: PositiveAmount | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_alone(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"from": value}


class OperationEntry(Entry):
    """One operation of a connector; only one over HTTP has a method and a path, and only one at an MCP server a `tool`,
    its name there where that is no id.
    """

    method: Annotated[str, PlainValidator(http_values.method)] = Field(
        default="", description="its HTTP method", examples=["POST"]
    )
    path: Annotated[str, PlainValidator(http_values.path_template)] = Field(
        default="", description="its path", examples=["/v1/payments/{id}"]
    )
    tool: Text | None = None
    body_schema: Annotated[bytes, PlainValidator(schema_text)] | None = Field(default=None, alias="schema")
    arguments: dict[ArgumentName, ArgumentEntry] = {}
    price: ToolPriceEntry = Field(
        description="what it costs, if only that it is free", examples=["{per_call: 0.25}"]
    )
    counts: dict[CountedId, CountEntry] = {}


class OtherToolsEntry(Entry):
    """The tools of an MCP server that nobody declared."""

    price: ToolPriceEntry = Field(
        description="what each of them costs, if only that it is free", examples=["{per_call: 0.01}"]
    )


class ConnectorEntry(Entry):
    """One upstream."""

    kind: Annotated[ConnectorKind, PlainValidator(values.choice(*CONNECTOR_KINDS))] = Field(
        description=f"what it speaks ({', '.join(CONNECTOR_KINDS)})", examples=["openai"]
    )
    base_url: Annotated[str, PlainValidator(http_values.base_url)] = Field(
        default="", description="where it is", examples=["https://api.example.com/v1"]
    )
    credential: Annotated[str, PlainValidator(http_values.credential)] | None = None
    credential_header: Annotated[str, PlainValidator(http_values.header)] | None = None
    credential_prefix: Annotated[str, PlainValidator(http_values.prefix)] | None = None
    provider: Identifier | None = None
    api_version: Text | None = None
    region: Text | None = None
    tags: Tags = {}
    timeout_seconds: Seconds = 600
    connect_seconds: Seconds | None = None
    first_byte_seconds: Seconds | None = None
    idle_seconds: Seconds | None = None
    network: Annotated[Network, PlainValidator(values.choice(*NETWORKS))] = "public"
    command: Annotated[tuple[str, ...], PlainValidator(values.command)] = ()
    env: dict[
        Annotated[str, PlainValidator(http_values.variable)],
        Annotated[str, PlainValidator(http_values.credential)],
    ] = {}
    operations: dict[Identifier, OperationEntry] = {}
    other_tools: OtherToolsEntry | None = None


class ModelPriceEntry(Entry):
    """A contract price, in dollars per million tokens. A kind that is left out costs what it is a part of."""

    input_per_million: Amount = Field(description="dollars per million input tokens", examples=["0.15"])
    output_per_million: Amount = Field(description="dollars per million output tokens", examples=["0.60"])
    cache_read_per_million: Amount | None = None
    cache_write_per_million: Amount | None = None
    cache_write_1h_per_million: Amount | None = None
    input_audio_per_million: Amount | None = None
    cache_read_audio_per_million: Amount | None = None
    input_image_per_million: Amount | None = None
    cache_read_image_per_million: Amount | None = None
    input_video_per_million: Amount | None = None
    input_tool_per_million: Amount | None = None
    reasoning_per_million: Amount | None = None
    output_audio_per_million: Amount | None = None
    output_image_per_million: Amount | None = None


class HostedToolEntry(Entry):
    """A tool that the provider runs, of which calls of a model may make use."""

    price_per_call: Amount | None = None
    max_calls: Annotated[int, PlainValidator(values.whole(1, 1000))] | None = None


class HostedToolsEntry(Entry):
    """The tools that the provider runs."""

    web_search: HostedToolEntry | None = None
    file_search: HostedToolEntry | None = None
    code_execution: HostedToolEntry | None = None
    hosted_mcp: HostedToolEntry | None = None


class ModelEntry(Entry):
    """A model as callers name it."""

    connector: Annotated[str, PlainValidator(references.model_connector)] = Field(
        description="the connector that reaches it", examples=["openai"]
    )
    upstream: Text | None = None
    default_output_tokens: Tokens | None = None
    min_output_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    expected_output_tokens: Tokens | None = None
    max_input_tokens: Tokens | None = None
    price: ModelPriceEntry | None = None
    hosted_tools: HostedToolsEntry = HostedToolsEntry()


class MatchEntry(Entry):
    """Whose calls a budget or rate is for: all that is named must agree."""

    tenant: Annotated[str, PlainValidator(references.own_tenant)] | None = None
    team: TeamId | None = None
    project: ProjectId | None = None
    agent: AgentId | None = None
    key: Text | None = None
    connector: ConnectorId | None = None
    tool: ToolId | None = None
    model: ModelId | None = None
    environment: Environment | None = None
    customer: CustomerId | None = None
    tags: Tags = {}


class AdaptsEntry(Entry):
    """How a limit follows what is used."""

    every: Annotated[AdaptsEvery, PlainValidator(values.choice("daily", "weekly"))] = Field(
        description="how often its limit is looked at (daily, weekly)", examples=["daily"]
    )
    floor: PositiveAmount = Field(description="what its limit never falls below", examples=["10.00"])
    ceiling: PositiveAmount = Field(description="what its limit never rises above", examples=["50.00"])
    k: Annotated[Decimal, PlainValidator(values.spreads)] = Decimal(3)
    most_change: Annotated[int, PlainValidator(values.percent)] = 2_000
    applies: Annotated[AdaptsBy, PlainValidator(values.choice("automatic", "approval"))] = "approval"


class CarryOverEntry(Entry):
    """What of a window's limit may be used in the next one."""

    most: PositiveAmount = Field(description="the most that a window takes over", examples=["100.00"])
    expires: Annotated[int, PlainValidator(values.duration)] | None = None


class GraceEntry(Entry):
    """How much more may be used, or how long it may go on, before what is done begins."""

    amount: PositiveAmount | None = None
    time: Annotated[int, PlainValidator(values.duration)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> GraceEntry:
        if (self.amount is None) == (self.time is None):
            unfit("needs either an amount or a time, as in {time: 30m}")
        return self


class ExhaustionEntry(Entry):
    """What is done when a call is refused for want of money, or all of the limit is spent."""

    do: Annotated[tuple[ThresholdAct, ...], PlainValidator(threshold_values.acts)] = Field(
        description="what is done", examples=["[notify, revoke_keys]"]
    )
    waits_for_word: Flag = False
    grace: GraceEntry | None = None
    restore: (
        Annotated[Literal["window", "never"], PlainValidator(values.choice("window", "never"))] | None
    ) = None


class ThresholdEntry(ExhaustionEntry):
    """What is done when so much of a budget is used: a share of its limit, or an amount."""

    at: Annotated[int, PlainValidator(threshold_values.share_of_limit)] | None = None
    amount: PositiveAmount | None = None
    of: Annotated[Literal["actual", "forecast"], PlainValidator(values.choice("actual", "forecast"))] = (
        "actual"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> ThresholdEntry:
        if (self.at is None) == (self.amount is None):
            unfit("needs either the share of the limit that it is `at`, or an `amount`, as in at: 80%")
        return self


class BudgetEntry(Entry):
    """A limit on a quantity, per window."""

    owner: Text = Field(description="who answers for the budget", examples=["ana@northbank.example"])
    deputy: Text = Field(description="who answers when the owner can't", examples=["ben@northbank.example"])
    counts: QuantityId = "usd"
    limit: PositiveAmount = Field(description="how much may be used in one window", examples=["20.00"])
    period: Annotated[Period, PlainValidator(values.choice(*PERIODS))] = Field(
        description=f"how long a window is ({', '.join(PERIODS)})", examples=["daily"]
    )
    first_day: Annotated[date, PlainValidator(values.day)] | None = Field(default=None, alias="from")
    last_day: Annotated[date, PlainValidator(values.day)] | None = Field(default=None, alias="to")
    timezone: Timezone | None = None
    kind: Annotated[Literal["hard", "soft"], PlainValidator(values.choice("hard", "soft"))] = "hard"
    match: MatchEntry = MatchEntry()
    per: Dimensions = ()
    length: Annotated[int, PlainValidator(values.duration)] | None = None
    calendar: Annotated[Literal["civil", "fiscal"], PlainValidator(values.choice("civil", "fiscal"))] = (
        "civil"
    )
    max_instances: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] | None = None
    currency: CurrencyId | None = None
    carry_over: CarryOverEntry | None = None
    thresholds: tuple[ThresholdEntry, ...] = ()
    on_exhaustion: ExhaustionEntry | None = None
    mode: LimitMode = "enforce"
    within: BudgetId | None = None
    adapts: AdaptsEntry | None = None


class CustomerEntry(Entry):
    """An end customer whom agents serve."""

    name: Text | None = None


class RateEntry(Entry):
    """A limit on how often."""

    limit: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] = Field(
        description="how many calls", examples=["5"]
    )
    every: Annotated[int, PlainValidator(values.duration)] = Field(
        description="in which time", examples=["1s"]
    )
    burst: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] | None = None
    delay: Annotated[int, PlainValidator(values.duration)] | None = None
    of: Annotated[Literal["calls", "runs"], PlainValidator(values.choice("calls", "runs"))] = "calls"
    match: MatchEntry = MatchEntry()
    per: Dimensions = ()
    mode: LimitMode = "enforce"


class BusinessHoursEntry(Entry):
    """When people are at work, in the tenant's zone."""

    from_hour: Annotated[int, PlainValidator(values.whole(0, 23))] = Field(
        default=OFFICE.from_hour, alias="from"
    )
    to_hour: Annotated[int, PlainValidator(values.whole(1, 24))] = Field(default=OFFICE.to_hour, alias="to")
    weekdays: Annotated[tuple[int, ...], PlainValidator(values.weekdays)] = OFFICE.weekdays


class ProxyEntry(Entry):
    """A whole tenant in shadow."""

    unregistered: Flag = False
    unlisted_models: Annotated[tuple[str, ...], PlainValidator(values.texts)] = ()


class TenantChangesEntry(Entry):
    """How a tenant's configuration is changed: whether what widens needs the word of two people, and how long what
    begins to hold calls back has to be in shadow before.
    """

    four_eyes: Flag = False
    shadow_for: Annotated[int, PlainValidator(values.duration)] | None = None


AgentsMax = Annotated[int, PlainValidator(values.whole(0, 1_000_000))]
RunsMax = Annotated[int, PlainValidator(values.whole(1, 10_000))]
DepthMax = Annotated[int, PlainValidator(values.whole(0, 255))]


class OwnerBoundsEntry(Entry):
    """What one owner may have, where that is another number than for all."""

    max_depth: DepthMax | None = None
    max_agents: AgentsMax | None = None
    max_runs: RunsMax | None = None


class ReplicationEntry(Entry):
    """How deep calls may be, how many agents an owner may have, and how many runs of them may be open at once."""

    max_depth: DepthMax | None = None
    max_agents_per_owner: AgentsMax | None = None
    max_runs_per_owner: RunsMax | None = None
    idle: Annotated[int, PlainValidator(values.duration)] = IDLE_NS
    mode: LimitMode = "enforce"
    owners: dict[Text, OwnerBoundsEntry] = {}


WeekdayOfAMonth = Annotated[tuple[Which, int, int, int], PlainValidator(values.weekday_of_a_month)]


class FiscalYearEntry(Entry):
    """A fiscal year of whole weeks: how its quarters are split, and the day that it begins or ends on."""

    weeks: Annotated[Pattern, PlainValidator(values.weeks_pattern)] = Field(
        description="how many weeks the periods of a quarter have", examples=["4-5-4"]
    )
    begins: WeekdayOfAMonth | None = None
    ends: WeekdayOfAMonth | None = None
    named_by: Annotated[Literal["begin", "end"], PlainValidator(values.choice("begin", "end"))] = "end"


class TenantEntry(Entry):
    """A tenant. Its sections are taken as they stand; their entries are checked one by one."""

    name: Text | None = None
    timezone: Timezone = "UTC"
    business_hours: BusinessHoursEntry = BusinessHoursEntry()
    regions: Annotated[tuple[str, ...], PlainValidator(values.texts)] = ()
    proxy: ProxyEntry | None = None
    changes: TenantChangesEntry = TenantChangesEntry()
    replication: ReplicationEntry | None = None
    fiscal_year_starts: Annotated[YearStart, PlainValidator(values.month_and_day)] = CALENDAR_YEAR
    fiscal_year: FiscalYearEntry | None = None
    currencies: dict[CurrencyCode, dict[Annotated[date, PlainValidator(values.day)], PositiveAmount]] = {}
    quantities: Any = None
    customers: Any = None
    teams: Any = None
    projects: Any = None
    agents: Any = None
    connectors: Any = None
    models: Any = None
    budgets: Any = None
    rates: Any = None
    rules: Any = None
    approvals: Any = None
    asks: Any = None
    channels: Any = None
    notify: Any = None
    digests: Any = None


class RollBackEntry(Entry):
    """When a version is taken back by itself: so many of a hundred calls more are refused, or fail, than before."""

    refusals_up_by: Annotated[int, PlainValidator(values.percent)] | None = None
    errors_up_by: Annotated[int, PlainValidator(values.percent)] | None = None
    of_at_least: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] = 200
    within: Annotated[int, PlainValidator(values.duration)] = 600_000_000_000


class ChangesEntry(Entry):
    """How changes of the configuration are made."""

    roll_back_when: RollBackEntry | None = None


class Document(Entry):
    """The whole file."""

    version: Annotated[int, PlainValidator(values.whole(1, 1))] = Field(
        description="the version of this format", examples=["1"]
    )
    changes: ChangesEntry = ChangesEntry()
    tenants: Any = Field(description="who uses this gateway", examples=["{northbank: {name: North Bank}}"])


SECTIONS: dict[str, type[Entry]] = {
    "quantities": QuantityEntry,
    "teams": TeamEntry,
    "projects": ProjectEntry,
    "customers": CustomerEntry,
    "agents": AgentEntry,
    "connectors": ConnectorEntry,
    "models": ModelEntry,
    "budgets": BudgetEntry,
    "rates": RateEntry,
}
