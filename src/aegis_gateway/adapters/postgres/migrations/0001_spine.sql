-- The spine: tenants, registry, ledger, record. Table by table and column by column as in SQLite.
-- Amounts are integers in a quantity's smallest unit (nano-USD for money), instants are nanoseconds since 1970.
-- Texts that are compared are collated "C": ids have one order everywhere, whatever the server's locale.

create table tenant_head (
    tenant        text   collate "C" primary key,
    next_sequence bigint not null default 1,
    epoch         bigint not null default 1,
    last_ns       bigint not null default 0
);

create table config_version (
    version    bigint primary key,
    files      text   not null,
    applied_by text   not null,
    applied_ns bigint not null
);

create table agent (
    tenant      text collate "C" not null references tenant_head (tenant),
    agent       text collate "C" not null,
    external_id text collate "C",
    document    text not null,
    primary key (tenant, agent),
    unique (tenant, external_id)
);

create table api_key (
    key                text   collate "C" primary key,
    tenant             text   collate "C" not null references tenant_head (tenant),
    agent              text   collate "C" not null,
    hash               bytea  not null unique,
    hint               text   not null,
    issued_ns          bigint not null,
    expires_ns         bigint,
    revoked_ns         bigint,
    throttle_limit     bigint,
    throttle_period_ns bigint
);

create table standing (
    tenant    text   collate "C" not null references tenant_head (tenant),
    budget    text   collate "C" not null,
    scope     text   collate "C" not null,
    "window"  text   collate "C" not null,
    quantity  text   collate "C" not null,
    starts_ns bigint not null,
    ends_ns   bigint not null,
    pending   bigint not null check (pending >= 0),
    posted    bigint not null,
    primary key (tenant, budget, scope, "window")
) with (fillfactor = 50);

create table rate_arrival (
    tenant     text   collate "C" not null references tenant_head (tenant),
    rate       text   collate "C" not null,
    scope      text   collate "C" not null,
    arrival_ns bigint not null,
    primary key (tenant, rate, scope)
) with (fillfactor = 50);

create table boot (
    boot       text   collate "C" primary key,
    started_ns bigint not null
);

create table call (
    call              text     collate "C" primary key,
    tenant            text     collate "C" not null references tenant_head (tenant),
    state             text     collate "C" not null check (state in
        ('refused', 'reserved', 'dispatched', 'in_doubt', 'settled', 'released', 'expired')),
    effect            text     collate "C" not null,
    reason_code       text     collate "C" not null,
    reason            text     not null,
    agent             text     collate "C" not null,
    team              text     collate "C" not null,
    project           text     collate "C",
    cost_centre       text     collate "C" not null,
    environment       text     collate "C" not null,
    connector         text     collate "C" not null,
    tool              text     collate "C" not null,
    model             text     collate "C",
    api_key           text     collate "C" not null,
    run               text     collate "C",
    parent            text     collate "C",
    policy_version    text     collate "C" not null,
    config_version    bigint   not null,
    expected_nano_usd bigint,
    maximum_nano_usd  bigint,
    cost_nano_usd     bigint,
    overrun           smallint not null,
    legs              text     not null,
    salt              bytea,
    boot              text     collate "C" not null,
    decided_ns        bigint   not null,
    expires_ns        bigint,
    settled_ns        bigint,
    sequence          bigint   not null
);

create index call_open on call (state, tenant) where state in ('reserved', 'dispatched', 'in_doubt');
create index call_by_time on call (tenant, decided_ns);

create table charge_line (
    tenant              text   collate "C" not null,
    call                text   collate "C" not null references call (call),
    line                bigint not null,
    kind                text   collate "C" not null,
    quantity            bigint not null,
    unit                text   collate "C" not null,
    unit_price_nano_usd bigint not null,
    per                 bigint not null,
    price_version       text   collate "C" not null,
    nano_usd            bigint not null,
    primary key (call, line)
);

create table entry (
    tenant   text   collate "C" not null references tenant_head (tenant),
    sequence bigint not null,
    call     text   collate "C",
    type     text   collate "C" not null,
    at_ns    bigint not null,
    body     bytea  not null check (length(body) <= 65535),
    primary key (tenant, sequence)
);

create index entry_by_call on entry (call) where call is not null;

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name;
end
$$;

-- One trigger for all three: `truncate` has no rows to be asked about. `always`: also for a replication role.
create trigger entry_is_append_only before update or delete or truncate on entry
    for each statement execute function refuse_change();
create trigger charge_line_is_append_only before update or delete or truncate on charge_line
    for each statement execute function refuse_change();
alter table entry enable always trigger entry_is_append_only;
alter table charge_line enable always trigger charge_line_is_append_only;
