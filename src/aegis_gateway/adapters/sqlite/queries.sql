-- name: lock_heads
-- The heads of some tenants (a JSON array). `begin immediate` has taken the write lock before.
select tenant, next_sequence, epoch, last_ns from tenant_head where tenant in (select value from json_each(?));

-- name: head
-- The head of one tenant: the usual batch has one, and this is the cheapest way to it.
select tenant, next_sequence, epoch, last_ns from tenant_head where tenant = ?;

-- name: call
-- One call by id.
select call, tenant, state, effect, reason_code, reason, agent, team, project, cost_centre, environment, connector,
       tool, model, api_key, run, parent, policy_version, config_version, expected_nano_usd, maximum_nano_usd,
       cost_nano_usd, overrun, legs, salt, boot, decided_ns, expires_ns, settled_ns, sequence, customer, name,
       rule, traceparent, request
  from call where call = ?;

-- name: standing
-- One balance.
select pending, posted, buckets, notes from standing where tenant = ? and budget = ? and scope = ? and "window" = ?;

-- name: used
-- Whether a budget has any balance. By the primary key's beginning.
select 1 from standing where tenant = ? and budget = ? and scope = ? limit 1;

-- name: arrival
-- Which turns of one rate are free.
select arrival_ns, free from rate_arrival where tenant = ? and rate = ? and scope = ?;

-- name: write_head
-- The next place and the clock; the epoch is changed only by what changes the registry.
update tenant_head set next_sequence = ?, last_ns = ? where tenant = ?;

-- name: write_call
-- A decision.
insert into call (call, tenant, state, effect, reason_code, reason, agent, team, project, cost_centre, environment,
                  connector, tool, model, api_key, run, parent, policy_version, config_version, expected_nano_usd,
                  maximum_nano_usd, cost_nano_usd, overrun, legs, salt, boot, decided_ns, expires_ns, settled_ns,
                  sequence, customer, name, rule, traceparent, request)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: write_move
-- A call's new state.
update call set state = ?, cost_nano_usd = ?, overrun = ?, settled_ns = ? where call = ?;

-- name: write_charge
-- One line of a bill.
insert into charge_line (tenant, call, line, kind, quantity, unit, unit_price_nano_usd, per, price_version, nano_usd,
                         price_source)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: write_entry
-- One entry of the record.
insert into entry (tenant, sequence, call, type, at_ns, body) values (?, ?, ?, ?, ?, ?);

-- name: write_standing
-- A balance; whoever opens the window fixes its bounds once.
insert into standing (tenant, budget, scope, "window", quantity, starts_ns, ends_ns, pending, posted, buckets,
                      notes, passed)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (tenant, budget, scope, "window") do update
   set pending = excluded.pending, posted = excluded.posted, buckets = excluded.buckets,
       notes = excluded.notes, passed = excluded.passed;

-- name: write_hour
-- What is spent more of a budget in an hour; the sum holds 64 bits.
insert into budget_hour (tenant, budget, scope, hour, amount) values (?, ?, ?, ?, ?)
on conflict (tenant, budget, scope, hour) do update
   set amount = excluded.amount + min(amount, 9223372036854775807 - excluded.amount);

-- name: write_usage
-- What was called and spent more; sums hold 64 bits.
insert into usage_sum (tenant, span, start_ns, agent, team, project, cost_centre, environment, connector, tool, model,
                       effect, code, rule, calls, transactions, settled_calls, overruns, unpriced, cost, expected, saved,
                       tokens, output_tokens, repeats, repeated)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update
   set calls = excluded.calls + min(calls, 9223372036854775807 - excluded.calls),
       transactions = excluded.transactions + min(transactions, 9223372036854775807 - excluded.transactions),
       settled_calls = excluded.settled_calls + min(settled_calls, 9223372036854775807 - excluded.settled_calls),
       overruns = excluded.overruns + min(overruns, 9223372036854775807 - excluded.overruns),
       unpriced = excluded.unpriced + min(unpriced, 9223372036854775807 - excluded.unpriced),
       cost = excluded.cost + min(cost, 9223372036854775807 - excluded.cost),
       expected = excluded.expected + min(expected, 9223372036854775807 - excluded.expected),
       saved = excluded.saved + min(saved, 9223372036854775807 - excluded.saved),
       tokens = excluded.tokens + min(tokens, 9223372036854775807 - excluded.tokens),
       output_tokens = excluded.output_tokens + min(output_tokens, 9223372036854775807 - excluded.output_tokens),
       repeats = excluded.repeats + min(repeats, 9223372036854775807 - excluded.repeats),
       repeated = excluded.repeated + min(repeated, 9223372036854775807 - excluded.repeated);

-- name: write_shadow_sum
-- What rules in shadow would have done more.
insert into shadow_sum (tenant, span, start_ns, agent, team, rule, would, calls, maximum)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update
   set calls = excluded.calls + min(calls, 9223372036854775807 - excluded.calls),
       maximum = excluded.maximum + min(maximum, 9223372036854775807 - excluded.maximum);

-- name: write_rule_sum
-- What rules did more.
insert into rule_sum (tenant, span, start_ns, rule, did, calls, expected, cost) values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update
   set calls = excluded.calls + min(calls, 9223372036854775807 - excluded.calls),
       expected = excluded.expected + min(expected, 9223372036854775807 - excluded.expected),
       cost = excluded.cost + min(cost, 9223372036854775807 - excluded.cost);

-- name: write_arrival
-- Which turns of a rate are free.
insert into rate_arrival (tenant, rate, scope, arrival_ns, free) values (?, ?, ?, ?, ?)
on conflict (tenant, rate, scope) do update set arrival_ns = excluded.arrival_ns, free = excluded.free;

-- name: write_shadow
-- What a rule in shadow would have changed.
insert into shadow_finding (tenant, decided_ns, rule, call, would) values (?, ?, ?, ?, ?);

-- name: write_notice
-- Something that people are to hear of, until it is passed on.
insert into notice (tenant, sequence, kind, subject, at_ns, body) values (?, ?, ?, ?, ?, ?);

-- name: write_incident
-- Something that somebody has to look at.
insert into incident (tenant, id, kind, subject, severity, opened_ns, facts, closed_ns) values (?, ?, ?, ?, ?, ?, ?, ?);

-- name: expired
-- Reserved calls whose time has passed. `state in` repeats the index's own condition: without it SQLite scans.
select tenant, call from call
 where state = 'reserved' and state in ('reserved', 'dispatched', 'in_doubt') and expires_ns <= ? limit ?;

-- name: orphans
-- Dispatched calls of other openings of this database: there is one at a time, so those are gone.
select tenant, call from call
 where state = 'dispatched' and state in ('reserved', 'dispatched', 'in_doubt') and boot <> ? limit ?;

-- name: named_call
-- What is known of a call by its caller's name for it, but for the answer.
select call, request, expires_ns, is_closed from named_call where tenant = ? and agent = ? and name = ?;

-- name: write_named_call
-- A call's name, or what became of it.
insert into named_call (tenant, agent, name, call, request, expires_ns, is_closed, answer) values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (tenant, agent, name) do update
   set call = excluded.call, request = excluded.request, expires_ns = excluded.expires_ns,
       is_closed = excluded.is_closed, answer = excluded.answer;

-- name: forget_named_call
-- A name that is free again: nothing was done under it.
delete from named_call where tenant = ? and agent = ? and name = ?;

-- name: forget_old_answers
-- Answers whose time has passed; the names stay.
update named_call set answer = null
 where rowid in (select rowid from named_call where answer is not null and expires_ns <= ? limit ?);

-- name: run
-- One run.
select tenant, number, run, agent, owner, root, above, is_kept, opened_ns, open_until_ns, forget_ns, ended_ns
  from run where tenant = ? and number = ?;

-- name: open_runs
-- The runs that count for an owner. `ended_ns is null` is the index's own condition.
select number from run where tenant = ? and owner = ? and ended_ns is null and open_until_ns > ? limit ?;

-- name: runs_below
-- What was delegated in a run, and is not ended. `ended_ns is null` is the index's own condition.
select tenant, number, run, agent, owner, root, above, is_kept, opened_ns, open_until_ns, forget_ns, ended_ns
  from run where tenant = ? and above = ? and ended_ns is null;

-- name: write_run
-- A run, opened, called or ended.
insert into run (tenant, number, run, agent, owner, root, above, is_kept, opened_ns, open_until_ns, forget_ns, ended_ns)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (tenant, number) do update
   set owner = excluded.owner, open_until_ns = excluded.open_until_ns, forget_ns = excluded.forget_ns,
       ended_ns = excluded.ended_ns;

-- name: forget_old_runs
-- Runs that nobody can name any more, or that a call would open anew.
delete from run
 where (tenant, number) in (select tenant, number from run where forget_ns <= ? limit ?);

-- name: outcome
-- What was reported of a run.
select tenant, run, agent, team, project, cost_centre, environment, is_counted, is_begun, began_ns, told_ns, changes, cost,
       result, name, note, value_nano_usd, transactions, names
  from outcome where tenant = ? and run = ?;

-- name: first_call_of_run
-- A run's first call, by the index on the number that its id begins with.
select agent, team, project, cost_centre, environment, effect, decided_ns
  from call where tenant = ? and run is not null and substr(run, 1, 24) = ? order by sequence + 0 limit 1;

-- name: cost_of_tree
-- What is settled in a run and in what was delegated in its tree; in two parts, each of which fits into 64 bits.
with part(number) as (select ? union select number from run where tenant = ? and root = ?)
select sum(cost_nano_usd >> 32), sum(cost_nano_usd & 4294967295)
  from part cross join call
 where call.tenant = ? and call.run is not null and substr(call.run, 1, 24) = 'run_' || part.number
   and cost_nano_usd is not null;

-- name: write_outcome
-- What was reported of a run; of one that was reported on before, what is said anew. What it cost is the store's.
insert into outcome (tenant, run, agent, team, project, cost_centre, environment, is_counted, is_begun, began_ns, told_ns,
                     changes, cost, result, name, note, value_nano_usd, transactions, names)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (tenant, run) do update
   set told_ns = excluded.told_ns, changes = excluded.changes, result = excluded.result, name = excluded.name,
       note = excluded.note, value_nano_usd = excluded.value_nano_usd, transactions = excluded.transactions,
       names = excluded.names;

-- name: write_outcome_sum
-- What was reported more, or less where it is replaced; sums hold 63 bits.
insert into outcome_sum (tenant, span, start_ns, agent, team, project, cost_centre, environment, result, trees, begun,
                         transactions, cost, claimed)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update
   set trees = max(0, excluded.trees + min(outcome_sum.trees, 9223372036854775807 - max(excluded.trees, 0))),
       begun = max(0, excluded.begun + min(outcome_sum.begun, 9223372036854775807 - max(excluded.begun, 0))),
       transactions = max(0, excluded.transactions + min(outcome_sum.transactions, 9223372036854775807 - max(excluded.transactions, 0))),
       cost = max(0, excluded.cost + min(outcome_sum.cost, 9223372036854775807 - max(excluded.cost, 0))),
       claimed = max(0, excluded.claimed + min(outcome_sum.claimed, 9223372036854775807 - max(excluded.claimed, 0)));

-- name: add_to_outcome
-- What was settled in a tree that was reported on.
update outcome set cost = ? + min(cost, 9223372036854775807 - ?) where tenant = ? and run = ? and is_counted
returning began_ns, agent, team, project, cost_centre, environment, result;

-- name: settled_before
-- Whether a request was settled within a day: today (UTC), or the day before.
select 1 from request_settled
 where day in (?, ? - 1) and tenant = ? and request = ? and settled_ns >= ? limit 1;

-- name: write_request
-- When a request was settled last.
insert into request_settled (day, tenant, request, settled_ns) values (?, ?, ?, ?)
on conflict (day, tenant, request) do update set settled_ns = max(settled_ns, excluded.settled_ns);

-- name: forget_old_requests
-- Requests of days that are over for more than a day.
delete from request_settled
 where (day, tenant, request) in (select day, tenant, request from request_settled where day < ? limit ?);
