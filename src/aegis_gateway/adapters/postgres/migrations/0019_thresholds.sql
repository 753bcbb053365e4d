-- How many thresholds of a balance are passed, so that those are found where some are; and what somebody has to look at.

alter table standing add column passed bigint;

create index standing_with_thresholds_passed on standing (tenant, ends_ns) where passed is not null;

create table incident (
    tenant    text collate "C" not null references tenant_head (tenant),
    id        text collate "C" not null,
    kind      text collate "C" not null,
    subject   text collate "C" not null,
    severity  text collate "C" not null,
    opened_ns bigint not null,
    facts     text not null,
    closed_ns bigint,
    primary key (tenant, id)
);

create index incident_open on incident (tenant, opened_ns) where closed_ns is null;
