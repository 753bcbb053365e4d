-- What is spent of budgets in each hour (UTC, counted since 1970), by when calls were admitted; and which calls found a
-- budget empty: what forecasts and adaptive limits rest on.

create table budget_hour (
    tenant text    not null references tenant_head (tenant),
    budget text    not null,
    scope  text    not null,
    hour   integer not null,
    amount integer not null,
    primary key (tenant, budget, scope, hour)
) strict, without rowid;

create index call_without_budget on call (tenant, decided_ns) where reason_code = 'budget_exhausted';
