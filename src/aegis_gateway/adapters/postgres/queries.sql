-- Batches travel as one JSON text each: measured against `unnest` and `executemany` (64 decisions with their
-- entries), that costs the client a third as much, and the server no more.

-- name: begin
-- Whatever the role's default is: each statement must see what was committed before the lock was won.
begin isolation level read committed;

-- name: lock_heads
-- The heads of some tenants, locked in order of id, so that two gateways never wait for each other.
select tenant, next_sequence, epoch, last_ns from tenant_head where tenant = any(%s)
 order by tenant collate "C" for update;

-- name: clock
-- The clock. A statement of its own after the lock: within it, it would be read before the lock was won.
select (extract(epoch from clock_timestamp()) * 1000000000)::bigint;

-- name: calls
-- Calls by id (a JSON array), looked up id by id: a join could be planned as a scan while the table is small.
select found.*
  from json_array_elements_text(%s::json) as wanted
 cross join lateral (
    select call, tenant, state, effect, reason_code, reason, agent, team, project, cost_centre, environment,
           connector, tool, model, api_key, run, parent, policy_version, config_version, expected_nano_usd,
           maximum_nano_usd, cost_nano_usd, overrun, legs, salt, boot, decided_ns, expires_ns, settled_ns, sequence,
           customer, name, rule, traceparent, request
      from call where call.call = wanted offset 0
 ) as found;

-- name: standings
-- Balances by key, looked up in the same way.
select tenant, budget, scope, "window", found.pending, found.posted, found.buckets, found.notes
  from json_populate_recordset(null::standing, %s::json) as key
 cross join lateral (
    select standing.pending, standing.posted, standing.buckets, standing.notes from standing
     where standing.tenant = key.tenant and standing.budget = key.budget and standing.scope = key.scope
       and standing."window" = key."window" offset 0
 ) as found;

-- name: used
-- Budgets that have any balance, looked up in the same way.
select tenant, budget, scope
  from json_populate_recordset(null::standing, %s::json) as key
 where exists (
    select from standing
     where standing.tenant = key.tenant and standing.budget = key.budget and standing.scope = key.scope
 );

-- name: arrivals
-- Which turns of rates are free, by key, looked up in the same way.
select tenant, rate, scope, found.arrival_ns, found.free
  from json_populate_recordset(null::rate_arrival, %s::json) as key
 cross join lateral (
    select rate_arrival.arrival_ns, rate_arrival.free from rate_arrival
     where rate_arrival.tenant = key.tenant and rate_arrival.rate = key.rate and rate_arrival.scope = key.scope
    offset 0
 ) as found;

-- name: write_head
-- The next place and the clock; the epoch is changed only by what changes the registry.
update tenant_head set next_sequence = %s, last_ns = %s where tenant = %s;

-- name: write_calls
-- Decisions.
insert into call select * from json_populate_recordset(null::call, %s::json);

-- name: write_moves
-- Calls' new states: found id by id (see `calls`), then changed by their place.
update call
   set state = new.state, cost_nano_usd = new.cost_nano_usd, overrun = new.overrun, settled_ns = new.settled_ns
  from (
    select move.state, move.cost_nano_usd, move.overrun, move.settled_ns, found.ctid as place
      from json_populate_recordset(null::call, %s::json) as move
     cross join lateral (select call.ctid from call where call.call = move.call offset 0) as found
  ) as new
 where call.ctid = new.place;

-- name: write_charges
-- Lines of bills.
insert into charge_line select * from json_populate_recordset(null::charge_line, %s::json);

-- name: write_entries
-- Entries of the record.
insert into entry select * from json_populate_recordset(null::entry, %s::json);

-- name: write_standings
-- Balances; whoever opens a window fixes its bounds once.
insert into standing select * from json_populate_recordset(null::standing, %s::json)
on conflict (tenant, budget, scope, "window") do update
   set pending = excluded.pending, posted = excluded.posted, buckets = excluded.buckets,
       notes = excluded.notes, passed = excluded.passed;

-- name: write_hours
-- What is spent more of budgets in hours; the sums hold 64 bits.
insert into budget_hour select * from json_populate_recordset(null::budget_hour, %s::json)
on conflict (tenant, budget, scope, hour) do update
   set amount = excluded.amount + least(budget_hour.amount, 9223372036854775807 - excluded.amount);

-- name: write_usage
-- What was called and spent more; sums hold 64 bits.
insert into usage_sum select * from json_populate_recordset(null::usage_sum, %s::json)
on conflict (tenant, span, start_ns, agent, team, project, cost_centre, environment, connector, tool, model, effect, code,
             rule) do update
   set calls = excluded.calls + least(usage_sum.calls, 9223372036854775807 - excluded.calls),
       transactions = excluded.transactions + least(usage_sum.transactions, 9223372036854775807 - excluded.transactions),
       settled_calls = excluded.settled_calls + least(usage_sum.settled_calls, 9223372036854775807 - excluded.settled_calls),
       overruns = excluded.overruns + least(usage_sum.overruns, 9223372036854775807 - excluded.overruns),
       unpriced = excluded.unpriced + least(usage_sum.unpriced, 9223372036854775807 - excluded.unpriced),
       cost = excluded.cost + least(usage_sum.cost, 9223372036854775807 - excluded.cost),
       expected = excluded.expected + least(usage_sum.expected, 9223372036854775807 - excluded.expected),
       saved = excluded.saved + least(usage_sum.saved, 9223372036854775807 - excluded.saved),
       tokens = excluded.tokens + least(usage_sum.tokens, 9223372036854775807 - excluded.tokens),
       output_tokens = excluded.output_tokens + least(usage_sum.output_tokens, 9223372036854775807 - excluded.output_tokens),
       repeats = excluded.repeats + least(usage_sum.repeats, 9223372036854775807 - excluded.repeats),
       repeated = excluded.repeated + least(usage_sum.repeated, 9223372036854775807 - excluded.repeated);

-- name: write_shadow_sums
-- What rules in shadow would have done more.
insert into shadow_sum select * from json_populate_recordset(null::shadow_sum, %s::json)
on conflict (tenant, span, start_ns, agent, team, rule, would) do update
   set calls = excluded.calls + least(shadow_sum.calls, 9223372036854775807 - excluded.calls),
       maximum = excluded.maximum + least(shadow_sum.maximum, 9223372036854775807 - excluded.maximum);

-- name: write_rule_sums
-- What rules did more.
insert into rule_sum select * from json_populate_recordset(null::rule_sum, %s::json)
on conflict (tenant, span, start_ns, rule, did) do update
   set calls = excluded.calls + least(rule_sum.calls, 9223372036854775807 - excluded.calls),
       expected = excluded.expected + least(rule_sum.expected, 9223372036854775807 - excluded.expected),
       cost = excluded.cost + least(rule_sum.cost, 9223372036854775807 - excluded.cost);

-- name: write_arrivals
-- Which turns of rates are free.
insert into rate_arrival select * from json_populate_recordset(null::rate_arrival, %s::json)
on conflict (tenant, rate, scope) do update set arrival_ns = excluded.arrival_ns, free = excluded.free;

-- name: write_shadows
-- What rules in shadow would have changed.
insert into shadow_finding select * from json_populate_recordset(null::shadow_finding, %s::json);

-- name: write_notices
-- What people are to hear of, until it is passed on.
insert into notice (tenant, sequence, kind, subject, at_ns, body)
select tenant, sequence, kind, subject, at_ns, body from json_populate_recordset(null::notice, %s::json);

-- name: write_incidents
-- What somebody has to look at.
insert into incident select * from json_populate_recordset(null::incident, %s::json);

-- name: expired
-- Reserved calls whose time has passed.
select tenant, call from call where state = 'reserved' and expires_ns <= %s limit %s;

-- name: orphans
-- Dispatched calls whose keeper is gone. A keeper's session holds an advisory lock on the number in its boot's
-- name; the server gives the lock up when the session ends, however it ended, and no clock is asked.
with kept as materialized (
    select 'boot_' || lpad(to_hex(classid::bigint), 8, '0') || lpad(to_hex(objid::bigint), 8, '0') as boot
      from pg_locks
     where locktype = 'advisory' and objsubid = 1
       and database = (select oid from pg_database where datname = current_database())
)
select tenant, call from call where state = 'dispatched' and boot not in (select boot from kept) limit %s;

-- name: named_calls
-- What is known of calls by their callers' names for them, but for the answers; looked up like balances.
select tenant, agent, name, found.call, found.request, found.expires_ns, found.is_closed
  from json_populate_recordset(null::named_call, %s::json) as key
 cross join lateral (
    select named_call.call, named_call.request, named_call.expires_ns, named_call.is_closed
      from named_call
     where named_call.tenant = key.tenant and named_call.agent = key.agent and named_call.name = key.name offset 0
 ) as found;

-- name: write_named_calls
-- Calls' names, or what became of them.
insert into named_call select * from json_populate_recordset(null::named_call, %s::json)
on conflict (tenant, agent, name) do update
   set call = excluded.call, request = excluded.request, expires_ns = excluded.expires_ns,
       is_closed = excluded.is_closed, answer = excluded.answer;

-- name: forget_named_call
-- A name that is free again: nothing was done under it.
delete from named_call where tenant = %s and agent = %s and name = %s;

-- name: forget_old_answers
-- Answers whose time has passed; the names stay.
update named_call set answer = null
 where ctid = any(array(
    select ctid from named_call where answer is not null and expires_ns <= %s limit %s for update skip locked
 ));

-- name: runs
-- Runs by number, looked up like balances.
select found.*
  from json_populate_recordset(null::run, %s::json) as key
 cross join lateral (
    select tenant, number, run, agent, owner, root, above, is_kept, opened_ns, open_until_ns, forget_ns, ended_ns
      from run where run.tenant = key.tenant and run.number = key.number offset 0
 ) as found;

-- name: open_runs
-- The runs that count for an owner. `ended_ns is null` is the index's own condition.
select number from run where tenant = %s and owner = %s and ended_ns is null and open_until_ns > %s limit %s;

-- name: runs_below
-- What was delegated in some runs, and is not ended. `ended_ns is null` is the index's own condition.
select tenant, number, run, agent, owner, root, above, is_kept, opened_ns, open_until_ns, forget_ns, ended_ns
  from run where tenant = %s and above = any(%s) and ended_ns is null;

-- name: write_runs
-- Runs, opened, called or ended.
insert into run select * from json_populate_recordset(null::run, %s::json)
on conflict (tenant, number) do update
   set owner = excluded.owner, open_until_ns = excluded.open_until_ns, forget_ns = excluded.forget_ns,
       ended_ns = excluded.ended_ns;

-- name: forget_old_runs
-- Runs that nobody can name any more, or that a call would open anew.
delete from run
 where ctid = any(array(select ctid from run where forget_ns <= %s limit %s for update skip locked));

-- name: outcomes
-- What was reported of runs, looked up like balances.
select found.*
  from json_populate_recordset(null::outcome, %s::json) as key
 cross join lateral (
    select tenant, run, agent, team, project, cost_centre, environment, is_counted, is_begun, began_ns, told_ns, changes, cost,
           result, name, note, value_nano_usd, transactions, names
      from outcome where outcome.tenant = key.tenant and outcome.run = key.run offset 0
 ) as found;

-- name: first_call_of_run
-- A run's first call, by the index on the number that its id begins with.
select agent, team, project, cost_centre, environment, effect, decided_ns
  from call where tenant = %s and run is not null and substr(run, 1, 24) = %s order by sequence + 0 limit 1;

-- name: cost_of_tree
-- What is settled in a run and in what was delegated in its tree; in two parts, as on SQLite.
select sum(found.cost_nano_usd >> 32), sum(found.cost_nano_usd & 4294967295)
  from (select %s::text as number union select number from run where tenant = %s and root = %s) as part
 cross join lateral (
    select cost_nano_usd from call
     where call.tenant = %s and call.run is not null and substr(call.run, 1, 24) = 'run_' || part.number
       and cost_nano_usd is not null offset 0
 ) as found;

-- name: write_outcomes
-- What was reported of runs; of those that were reported on before, what is said anew. What they cost is the store's.
insert into outcome select * from json_populate_recordset(null::outcome, %s::json)
on conflict (tenant, run) do update
   set told_ns = excluded.told_ns, changes = excluded.changes, result = excluded.result, name = excluded.name,
       note = excluded.note, value_nano_usd = excluded.value_nano_usd, transactions = excluded.transactions,
       names = excluded.names;

-- name: write_outcome_sums
-- What was reported more, or less where it is replaced; sums hold 63 bits.
insert into outcome_sum select * from json_populate_recordset(null::outcome_sum, %s::json)
on conflict (tenant, span, start_ns, agent, team, project, cost_centre, environment, result) do update
   set trees = greatest(0, excluded.trees + least(outcome_sum.trees, 9223372036854775807 - greatest(excluded.trees, 0))),
       begun = greatest(0, excluded.begun + least(outcome_sum.begun, 9223372036854775807 - greatest(excluded.begun, 0))),
       transactions = greatest(0, excluded.transactions + least(outcome_sum.transactions, 9223372036854775807 - greatest(excluded.transactions, 0))),
       cost = greatest(0, excluded.cost + least(outcome_sum.cost, 9223372036854775807 - greatest(excluded.cost, 0))),
       claimed = greatest(0, excluded.claimed + least(outcome_sum.claimed, 9223372036854775807 - greatest(excluded.claimed, 0)));

-- name: add_to_outcomes
-- What was settled in trees, to those that were reported on (found one by one, see `calls`), and to the sums of the hours
-- and days in which they were begun.
with late as materialized (
    select cost.tenant, cost.run, cost.cost, found.place
      from json_to_recordset(%s::json) as cost(tenant text, run text, cost bigint)
     cross join lateral (
        select outcome.ctid as place from outcome
         where outcome.tenant = cost.tenant and outcome.run = cost.run and outcome.is_counted <> 0 offset 0
     ) as found
), told as (
    update outcome set cost = late.cost + least(outcome.cost, 9223372036854775807 - late.cost)
      from late where outcome.ctid = late.place
    returning outcome.tenant, began_ns, agent, team, project, cost_centre, environment, result, late.cost as more
)
insert into outcome_sum
select tenant, each.span, began_ns - began_ns %% each.length, agent, team, project, cost_centre, environment, result, 0, 0, 0,
       least(sum(more), 9223372036854775807)::bigint, 0
  from told cross join (values ('hour', 3600000000000), ('day', 86400000000000), ('fortnight', 1209600000000000)) as each(span, length)
 group by tenant, each.span, began_ns - began_ns %% each.length, agent, team, project, cost_centre, environment, result
on conflict (tenant, span, start_ns, agent, team, project, cost_centre, environment, result) do update
   set cost = excluded.cost + least(outcome_sum.cost, 9223372036854775807 - excluded.cost);

-- name: write_requests
-- Requests that were settled, and those that had been so within a day (today and the day before, UTC; found one by one, see
-- `calls`) in the sums of their calls, which are there since they were decided.
with asked as materialized (
    select * from json_to_recordset(%s::json) as each(
        tenant text, request bigint, settled_ns bigint, day bigint, decided_ns bigint, cost bigint, agent text, team text, project text, cost_centre text, environment text, connector text, tool text, model text, effect text, code text, rule text
    )
), again as materialized (
    select asked.* from asked
     where exists (
        select from request_settled as before
         where before.day in (asked.day, asked.day - 1) and before.tenant = asked.tenant
           and before.request = asked.request and before.settled_ns >= asked.settled_ns - %s
     )
), noted as (
    insert into request_settled select day, tenant, request, settled_ns from asked
    on conflict (day, tenant, request) do update
       set settled_ns = greatest(request_settled.settled_ns, excluded.settled_ns)
), more as (
    select tenant, each.span, decided_ns - decided_ns %% each.length as start_ns, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule,
           count(*) as repeats, least(sum(cost), 9223372036854775807)::bigint as repeated
      from again cross join (values ('hour', 3600000000000), ('day', 86400000000000), ('fortnight', 1209600000000000)) as each(span, length)
     group by tenant, each.span, decided_ns - decided_ns %% each.length, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule
)
update usage_sum
   set repeats = more.repeats + least(usage_sum.repeats, 9223372036854775807 - more.repeats),
       repeated = more.repeated + least(usage_sum.repeated, 9223372036854775807 - more.repeated)
  from more
 where usage_sum.tenant = more.tenant and usage_sum.span = more.span and usage_sum.start_ns = more.start_ns and usage_sum.agent = more.agent and usage_sum.team = more.team and usage_sum.project = more.project and usage_sum.cost_centre = more.cost_centre and usage_sum.environment = more.environment and usage_sum.connector = more.connector and usage_sum.tool = more.tool and usage_sum.model = more.model and usage_sum.effect = more.effect and usage_sum.code = more.code and usage_sum.rule = more.rule;

-- name: forget_old_requests
-- Requests of days that are over for more than a day.
delete from request_settled
 where ctid = any(array(select ctid from request_settled where day < %s limit %s for update skip locked));
