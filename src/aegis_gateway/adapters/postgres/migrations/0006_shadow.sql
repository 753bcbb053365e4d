-- What rules in shadow would have changed about calls, read by stretches of time.

create table shadow_finding (
    tenant     text    collate "C" not null references tenant_head (tenant),
    decided_ns bigint not null,
    rule       text    collate "C" not null,
    call       text    collate "C" not null,
    would      text    collate "C" not null,
    primary key (tenant, decided_ns, rule, call, would)
);
