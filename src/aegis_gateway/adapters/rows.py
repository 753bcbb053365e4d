"""Rows and values: how what the ports speak of is written down, the same in every store.

Lists and records inside a row (legs, an agent's document) are JSON text in both stores: they are read whole, by
the row's id, and never searched, but for the legs of calls that are read anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from aegis_gateway.adapters.absence_rows import AbsenceRows
from aegis_gateway.adapters.adaptation_rows import AdaptationRows
from aegis_gateway.adapters.approval_rows import ApprovalRows
from aegis_gateway.adapters.budget_change_rows import LIMIT_CHANGES, BudgetChangeRows, limit_change
from aegis_gateway.adapters.delivery_rows import DeliveryRows
from aegis_gateway.adapters.incident_rows import IncidentRows
from aegis_gateway.adapters.last_seen_rows import LastSeenRows
from aegis_gateway.adapters.pace_rows import PaceRows
from aegis_gateway.adapters.people_rows import PeopleRows
from aegis_gateway.adapters.proposal_rows import ProposalRows
from aegis_gateway.adapters.saved_view_rows import SavedViewRows
from aegis_gateway.adapters.session_rows import SessionRows
from aegis_gateway.application.ports import (
    CallMove,
    CallRow,
    EntryRow,
    FirstCall,
    GatewayRow,
    Head,
    LateCost,
    NamedCall,
    NameKey,
    OutcomeSumRow,
    RuleSumRow,
    SettledRequest,
    ShadowRow,
    ShadowSumRow,
    StandingRow,
    StoredState,
    TenantState,
    TreeSoFar,
    UsageRow,
)
from aegis_gateway.domain.config_version import ConfigVersion
from aegis_gateway.domain.hold import Hold
from aegis_gateway.domain.incident import Incident
from aegis_gateway.domain.ledger import Leg, Standing, WindowNotes
from aegis_gateway.domain.money import NANO_USD_MAX
from aegis_gateway.domain.notice import Notice
from aegis_gateway.domain.outcome import Outcome, OutcomeKey, OutcomeSum, Report
from aegis_gateway.domain.price import ChargeLine
from aegis_gateway.domain.rate import Slot, Turns
from aegis_gateway.domain.registry import Agent, Key, Throttle
from aegis_gateway.domain.replication import Run
from aegis_gateway.domain.usage import (
    DAY_NS,
    SPANS,
    RuleKey,
    RuleSum,
    ShadowKey,
    ShadowSum,
    UsageKey,
    UsageSum,
)

_KEYS_OF_TENANT = (
    "select key, agent, hash, hint, issued_ns, expires_ns, revoked_ns, throttle_limit, throttle_period_ns,"
    " holds from api_key where tenant = ?"
)
_SAVE_KEY = (
    "insert into api_key (tenant, key, agent, hash, hint, issued_ns, expires_ns, revoked_ns,"
    " throttle_limit, throttle_period_ns, holds) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " on conflict (key) do update set expires_ns = excluded.expires_ns, revoked_ns = excluded.revoked_ns,"
    " throttle_limit = excluded.throttle_limit, throttle_period_ns = excluded.throttle_period_ns,"
    " holds = excluded.holds"
)

LATEST_CONFIG = "select version, beside, bundle from config_version order by version desc limit 1"
CONFIGS_IN_FORCE = (
    "select version, beside, bundle from config_version"
    " where version = (select max(version) from config_version)"
    " or version = (select beside from config_version order by version desc limit 1)"
    " order by version desc"
)

_GATEWAY_KEPT_NS = 3_600 * 1_000_000_000

_CALL_FIELDS = CallRow.__struct_fields__
_LEGS = _CALL_FIELDS.index("legs")
_OVERRUN = _CALL_FIELDS.index("overrun")
RUN_FIELDS = Run.__struct_fields__
_IS_KEPT = RUN_FIELDS.index("is_kept")

_OUTCOME_FIELDS = Outcome.__struct_fields__
_IS_COUNTED = _OUTCOME_FIELDS.index("is_counted")
_IS_BEGUN = _OUTCOME_FIELDS.index("is_begun")

INCIDENT_FIELDS = Incident.__struct_fields__
_FACTS = INCIDENT_FIELDS.index("facts")

decode_legs = msgspec.json.Decoder(tuple[Leg, ...]).decode
"""Reads the legs of a row."""
_agent_decoder = msgspec.json.Decoder(Agent)
_buckets_decoder = msgspec.json.Decoder(dict[int, int])
_free_decoder = msgspec.json.Decoder(tuple[Slot, ...])
_holds_decoder = msgspec.json.Decoder(tuple[Hold, ...])
_names_decoder = msgspec.json.Decoder(tuple[str, ...])
_notes_decoder = msgspec.json.Decoder(WindowNotes)
_version_decoder = msgspec.json.Decoder(ConfigVersion)
_encode = msgspec.json.Encoder().encode


def call_row(row: tuple[Any, ...]) -> CallRow:
    """A call from its row; the columns stand in the order of the fields."""
    fields = dict(zip(_CALL_FIELDS, row, strict=True))
    fields["legs"] = decode_legs(fields["legs"])
    fields["overrun"] = bool(fields["overrun"])
    fields["salt"] = bytes(fields["salt"] or b"")
    return CallRow(**fields)


def legs_on(budget: str) -> str:
    """What the legs of calls that count on a budget are `like`, with `escape '!'`."""
    # Legs are written as [["budget","scope",…],…]; ids have no quotes in them.
    name = budget.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f'%["{name}",%'


def call_values(row: CallRow) -> tuple[object, ...]:
    """A call as values, in the order of the fields."""
    values = list(msgspec.structs.astuple(row))
    values[_LEGS] = _encode(row.legs).decode()
    values[_OVERRUN] = int(row.overrun)
    return tuple(values)


def charge_values(tenant: str, call: str, lines: tuple[ChargeLine, ...]) -> Iterator[tuple[object, ...]]:
    """A bill as values, a row for each line."""
    for number, line in enumerate(lines, start=1):
        yield (
            tenant,
            call,
            number,
            line.kind,
            line.quantity,
            line.unit,
            line.unit_price.nano_usd,
            line.unit_price.per,
            line.price_version,
            line.nano_usd,
            line.price_source,
        )


def name_values(named: NamedCall) -> tuple[object, ...]:
    """A named call as values."""
    return (*named.key, named.call, named.request, named.expires_ns, int(named.is_closed), named.answer)


def named_call(key: NameKey, row: tuple[Any, ...]) -> NamedCall:
    """A named call from its row, without the key and without its answer."""
    call, request, expires_ns, is_closed = row
    return NamedCall(
        key=key,
        call=call,
        request=bytes(request),
        expires_ns=expires_ns,
        is_closed=bool(is_closed),
    )


USAGE_COLUMNS = ("tenant", "span", "start_ns", *UsageKey.__struct_fields__, *UsageSum.__struct_fields__)
SHADOW_SUM_COLUMNS = (
    "tenant",
    "span",
    "start_ns",
    *ShadowKey.__struct_fields__,
    *ShadowSum.__struct_fields__,
)


RULE_SUM_COLUMNS = ("tenant", "span", "start_ns", *RuleKey.__struct_fields__, *RuleSum.__struct_fields__)


def sum_values(row: UsageRow | ShadowSumRow | RuleSumRow | OutcomeSumRow) -> tuple[object, ...]:
    """What a batch adds to some sums, as columns."""
    key, sums = msgspec.structs.astuple(row.key), msgspec.structs.astuple(row.sums)
    return (row.tenant, row.span, row.start_ns, *key, *sums)


OUTCOME_COLUMNS = (
    "tenant", "run", "agent", "team", "project", "cost_centre", "environment", "is_counted", "is_begun", "began_ns",
    "told_ns", "changes", "cost", "result", "name", "note", "value_nano_usd", "transactions", "names",
)  # fmt: skip
OUTCOME_SUM_COLUMNS = (
    "tenant",
    "span",
    "start_ns",
    *OutcomeKey.__struct_fields__,
    *OutcomeSum.__struct_fields__,
)
LATE_COST_COLUMNS = LateCost.__struct_fields__


REQUEST_COLUMNS = (
    "tenant",
    "request",
    "settled_ns",
    "day",
    "decided_ns",
    "cost",
    *UsageKey.__struct_fields__,
)


def request_values(asked: SettledRequest) -> tuple[object, ...]:
    """A request that was settled as values."""
    day = asked.settled_ns // DAY_NS
    key = msgspec.structs.astuple(asked.key)
    return (asked.tenant, asked.request, asked.settled_ns, day, asked.decided_ns, asked.cost, *key)


def repeat_rows(asked: SettledRequest) -> list[UsageRow]:
    """What a request adds to the sums of its call, that had been settled before."""
    sums = UsageSum(repeats=1, repeated=asked.cost)
    return [
        UsageRow(
            tenant=asked.tenant,
            span=span,
            start_ns=asked.decided_ns - asked.decided_ns % length_ns,
            key=asked.key,
            sums=sums,
        )
        for span, length_ns in SPANS.items()
    ]


def outcome_values(outcome: Outcome) -> tuple[object, ...]:
    """What was reported of a run as values, in the order of the columns."""
    values = list(msgspec.structs.astuple(outcome))
    report = values.pop()
    *told, names = msgspec.structs.astuple(report)
    values[_IS_COUNTED] = int(outcome.is_counted)
    values[_IS_BEGUN] = int(outcome.is_begun)
    result, name, note, value, transactions = told
    return (*values, result, name, note, value, transactions, _encode(names).decode())


def outcome_row(row: tuple[Any, ...]) -> Outcome:
    """What was reported of a run from its row."""
    fields = dict(zip(OUTCOME_COLUMNS, row, strict=True))
    report = Report(
        result=fields.pop("result"),
        name=fields.pop("name"),
        note=fields.pop("note"),
        value_nano_usd=fields.pop("value_nano_usd"),
        transactions=fields.pop("transactions"),
        names=_names_decoder.decode(fields.pop("names")),
    )
    fields |= {"is_counted": bool(fields["is_counted"]), "is_begun": bool(fields["is_begun"])}
    return Outcome(**fields, report=report)


def tree_so_far(first: tuple[Any, ...] | None, costs: tuple[Any, ...]) -> TreeSoFar:
    """A run's first call, and what its tree came to: a sum in two parts, since it may have more than 64 bits."""
    high, low = costs
    cost = (int(high or 0) << 32) + int(low or 0)
    return TreeSoFar(
        first=None
        if first is None
        else FirstCall(**dict(zip(FirstCall.__struct_fields__, first, strict=True))),
        cost=min(cost, NANO_USD_MAX),
    )


def shadow_values(row: ShadowRow) -> tuple[object, ...]:
    """What a rule in shadow would have changed as values."""
    return (row.tenant, row.decided_ns, row.rule, row.call, row.would)


def notice_values(notice: Notice) -> tuple[object, ...]:
    """A notice as values."""
    return (
        notice.tenant,
        notice.sequence,
        notice.kind,
        notice.subject,
        notice.at_ns,
        _encode(notice.body).decode(),
    )


def move_values(move: CallMove) -> tuple[object, ...]:
    """A change of a call's state as values, the call last."""
    return (move.state, move.cost_nano_usd, int(move.overrun), move.settled_ns, move.call)


def entry_values(row: EntryRow) -> tuple[object, ...]:
    """An entry as values."""
    return (row.tenant, row.sequence, row.call, row.type, row.at_ns, row.body)


def run_values(run: Run) -> tuple[object, ...]:
    """A run as values, in the order of the fields."""
    values = list(msgspec.structs.astuple(run))
    values[_IS_KEPT] = int(run.is_kept)
    return tuple(values)


def run_row(row: tuple[Any, ...]) -> Run:
    """A run from its row; the columns stand in the order of the fields."""
    fields = dict(zip(RUN_FIELDS, row, strict=True))
    fields["is_kept"] = bool(fields["is_kept"])
    return Run(**fields)


def turns(next_ns: int, free: str | None) -> Turns:
    """A rate's free turns, of its columns."""
    return Turns(next_ns) if free is None else Turns(next_ns, _free_decoder.decode(free))


def turns_values(free: Turns) -> tuple[int, str | None]:
    """A rate's columns."""
    return free.next_ns, _encode(free.free).decode() if free.free else None


def standing(pending: int, posted: int, buckets: str | None, notes: str | None) -> Standing:
    """A balance from its row."""
    if buckets is None and notes is None:
        return Standing(pending=pending, posted=posted)
    return Standing(
        pending=pending,
        posted=posted,
        buckets=None if buckets is None else _buckets_decoder.decode(buckets),
        notes=None if notes is None else _notes_decoder.decode(notes),
    )


def standing_values(row: StandingRow) -> tuple[object, ...]:
    """A balance as values."""
    return (
        row.tenant,
        row.budget,
        row.scope,
        row.window.label,
        row.quantity,
        row.window.starts_ns,
        row.window.ends_ns,
        row.standing.pending,
        row.standing.posted,
        None if row.standing.buckets is None else _encode(row.standing.buckets).decode(),
        None if row.standing.notes is None else _encode(row.standing.notes).decode(),
        _passed(row.standing),
    )


def _passed(standing: Standing) -> int | None:
    """How many of a balance's thresholds are passed; None where none is, so that those are found where some are."""
    watched = standing.notes.watched if standing.notes is not None else None
    return (watched.passed or None) if watched is not None else None


def incident_values(incident: Incident) -> tuple[object, ...]:
    """An incident as values."""
    values = list(msgspec.structs.astuple(incident))
    values[_FACTS] = _encode(incident.facts).decode()
    return tuple(values)


def key_row(row: tuple[Any, ...]) -> Key:
    """A key from its row, the columns in the order of `key_values`."""
    key, agent, digest, hint, issued_ns, expires_ns, revoked_ns, limit, period_ns, holds = row
    throttle = None if limit is None else Throttle(limit=limit, period_ns=period_ns)
    return Key(
        id=key,
        agent=agent,
        hash=bytes(digest),
        hint=hint,
        issued_ns=issued_ns,
        expires_ns=expires_ns,
        revoked_ns=revoked_ns,
        throttle=throttle,
        holds=() if holds is None else _holds_decoder.decode(holds),
    )


def key_values(key: Key) -> tuple[object, ...]:
    """A key as values, in the order of the table's columns."""
    throttle = key.throttle
    return (
        key.id,
        key.agent,
        key.hash,
        key.hint,
        key.issued_ns,
        key.expires_ns,
        key.revoked_ns,
        throttle.limit if throttle else None,
        throttle.period_ns if throttle else None,
        _encode(key.holds).decode() if key.holds else None,
    )


def config_row(row: tuple[Any, ...]) -> ConfigVersion:
    """A configuration version from its row. What can't be what was applied comes back as signed by nobody.

    The columns before the bundle are only what it is found by.
    """
    version, beside, bundle = row
    try:
        found = _version_decoder.decode(bundle)
    except msgspec.DecodeError:
        return _unsigned(version)
    if (version, beside) != (found.version, found.canary.beside if found.canary else None):
        return _unsigned(version)
    return found


def _unsigned(version: int) -> ConfigVersion:
    return ConfigVersion(version=version, files={}, applied_by="", applied_ns=0)


def configurations_in_force(
    configs: Iterable[tuple[Any, ...]],
) -> tuple[ConfigVersion | None, ConfigVersion | None]:
    """The configuration in force and the canary beside it, from the rows of `CONFIGS_IN_FORCE`."""
    versions = {version.version: version for version in map(config_row, configs)}
    newest = versions[max(versions)] if versions else None
    if newest is None or newest.canary is None:
        return newest, None
    beside = newest.canary.beside
    return versions.get(beside, _unsigned(beside)), newest


def versions_in_force(rows: Callable[[str], list[tuple[Any, ...]]]) -> list[ConfigVersion]:
    """The configuration in force and the canary beside it, read by itself."""
    return [each for each in configurations_in_force(rows(CONFIGS_IN_FORCE)) if each is not None]


def agent_row(document: str) -> Agent:
    """An agent from its document."""
    return _agent_decoder.decode(document)


class RegistryRows(
    PeopleRows,
    ProposalRows,
    SessionRows,
    SavedViewRows,
    BudgetChangeRows,
    AdaptationRows,
    IncidentRows,
    PaceRows,
    ApprovalRows,
    DeliveryRows,
    AbsenceRows,
    LastSeenRows,
):
    """The registry's rows under the locked heads of some tenants; the tables are the same in all stores."""

    _heads: dict[str, Head]
    now_ns: int

    def create_tenant(self, tenant: str) -> None:
        """Make a tenant's head row, and hold it."""
        self._do("insert into tenant_head (tenant) values (?)", (tenant,))
        self._heads[tenant] = Head(tenant=tenant, next_sequence=1, epoch=1, last_ns=0)

    def save_config(self, config: ConfigVersion) -> None:
        """Make a configuration the newest."""
        self._do(
            "insert into config_version (version, beside, bundle) values (?, ?, ?)",
            (config.version, config.canary.beside if config.canary else None, _encode(config).decode()),
        )

    def agents(self, tenant: str) -> dict[str, Agent]:
        """The imported agents of a tenant, by id."""
        rows = self._rows("select document from agent where tenant = ?", (tenant,))
        return {agent.id: agent for (document,) in rows for agent in [agent_row(document)]}

    def save_agent(self, tenant: str, agent: Agent) -> None:
        """Write an imported agent, new or changed."""
        self._do(
            "insert into agent (tenant, agent, external_id, document) values (?, ?, ?, ?)"
            " on conflict (tenant, agent) do update"
            " set external_id = excluded.external_id, document = excluded.document",
            (tenant, agent.id, agent.external_id, _encode(agent).decode()),
        )

    def keys(self, tenant: str) -> dict[str, Key]:
        """The keys of a tenant, by id."""
        rows = self._rows(_KEYS_OF_TENANT, (tenant,))
        return {key.id: key for row in rows for key in [key_row(row)]}

    def save_key(self, tenant: str, key: Key) -> None:
        """Write a key, new or changed."""
        self._do(_SAVE_KEY, (tenant, *key_values(key)))

    def latest_config(self) -> ConfigVersion | None:
        """The newest configuration, if one was ever applied."""
        return next((config_row(row) for row in self._rows(LATEST_CONFIG, ())), None)

    def configs_in_force(self) -> tuple[ConfigVersion | None, ConfigVersion | None]:
        """The configuration in force, and the canary beside it."""
        return configurations_in_force(self._rows(CONFIGS_IN_FORCE, ()))

    def save_gateways(self, boot: str, gateways: Iterable[GatewayRow]) -> None:
        """Write one opening's gateway processes in place of those before; of those long gone nothing is kept."""
        self._do("delete from gateway where boot = ? or seen_ns < ?", (boot, self.now_ns - _GATEWAY_KEPT_NS))
        for each in gateways:
            self._do(
                "insert into gateway (boot, process, version, canary, digest, warning, started_ns, seen_ns)"
                " values (?, ?, ?, ?, ?, ?, ?, ?)",
                msgspec.structs.astuple(each),
            )

    def save_head(self, head: Head) -> None:
        """Set a tenant's head. A raised epoch sends every call judged before back to be judged again."""
        self._do(
            "update tenant_head set next_sequence = ?, epoch = ?, last_ns = ? where tenant = ?",
            (head.next_sequence, head.epoch, head.last_ns, head.tenant),
        )
        self._heads[head.tenant] = head


STATE_QUERIES = (
    "select tenant, epoch from tenant_head",
    CONFIGS_IN_FORCE,
    "select tenant, document from agent",
    "select tenant, key, agent, hash, hint, issued_ns, expires_ns, revoked_ns,"
    " throttle_limit, throttle_period_ns, holds from api_key",
    LIMIT_CHANGES,
)
"""What `stored_state` is made of, to be read in one transaction."""


def stored_state(
    heads: list[tuple[Any, ...]],
    configs: list[tuple[Any, ...]],
    agents: list[tuple[Any, ...]],
    keys: list[tuple[Any, ...]],
    limit_changes: list[tuple[Any, ...]],
) -> StoredState:
    """Everything that deciding needs, from the rows of `STATE_QUERIES`."""
    config, canary = configurations_in_force(configs)
    return StoredState(
        config=config,
        canary=canary,
        tenants={
            tenant: TenantState(
                tenant=tenant,
                epoch=epoch,
                agents=tuple(agent_row(document) for owner, document in agents if owner == tenant),
                keys=tuple(key_row(row[1:]) for row in keys if row[0] == tenant),
                limit_changes=tuple(limit_change(row) for row in limit_changes if row[0] == tenant),
            )
            for tenant, epoch in heads
        },
    )
