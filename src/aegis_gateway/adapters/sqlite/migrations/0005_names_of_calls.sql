-- A name stays its call's, and only answers are forgotten; a call knows its name, to free it if nothing was done.

alter table call add column name text;
drop index named_call_by_expiry;
create index named_call_by_expiry on named_call (expires_ns) where answer is not null;
