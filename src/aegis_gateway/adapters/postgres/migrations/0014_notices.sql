-- What is kept of a window beside its sums; and what people are to hear of, until it is passed on to whom it concerns.

alter table standing add column notes text collate "C";

create table notice (
    tenant    text collate "C" not null references tenant_head (tenant),
    sequence  bigint           not null,
    kind      text collate "C" not null,
    subject   text collate "C" not null,
    at_ns     bigint           not null,
    body      text             not null,
    passed_ns bigint,
    primary key (tenant, sequence, kind)
);

create index notice_to_pass_on on notice (at_ns) where passed_ns is null;
