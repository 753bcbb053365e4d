-- What tells a call's request from others, where its answer could be used again; when each was settled last on each day
-- (UTC, counted since 1970), as long as that matters; and what repeats of them came to, in nano-USD.
-- Sums of fortnights (UTC, counted since 1970), so that a year is read in fewer rows.

alter table call add column request bigint;

create table request_settled (
    day        bigint not null,
    tenant     text collate "C" not null references tenant_head (tenant),
    request    bigint not null,
    settled_ns bigint not null,
    primary key (day, tenant, request)
);

alter table usage_sum add column repeats bigint not null default 0;
alter table usage_sum add column repeated bigint not null default 0;

insert into usage_sum (tenant, span, start_ns, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule, calls, transactions, settled_calls, overruns, unpriced, cost, expected, saved, tokens, output_tokens, repeats, repeated)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule, least(sum(calls), 9223372036854775807), least(sum(transactions), 9223372036854775807), least(sum(settled_calls), 9223372036854775807), least(sum(overruns), 9223372036854775807), least(sum(unpriced), 9223372036854775807), least(sum(cost), 9223372036854775807), least(sum(expected), 9223372036854775807), least(sum(saved), 9223372036854775807), least(sum(tokens), 9223372036854775807), least(sum(output_tokens), 9223372036854775807), least(sum(repeats), 9223372036854775807), least(sum(repeated), 9223372036854775807)
  from usage_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, connector, tool, model, effect, code, rule;

insert into shadow_sum (tenant, span, start_ns, agent, team, rule, would, calls, maximum)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, agent, team, rule, would, least(sum(calls), 9223372036854775807), least(sum(maximum), 9223372036854775807)
  from shadow_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, agent, team, rule, would;

insert into rule_sum (tenant, span, start_ns, rule, did, calls, expected, cost)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, rule, did, least(sum(calls), 9223372036854775807), least(sum(expected), 9223372036854775807), least(sum(cost), 9223372036854775807)
  from rule_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, rule, did;

insert into outcome_sum (tenant, span, start_ns, agent, team, project, cost_centre, environment, result, trees, begun, transactions, cost, claimed)
select tenant, 'fortnight', start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, result, least(sum(trees), 9223372036854775807), least(sum(begun), 9223372036854775807), least(sum(transactions), 9223372036854775807), least(sum(cost), 9223372036854775807), least(sum(claimed), 9223372036854775807)
  from outcome_sum where span = 'day'
 group by tenant, start_ns - start_ns % 1209600000000000, agent, team, project, cost_centre, environment, result;
