-- What was called and spent, added up by hour and by day (UTC) of the decision, for each agent, thing and outcome; what
-- pages, figures and exports are read from; and what rules in shadow would have done. Money in nano-USD.

create table usage_sum (
    tenant        text   collate "C" not null references tenant_head (tenant),
    span          text   collate "C" not null,
    start_ns      bigint not null,
    agent         text   collate "C" not null,
    team          text   collate "C" not null,
    project       text   collate "C" not null,
    cost_centre   text   collate "C" not null,
    environment   text   collate "C" not null,
    connector     text   collate "C" not null,
    tool          text   collate "C" not null,
    model         text   collate "C" not null,
    effect        text   collate "C" not null,
    code          text   collate "C" not null,
    rule          text   collate "C" not null,
    calls         bigint not null,
    transactions  bigint not null,
    settled_calls bigint not null,
    overruns      bigint not null,
    unpriced      bigint not null,
    cost          bigint not null,
    expected      bigint not null,
    saved         bigint not null,
    tokens        bigint not null,
    output_tokens bigint not null,
    primary key (tenant, span, start_ns, agent, team, project, cost_centre, environment, connector, tool, model, effect,
                 code, rule)
) with (fillfactor = 50);

create table shadow_sum (
    tenant   text   collate "C" not null references tenant_head (tenant),
    span     text   collate "C" not null,
    start_ns bigint not null,
    agent    text   collate "C" not null,
    team     text   collate "C" not null,
    rule     text   collate "C" not null,
    would    text   collate "C" not null,
    calls    bigint not null,
    maximum  bigint not null,
    primary key (tenant, span, start_ns, agent, team, rule, would)
) with (fillfactor = 50);
