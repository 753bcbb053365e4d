-- What rules in shadow would have changed about calls, read by stretches of time.

create table shadow_finding (
    tenant     text not null references tenant_head (tenant),
    decided_ns integer not null,
    rule       text not null,
    call       text not null,
    would      text not null,
    primary key (tenant, decided_ns, rule, call, would)
) strict;
