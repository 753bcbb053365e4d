-- What agents report became of their runs, each with what its tree has cost; and that added up by hour and by day (UTC) of
-- when the trees were begun. Money in nano-USD.

create table outcome (
    tenant         text    not null references tenant_head (tenant),
    run            text    not null,
    agent          text    not null,
    team           text    not null,
    project        text    not null,
    cost_centre    text    not null,
    environment    text    not null,
    is_counted     integer not null,
    is_begun       integer not null,
    began_ns       integer not null,
    told_ns        integer not null,
    changes        integer not null,
    cost           integer not null,
    result         text    not null,
    name           text    not null,
    note           text    not null,
    value_nano_usd integer,
    transactions   integer,
    names          text    not null,
    primary key (tenant, run)
) strict, without rowid;

create index outcome_by_result on outcome (tenant, result, began_ns) where is_counted = 1;

create table outcome_sum (
    tenant       text    not null references tenant_head (tenant),
    span         text    not null,
    start_ns     integer not null,
    agent        text    not null,
    team         text    not null,
    project      text    not null,
    cost_centre  text    not null,
    environment  text    not null,
    result       text    not null,
    trees        integer not null,
    begun        integer not null,
    transactions integer not null,
    cost         integer not null,
    claimed      integer not null,
    primary key (tenant, span, start_ns, agent, team, project, cost_centre, environment, result)
) strict, without rowid;
