-- What is done to limits while a configuration is in force. No row is ever changed.

create table budget_change (
    tenant         text    not null references tenant_head (tenant),
    number         integer not null,
    budget         text    not null,
    kind           text    not null,
    amount         integer not null,
    unit           text    not null,
    configured     integer not null,
    limit_before   integer not null,
    limit_after    integer not null,
    starts_ns      integer not null,
    ends_ns        integer,
    at_ns          integer not null,
    sequence       integer not null,
    asked_by       text    not null,
    approver       text    not null,
    reason         text    not null,
    config_version integer not null,
    approval       text    not null,
    undoes         integer,
    primary key (tenant, number)
) strict, without rowid;

create index budget_change_of_budget on budget_change (tenant, budget, number);
create index budget_change_configured on budget_change (tenant, budget, number) where kind = 'configured';
create index budget_change_that_ends on budget_change (tenant, ends_ns) where ends_ns is not null;
create unique index budget_change_undone_once on budget_change (tenant, undoes) where undoes is not null;

create trigger budget_change_is_append_only_u before update on budget_change
begin select raise(abort, 'budget changes are append-only'); end;
create trigger budget_change_is_append_only_d before delete on budget_change
begin select raise(abort, 'budget changes are append-only'); end;
