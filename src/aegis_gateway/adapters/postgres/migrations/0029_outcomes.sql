-- What agents report became of their runs, each with what its tree has cost; and that added up by hour and by day (UTC) of
-- when the trees were begun. Money in nano-USD.

create table outcome (
    tenant         text   collate "C" not null references tenant_head (tenant),
    run            text   collate "C" not null,
    agent          text   collate "C" not null,
    team           text   collate "C" not null,
    project        text   collate "C" not null,
    cost_centre    text   collate "C" not null,
    environment    text   collate "C" not null,
    is_counted     bigint not null,
    is_begun       bigint not null,
    began_ns       bigint not null,
    told_ns        bigint not null,
    changes        bigint not null,
    cost           bigint not null,
    result         text   collate "C" not null,
    name           text   collate "C" not null,
    note           text   collate "C" not null,
    value_nano_usd bigint,
    transactions   bigint,
    names          text   collate "C" not null,
    primary key (tenant, run)
);

create index outcome_by_result on outcome (tenant, result, began_ns) where is_counted = 1;

create table outcome_sum (
    tenant       text   collate "C" not null references tenant_head (tenant),
    span         text   collate "C" not null,
    start_ns     bigint not null,
    agent        text   collate "C" not null,
    team         text   collate "C" not null,
    project      text   collate "C" not null,
    cost_centre  text   collate "C" not null,
    environment  text   collate "C" not null,
    result       text   collate "C" not null,
    trees        bigint not null,
    begun        bigint not null,
    transactions bigint not null,
    cost         bigint not null,
    claimed      bigint not null,
    primary key (tenant, span, start_ns, agent, team, project, cost_centre, environment, result)
);
