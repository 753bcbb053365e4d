-- Messages to channels and what became of each; the periods that a digest was made of; what Slack has sent; who is away.

create table delivery (
    delivery  text    primary key,
    tenant    text    not null references tenant_head (tenant),
    sequence  integer not null,
    kind      text    not null,
    subject   text    not null,
    channel   text    not null,
    recipient text    not null,
    message   text    not null,
    made_ns   integer not null,
    state     text    not null,
    tries     integer not null,
    next_ns   integer not null,
    lease_ns  integer not null,
    fault     text    not null,
    reference text    not null,
    sent_ns   integer
) strict, without rowid;

create index delivery_waiting on delivery (next_ns, tenant, channel) where state = 'waiting';
create index delivery_by_subject on delivery (tenant, subject, channel, recipient, sequence);
create index delivery_by_time on delivery (made_ns);

create table digest (
    tenant    text    not null references tenant_head (tenant),
    digest    text    not null,
    starts_ns integer not null,
    made_ns   integer not null,
    primary key (tenant, digest, starts_ns)
) strict, without rowid;

create table interaction (
    interaction text    primary key,
    at_ns       integer not null
) strict, without rowid;

create table absence (
    number      integer primary key,
    person      text    not null,
    from_ns     integer not null,
    until_ns    integer not null,
    deputy      text,
    recorded_ns integer not null,
    recorded_by text    not null
) strict;

create trigger digest_is_append_only_u before update on digest
begin select raise(abort, 'digests are append-only'); end;
create trigger digest_is_append_only_d before delete on digest
begin select raise(abort, 'digests are append-only'); end;
create trigger absence_is_append_only_u before update on absence
begin select raise(abort, 'absences are append-only'); end;
create trigger absence_is_append_only_d before delete on absence
begin select raise(abort, 'absences are append-only'); end;
