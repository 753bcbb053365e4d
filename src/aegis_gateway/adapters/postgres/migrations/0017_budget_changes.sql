-- What is done to limits while a configuration is in force. No row is ever changed.

create table budget_change (
    tenant         text collate "C" not null references tenant_head (tenant),
    number         bigint           not null,
    budget         text collate "C" not null,
    kind           text collate "C" not null,
    amount         bigint           not null,
    unit           text collate "C" not null,
    configured     bigint           not null,
    limit_before   bigint           not null,
    limit_after    bigint           not null,
    starts_ns      bigint           not null,
    ends_ns        bigint,
    at_ns          bigint           not null,
    sequence       bigint           not null,
    asked_by       text             not null,
    approver       text             not null,
    reason         text             not null,
    config_version bigint           not null,
    approval       text             not null,
    undoes         bigint,
    primary key (tenant, number)
);

create index budget_change_of_budget on budget_change (tenant, budget, number);
create index budget_change_configured on budget_change (tenant, budget, number) where kind = 'configured';
create index budget_change_that_ends on budget_change (tenant, ends_ns) where ends_ns is not null;
create unique index budget_change_undone_once on budget_change (tenant, undoes) where undoes is not null;

create trigger budget_change_is_append_only before update or delete or truncate on budget_change
    for each statement execute function refuse_change();
alter table budget_change enable always trigger budget_change_is_append_only;
