-- What was called and spent, added up by hour and by day (UTC) of the decision, for each agent, thing and outcome; what
-- pages, figures and exports are read from; and what rules in shadow would have done. Money in nano-USD.

create table usage_sum (
    tenant        text    not null references tenant_head (tenant),
    span          text    not null,
    start_ns      integer not null,
    agent         text    not null,
    team          text    not null,
    project       text    not null,
    cost_centre   text    not null,
    environment   text    not null,
    connector     text    not null,
    tool          text    not null,
    model         text    not null,
    effect        text    not null,
    code          text    not null,
    rule          text    not null,
    calls         integer not null,
    transactions  integer not null,
    settled_calls integer not null,
    overruns      integer not null,
    unpriced      integer not null,
    cost          integer not null,
    expected      integer not null,
    saved         integer not null,
    tokens        integer not null,
    output_tokens integer not null,
    primary key (tenant, span, start_ns, agent, team, project, cost_centre, environment, connector, tool, model, effect,
                 code, rule)
) strict, without rowid;

create table shadow_sum (
    tenant   text    not null references tenant_head (tenant),
    span     text    not null,
    start_ns integer not null,
    agent    text    not null,
    team     text    not null,
    rule     text    not null,
    would    text    not null,
    calls    integer not null,
    maximum  integer not null,
    primary key (tenant, span, start_ns, agent, team, rule, would)
) strict, without rowid;
