-- What tells a call's request from others, where its answer could be used again; when each was settled last on each day
-- (UTC, counted since 1970), as long as that matters; and what repeats of them came to, in nano-USD.

alter table call add column request integer;

create table request_settled (
    day        integer not null,
    tenant     text    not null references tenant_head (tenant),
    request    integer not null,
    settled_ns integer not null,
    primary key (day, tenant, request)
) strict, without rowid;

alter table usage_sum add column repeats integer not null default 0;
alter table usage_sum add column repeated integer not null default 0;
