-- Which rule decided a call (the permit that let it through, or what refused it), and what rules did, added up by hour and
-- by day (UTC) of the decision. For those who look into the record: entries that are not about calls, by kind.

alter table call add column rule text;

create index call_by_rule on call (tenant, rule, decided_ns) where rule is not null;

create table rule_sum (
    tenant   text    not null references tenant_head (tenant),
    span     text    not null,
    start_ns integer not null,
    rule     text    not null,
    did      text    not null,
    calls    integer not null,
    expected integer not null,
    cost     integer not null,
    primary key (tenant, span, start_ns, rule, did)
) strict, without rowid;

create index entry_by_kind on entry (tenant, type, sequence)
 where type not in ('decision', 'dispatch', 'settlement', 'release', 'expire', 'doubt');
