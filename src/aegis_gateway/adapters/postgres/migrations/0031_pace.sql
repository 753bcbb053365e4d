-- What gateways measured in the last minutes: durations and failures of each tenant's calls, as counts that are added up.
-- Written by each ledger process every few seconds, where there is something to tell; what is old goes.

create table pace (
    tenant text   collate "C" not null,
    at_ns  bigint not null,
    boot   text   collate "C" not null,
    counts bytea  not null,
    primary key (tenant, at_ns, boot)
);

create index pace_by_time on pace (at_ns);
