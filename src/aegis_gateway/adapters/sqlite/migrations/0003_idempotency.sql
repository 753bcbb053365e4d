-- Calls that their callers named, so that the same call is made once, and what was answered.

create table named_call (
    tenant     text    not null references tenant_head (tenant),
    agent      text    not null,
    name       text    not null,
    call       text    not null,
    request    blob    not null,
    expires_ns integer not null,
    is_closed  integer not null,
    answer     blob,
    primary key (tenant, agent, name)
) strict;

create index named_call_by_expiry on named_call (expires_ns);
