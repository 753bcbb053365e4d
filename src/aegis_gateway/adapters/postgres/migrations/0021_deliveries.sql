-- Messages to channels and what became of each; the periods that a digest was made of; what Slack has sent; who is away.

create table delivery (
    delivery  text collate "C" primary key,
    tenant    text collate "C" not null references tenant_head (tenant),
    sequence  bigint           not null,
    kind      text collate "C" not null,
    subject   text collate "C" not null,
    channel   text collate "C" not null,
    recipient text collate "C" not null,
    message   text             not null,
    made_ns   bigint           not null,
    state     text collate "C" not null,
    tries     bigint           not null,
    next_ns   bigint           not null,
    lease_ns  bigint           not null,
    fault     text             not null,
    reference text             not null,
    sent_ns   bigint
);

create index delivery_waiting on delivery (next_ns, tenant, channel) where state = 'waiting';
create index delivery_by_subject on delivery (tenant, subject, channel, recipient, sequence);
create index delivery_by_time on delivery (made_ns);

create table digest (
    tenant    text collate "C" not null references tenant_head (tenant),
    digest    text collate "C" not null,
    starts_ns bigint           not null,
    made_ns   bigint           not null,
    primary key (tenant, digest, starts_ns)
);

create table interaction (
    interaction text collate "C" primary key,
    at_ns       bigint           not null
);

create table absence (
    number      bigint           primary key,
    person      text collate "C" not null,
    from_ns     bigint           not null,
    until_ns    bigint           not null,
    deputy      text collate "C",
    recorded_ns bigint           not null,
    recorded_by text             not null
);

create trigger digest_is_append_only before update or delete or truncate on digest
    for each statement execute function refuse_change();
create trigger absence_is_append_only before update or delete or truncate on absence
    for each statement execute function refuse_change();
alter table digest enable always trigger digest_is_append_only;
alter table absence enable always trigger absence_is_append_only;
