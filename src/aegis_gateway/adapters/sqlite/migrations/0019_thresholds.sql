-- How many thresholds of a balance are passed, so that those are found where some are; and what somebody has to look at.

alter table standing add column passed integer;

create index standing_with_thresholds_passed on standing (tenant, ends_ns) where passed is not null;

create table incident (
    tenant    text not null references tenant_head (tenant),
    id        text not null,
    kind      text not null,
    subject   text not null,
    severity  text not null,
    opened_ns integer not null,
    facts     text not null,
    closed_ns integer,
    primary key (tenant, id)
) strict, without rowid;

create index incident_open on incident (tenant, opened_ns) where closed_ns is null;
