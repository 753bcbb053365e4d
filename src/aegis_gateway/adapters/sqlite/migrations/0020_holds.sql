-- By which thresholds of budgets a key is held.

alter table api_key add column holds text;

create index api_key_held on api_key (tenant) where holds is not null;
