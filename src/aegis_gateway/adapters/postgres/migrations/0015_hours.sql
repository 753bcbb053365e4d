-- What is spent of budgets in each hour (UTC, counted since 1970), by when calls were admitted; and which calls found a
-- budget empty: what forecasts and adaptive limits rest on.

create table budget_hour (
    tenant text   collate "C" not null references tenant_head (tenant),
    budget text   collate "C" not null,
    scope  text   collate "C" not null,
    hour   bigint not null,
    amount bigint not null,
    primary key (tenant, budget, scope, hour)
) with (fillfactor = 50);

create index call_without_budget on call (tenant, decided_ns) where reason_code = 'budget_exhausted';
