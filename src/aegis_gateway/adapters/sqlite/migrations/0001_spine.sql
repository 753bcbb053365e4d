-- The spine: tenants, registry, ledger, record.
-- Amounts are integers in a quantity's smallest unit (nano-USD for money), instants are nanoseconds since 1970.

create table tenant_head (
    tenant        text    primary key,
    next_sequence integer not null default 1,
    epoch         integer not null default 1,
    last_ns       integer not null default 0
) strict, without rowid;

create table config_version (
    version    integer primary key,
    files      text    not null,
    applied_by text    not null,
    applied_ns integer not null
) strict;

create table agent (
    tenant      text not null references tenant_head (tenant),
    agent       text not null,
    external_id text,
    document    text not null,
    primary key (tenant, agent),
    unique (tenant, external_id)
) strict, without rowid;

create table api_key (
    key                text    primary key,
    tenant             text    not null references tenant_head (tenant),
    agent              text    not null,
    hash               blob    not null unique,
    hint               text    not null,
    issued_ns          integer not null,
    expires_ns         integer,
    revoked_ns         integer,
    throttle_limit     integer,
    throttle_period_ns integer
) strict, without rowid;

create table standing (
    tenant    text    not null references tenant_head (tenant),
    budget    text    not null,
    scope     text    not null,
    "window"  text    not null,
    quantity  text    not null,
    starts_ns integer not null,
    ends_ns   integer not null,
    pending   integer not null check (pending >= 0),
    posted    integer not null,
    primary key (tenant, budget, scope, "window")
) strict, without rowid;

create table rate_arrival (
    tenant     text    not null references tenant_head (tenant),
    rate       text    not null,
    scope      text    not null,
    arrival_ns integer not null,
    primary key (tenant, rate, scope)
) strict, without rowid;

create table boot (
    boot       text    primary key,
    started_ns integer not null
) strict, without rowid;

create table call (
    call              text    primary key,
    tenant            text    not null references tenant_head (tenant),
    state             text    not null check (state in
        ('refused', 'reserved', 'dispatched', 'in_doubt', 'settled', 'released', 'expired')),
    effect            text    not null,
    reason_code       text    not null,
    reason            text    not null,
    agent             text    not null,
    team              text    not null,
    project           text,
    cost_centre       text    not null,
    environment       text    not null,
    connector         text    not null,
    tool              text    not null,
    model             text,
    api_key           text    not null,
    run               text,
    parent            text,
    policy_version    text    not null,
    config_version    integer not null,
    expected_nano_usd integer,
    maximum_nano_usd  integer,
    cost_nano_usd     integer,
    overrun           integer not null,
    legs              text    not null,
    salt              blob,
    boot              text    not null,
    decided_ns        integer not null,
    expires_ns        integer,
    settled_ns        integer,
    sequence          integer not null
) strict, without rowid;

create index call_open on call (state, tenant) where state in ('reserved', 'dispatched', 'in_doubt');
create index call_by_time on call (tenant, decided_ns);

create table charge_line (
    tenant              text    not null,
    call                text    not null references call (call),
    line                integer not null,
    kind                text    not null,
    quantity            integer not null,
    unit                text    not null,
    unit_price_nano_usd integer not null,
    per                 integer not null,
    price_version       text    not null,
    nano_usd            integer not null,
    primary key (call, line)
) strict, without rowid;

create table entry (
    tenant   text    not null references tenant_head (tenant),
    sequence integer not null,
    call     text,
    type     text    not null,
    at_ns    integer not null,
    body     blob    not null check (length(body) <= 65535),
    primary key (tenant, sequence)
) strict;

create index entry_by_call on entry (call) where call is not null;

create trigger entry_is_append_only_u before update on entry
begin select raise(abort, 'entries are append-only'); end;
create trigger entry_is_append_only_d before delete on entry
begin select raise(abort, 'entries are append-only'); end;
create trigger charge_line_is_append_only_u before update on charge_line
begin select raise(abort, 'charge lines are append-only'); end;
create trigger charge_line_is_append_only_d before delete on charge_line
begin select raise(abort, 'charge lines are append-only'); end;
