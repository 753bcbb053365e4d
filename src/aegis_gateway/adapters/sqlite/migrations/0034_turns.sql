-- Turns of a rate that were given back by calls that waited for them and left, as JSON: ranges of times before `arrival_ns`.
alter table rate_arrival add column free text;
