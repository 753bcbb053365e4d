-- What tells a call's request from others, where its answer could be used again; when each was settled last on each day
-- (UTC, counted since 1970), as long as that matters; and what repeats of them came to, in nano-USD.
-- Sums of fortnights (UTC, counted since 1970), so that a year is read in fewer rows.

alter table call add column request integer;

create table request_settled (
    day        integer not null,
    tenant     text    not null references tenant_head (tenant),
    request    integer not null,
    settled_ns integer not null,
    primary key (day, tenant, request)
) strict, without rowid;

alter table usage_sum add column repeats integer not null default 0;
alter table usage_sum add column repeated integer not null default 0;

insert into usage_sum (tenant, span, start_ns, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule, calls, transactions, settled_calls, overruns, unpriced, cost, expected, saved, tokens, output_tokens, repeats, repeated)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule, sum(calls), sum(transactions), sum(settled_calls), sum(overruns), sum(unpriced), sum(cost), sum(expected), sum(saved), sum(tokens), sum(output_tokens), sum(repeats), sum(repeated)
  from usage_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule;

insert into shadow_sum (tenant, span, start_ns, agent, team, rule, would, calls, maximum)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, agent, team, rule, would, sum(calls), sum(maximum)
  from shadow_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, agent, team, rule, would;

insert into rule_sum (tenant, span, start_ns, rule, did, calls, expected, cost)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, rule, did, sum(calls), sum(expected), sum(cost)
  from rule_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, rule, did;

insert into outcome_sum (tenant, span, start_ns, agent, team, project, cost_centre, environment, result, trees, begun, transactions, cost, claimed)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, result, sum(trees), sum(begun), sum(transactions), sum(cost), sum(claimed)
  from outcome_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, result;
