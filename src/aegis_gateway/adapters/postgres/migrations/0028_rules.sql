-- Which rule decided a call (the permit that let it through, or what refused it), and what rules did, added up by hour and
-- by day (UTC) of the decision. For those who look into the record: entries that are not about calls, by kind; and the
-- place of some bytes in others, under the name that it has in SQLite.

alter table call add column rule text collate "C";

create index call_by_rule on call (tenant, rule, decided_ns) where rule is not null;

create table rule_sum (
    tenant   text   collate "C" not null references tenant_head (tenant),
    span     text   collate "C" not null,
    start_ns bigint not null,
    rule     text   collate "C" not null,
    did      text   collate "C" not null,
    calls    bigint not null,
    expected bigint not null,
    cost     bigint not null,
    primary key (tenant, span, start_ns, rule, did)
) with (fillfactor = 50);

create index entry_by_kind on entry (tenant, type, sequence)
 where type not in ('decision', 'dispatch', 'settlement', 'release', 'expire', 'doubt');

create function instr(whole bytea, part bytea) returns integer
    language sql immutable parallel safe as 'select position(part in whole)';
