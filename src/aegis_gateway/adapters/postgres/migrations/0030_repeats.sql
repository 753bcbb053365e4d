-- What tells a call's request from others, where its answer could be used again; when each was settled last on each day
-- (UTC, counted since 1970), as long as that matters; and what repeats of them came to, in nano-USD.

alter table call add column request bigint;

create table request_settled (
    day        bigint not null,
    tenant     text collate "C" not null references tenant_head (tenant),
    request    bigint not null,
    settled_ns bigint not null,
    primary key (day, tenant, request)
);

alter table usage_sum add column repeats bigint not null default 0;
alter table usage_sum add column repeated bigint not null default 0;
