-- Calls that their callers named, so that the same call is made once, and what was answered.

create table named_call (
    tenant     text    collate "C" not null references tenant_head (tenant),
    agent      text    collate "C" not null,
    name       text    collate "C" not null,
    call       text    collate "C" not null,
    request    bytea   not null,
    expires_ns bigint  not null,
    is_closed  bigint  not null,
    answer     bytea,
    primary key (tenant, agent, name)
);

create index named_call_by_expiry on named_call (expires_ns);
