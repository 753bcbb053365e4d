-- Rolling windows keep what was spent by when it was admitted; calls say which customer they served.

alter table standing add column buckets text;
alter table call add column customer text;
