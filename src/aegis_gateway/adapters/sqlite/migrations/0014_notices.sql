-- What is kept of a window beside its sums; and what people are to hear of, until it is passed on to whom it concerns.

alter table standing add column notes text;

create table notice (
    tenant    text    not null references tenant_head (tenant),
    sequence  integer not null,
    kind      text    not null,
    subject   text    not null,
    at_ns     integer not null,
    body      text    not null,
    passed_ns integer,
    primary key (tenant, sequence, kind)
) strict, without rowid;

create index notice_to_pass_on on notice (at_ns) where passed_ns is null;
